"""One factory an implementation; a new one is added here and passes everything beside it."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import pytest

from pipelines.orchestration.bus.base import MessageBus
from pipelines.orchestration.bus.open import open_bus
from pipelines.redis.connection import RedisConnection
from pipelines.redis.keyspace import Keyspace
from pipelines.redis.line import PAUSES
from pipelines.stores.backend import StorageBackend
from pipelines.stores.memory import MemoryBackend
from pipelines.stores.redis import RedisBackend
from pipelines.stores.sqlite import SqliteBackend
from tests.support.clock import VirtualClock
from tests.support.valkey import Server, binaries


@dataclass
class Stores:
    """Opens backends over the same data; whatever is open at the end of a test is closed."""

    make: Callable[[VirtualClock], StorageBackend]
    durable: bool
    """Whether data outlives the backend object."""
    clock: VirtualClock
    server: Server | None = None
    """Where several processes share the data; leases there outlive their process."""
    workers: Iterator[int] = field(default_factory=count)
    opened: list[StorageBackend] = field(default_factory=list)

    def bus(self, backend: StorageBackend) -> MessageBus:
        """The bus of another process, if there can be several."""
        return open_bus(backend, self.clock, f"worker-{next(self.workers)}")

    def open(self) -> StorageBackend:
        backend = self.make(self.clock)
        self.opened.append(backend)
        return backend

    async def refuse(self, backend: StorageBackend) -> None:
        """Make writes fail from now on."""
        if self.server:
            self.server.command("CONFIG", "SET", "min-replicas-to-write", 1)
        else:
            await backend.close()

    async def reopen(self, backend: StorageBackend) -> StorageBackend:
        """The backend as a restarted process would see it."""
        if not self.durable:
            return backend
        await backend.close()
        return self.open()


class Servers:
    """One real server of each kind, started when first asked for."""

    def __init__(self) -> None:
        self._running: dict[str, Server] = {}

    def empty(self, kind: str) -> Server:
        """That server without data; the test is skipped where it is not installed."""
        if kind not in binaries():
            pytest.skip(f"there is no {kind} server on this machine")
        if kind not in self._running:
            self._running[kind] = Server(binary=binaries()[kind]).start()
        server = self._running[kind]
        server.command("CONFIG", "SET", "min-replicas-to-write", 0)
        server.command("FLUSHALL")
        return server

    def close(self) -> None:
        for server in self._running.values():
            server.close()


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    servers = Servers()
    yield servers
    servers.close()


def memory(folder: Path, clock: VirtualClock, servers: Servers) -> Stores:
    return Stores(make=MemoryBackend, durable=False, clock=clock)


def sqlite(folder: Path, clock: VirtualClock, servers: Servers) -> Stores:
    path = folder / "conductor.db"
    return Stores(make=lambda c: SqliteBackend(path, c), durable=True, clock=clock)


def valkey(folder: Path, clock: VirtualClock, servers: Servers) -> Stores:
    return on_server(servers.empty("valkey"), clock)


def redis(folder: Path, clock: VirtualClock, servers: Servers) -> Stores:
    return on_server(servers.empty("redis"), clock)


def on_server(server: Server, clock: VirtualClock) -> Stores:
    return Stores(make=lambda c: over(server.url, c), durable=True, clock=clock, server=server)


def over(url: str, clock: VirtualClock, pauses: Sequence[float] = PAUSES) -> RedisBackend:
    """The storage at an address, on the test's time; the clock waits for its answers."""
    keyspace = Keyspace(RedisConnection(url), clock, pauses=pauses)
    clock.busy.append(lambda: keyspace.busy)
    return RedisBackend(keyspace)


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture(params=[memory, sqlite, valkey, redis], ids=lambda make: make.__name__)
async def stores(
    request: pytest.FixtureRequest, tmp_path: Path, clock: VirtualClock, servers: Servers
) -> AsyncIterator[Stores]:
    async with closing(request.param(tmp_path, clock, servers)) as stores:
        yield stores


@pytest.fixture(params=[valkey, redis], ids=lambda make: make.__name__)
async def shared(
    request: pytest.FixtureRequest, tmp_path: Path, clock: VirtualClock, servers: Servers
) -> AsyncIterator[Stores]:
    """Stores over one server, as several processes have them."""
    async with closing(request.param(tmp_path, clock, servers)) as stores:
        yield stores


@asynccontextmanager
async def closing(stores: Stores) -> AsyncGenerator[Stores]:
    yield stores
    for backend in stores.opened:
        await backend.close()


@pytest.fixture
def backend(stores: Stores) -> StorageBackend:
    return stores.open()
