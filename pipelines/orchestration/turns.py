"""Who goes first within this process; between processes the store decides."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager


class OneAtATime:
    """Lets whoever names the same thing go one after the other, and remembers nobody else."""

    def __init__(self) -> None:
        self._queues: dict[str, tuple[asyncio.Lock, int]] = {}

    @asynccontextmanager
    async def __call__(self, name: str) -> AsyncGenerator[None]:
        """Wait for those who came before, and keep the others out while the context is open."""
        lock, waiting = self._queues.get(name, (asyncio.Lock(), 0))
        self._queues[name] = (lock, waiting + 1)
        try:
            async with lock:
                yield
        finally:
            lock, waiting = self._queues.pop(name)
            if waiting > 1:
                self._queues[name] = (lock, waiting - 1)
