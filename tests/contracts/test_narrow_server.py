"""Servers that allow less: a cluster, and a user who may touch our keys only."""

import asyncio

import pytest

from pipelines.errors import LeaseLost
from pipelines.orchestration.bus.base import Caps
from pipelines.orchestration.bus.streams import RedisBus
from pipelines.ports import Append, Batch, Write
from pipelines.redis.connection import RedisConnection
from pipelines.redis.keyspace import Keyspace
from pipelines.stores.redis import RedisBackend
from tests.contracts.make import message
from tests.support.clock import VirtualClock
from tests.support.valkey import Server, binaries, eventually, running

OURS = "user conductor on >word ~{conductor:0}:* &{conductor:0}:* +@all -@dangerous -@admin"


async def a_life(url: str) -> None:
    """Every script once, as our user and on the server's own time."""
    backend = RedisBackend(Keyspace(RedisConnection(url)))
    bus = RedisBus(backend, backend.keyspace, VirtualClock(), "worker")
    await bus.start()
    await backend.ping()
    waiting = asyncio.create_task(bus.claim(["q"], limit=1, wait=60, lease=60))
    batch = Batch(
        writes=[Write("a", b"1", ttl=60), Write("b", b"2")],
        appends=[Append("log", b"x")],
        messages=[message(f"m{n}", queue="q") for n in range(3)],
    )
    await bus.commit(batch)
    (lease,) = await waiting
    lease = await bus.renew(lease, 60)
    others = await bus.claim(["q", "p"], limit=5, wait=0, lease=60, caps=Caps(per_tenant=2))
    assert len(others) == 1
    await bus.release(others[0])
    await bus.bury(lease, "why")
    with pytest.raises(LeaseLost):
        await bus.renew(lease, 60)
    assert await bus.depth() == {"q": 2}
    assert [key async for key, _ in backend.scan("")] == ["a", "b", f"dead/{lease.message.id}"]
    assert await backend.read_log("log") == [(1, b"x")]
    assert len(await backend.messages()) == 2
    assert await backend.sweep() == 0
    await bus.close()
    await backend.close()


@pytest.fixture(params=["valkey", "redis"])
def kind(request: pytest.FixtureRequest) -> str:
    if request.param not in binaries():
        pytest.skip(f"there is no {request.param} server on this machine")
    return request.param


async def test_a_cluster_keeps_it_all_on_one_node(kind: str) -> None:
    with running({"cluster-enabled": "yes"}, binary=binaries()[kind]) as server:
        server.command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        eventually(lambda: is_whole(server))
        await a_life(server.url)


async def test_a_user_who_may_touch_our_keys_only_is_enough(kind: str) -> None:
    acl = ["user default on nopass ~* &* +@all", OURS]
    with running(binary=binaries()[kind], acl=acl) as server:
        await a_life(server.url_for("conductor", "word"))


def is_whole(server: Server) -> bool:
    return b"cluster_state:ok" in server.command("CLUSTER", "INFO")
