"""One factory an implementation; a new one is added here and passes everything beside it."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from pipelines.stores.backend import StorageBackend
from pipelines.stores.memory import MemoryBackend
from pipelines.stores.sqlite import SqliteBackend
from tests.support.clock import VirtualClock


@dataclass
class Stores:
    """Opens backends over the same data; whatever is open at the end of a test is closed."""

    make: Callable[[VirtualClock], StorageBackend]
    durable: bool
    """Whether data outlives the backend object."""
    clock: VirtualClock
    opened: list[StorageBackend] = field(default_factory=list)

    def open(self) -> StorageBackend:
        backend = self.make(self.clock)
        self.opened.append(backend)
        return backend

    async def reopen(self, backend: StorageBackend) -> StorageBackend:
        """The backend as a restarted process would see it."""
        if not self.durable:
            return backend
        await backend.close()
        return self.open()


def memory(folder: Path, clock: VirtualClock) -> Stores:
    return Stores(make=MemoryBackend, durable=False, clock=clock)


def sqlite(folder: Path, clock: VirtualClock) -> Stores:
    path = folder / "conductor.db"
    return Stores(make=lambda c: SqliteBackend(path, c), durable=True, clock=clock)


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture(params=[memory, sqlite], ids=lambda make: make.__name__)
async def stores(
    request: pytest.FixtureRequest, tmp_path: Path, clock: VirtualClock
) -> AsyncIterator[Stores]:
    stores: Stores = request.param(tmp_path, clock)
    yield stores
    for backend in stores.opened:
        await backend.close()


@pytest.fixture
def backend(stores: Stores) -> StorageBackend:
    return stores.open()
