"""Work that ends even if who asked for it goes away, and that is awaited before the bus ends."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class Shielded:
    """The tasks of one bus."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def begin(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Start the work; nobody needs to wait for it."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def finish(
        self, work: Coroutine[Any, Any, T], abandoned: Callable[[T], None] | None = None
    ) -> T:
        """Return what the work does; if the caller is cancelled, ``abandoned`` gets it."""
        task = self.begin(work)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            task.add_done_callback(lambda done: _abandon(done, abandoned))
            raise

    async def close(self) -> None:
        """Return when all is done, also what was begun meanwhile."""
        while self._tasks:
            await asyncio.wait(tuple(self._tasks))


def _abandon(task: asyncio.Task[T], abandoned: Callable[[T], None] | None) -> None:
    if not task.cancelled() and task.exception() is None and abandoned is not None:
        abandoned(task.result())
