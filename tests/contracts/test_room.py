"""How full a store says that it is, so that webhooks are refused before it is."""

import pytest

from bot.deliveries.pressure import Overloaded, Pressure
from pipelines.redis.connection import RedisConnection
from pipelines.redis.keyspace import Keyspace
from pipelines.stores.redis import RedisBackend
from tests.contracts.conftest import Servers
from tests.support.clock import VirtualClock


async def nothing() -> dict[str, int]:
    return {}


@pytest.mark.parametrize("kind", ["valkey", "redis"])
async def test_a_server_near_its_memory_limit_refuses_webhooks_until_there_is_room(
    kind: str, servers: Servers
) -> None:
    server = servers.empty(kind)
    store = RedisBackend(Keyspace(RedisConnection(server.url)))
    pressure = Pressure(nothing, store.fullness, VirtualClock(), limit=10, limit_bytes=1000)
    try:
        assert await store.fullness() == 0.0, "without a limit there is room"
        server.command("CONFIG", "SET", "maxmemory", 1024 * 2**20)
        await pressure.refresh()
        pressure.check(1, urgent=False)

        server.command("SET", "ballast", "x" * 2**25)  # beside which connections weigh nothing
        used = int(server.info("memory")["used_memory"])
        server.command("CONFIG", "SET", "maxmemory", int(used / 0.96))
        await pressure.refresh()
        for urgent in (True, False):
            with pytest.raises(Overloaded, match="% full"):
                pressure.check(1, urgent=urgent)

        server.command("CONFIG", "SET", "maxmemory", 1024 * 2**20)
        await pressure.refresh()
        pressure.check(1, urgent=False)
    finally:
        server.command("CONFIG", "SET", "maxmemory", 0)
        await store.close()
