"""The configured store for one command: read beside a server, or changed while none runs on it."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TypeVar

from bot.settings import load_settings
from pipelines.errors import NotStored, UserError
from pipelines.orchestration.bus.base import MessageBus
from pipelines.orchestration.bus.open import open_bus
from pipelines.ports import Clock
from pipelines.stores.backend import StorageBackend
from pipelines.stores.open import open_backend
from pipelines.system import SortableIds, SystemClock

T = TypeVar("T")

_BESIDE = (
    "A server is running on this store, and SQLite lets one process write: stop the server first, "
    "or keep the store in Redis, which any number of processes may change."
)


@dataclass(frozen=True, slots=True)
class Opened:
    """A store with its queues."""

    store: StorageBackend
    bus: MessageBus
    clock: Clock


@asynccontextmanager
async def _opened(*, change: bool, beside: str) -> AsyncGenerator[Opened]:
    clock, url = SystemClock(), load_settings().conductor_storage_url
    try:
        store = open_backend(url, clock, read_only=not change)
    except NotStored as error:
        if change and "in use" in str(error):
            raise UserError(beside) from error
        raise
    bus = open_bus(store, clock, f"command/{SortableIds(clock)()}")
    try:
        if change:
            await bus.start()
        yield Opened(store, bus, clock)
    finally:
        if change:
            await bus.close()
        await store.close()


def with_store(
    work: Callable[[Opened], Awaitable[T]], *, change: bool = False, beside: str = _BESIDE
) -> T:
    """Return what the work returns on the configured store.

    Raises UserError with the sentence ``beside`` if a server alone may change it.
    """

    async def working() -> T:
        async with _opened(change=change, beside=beside) as opened:
            return await work(opened)

    return asyncio.run(working())
