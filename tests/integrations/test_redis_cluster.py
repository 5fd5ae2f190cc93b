"""Redis Cluster: one hash tag, so one node has all keys, whichever node is named."""

import contextlib
from collections.abc import Generator, Sequence

import pytest

from pipelines.orchestration.bus.streams import RedisBus
from pipelines.ports import Batch, Write
from pipelines.redis.connection import RedisConnection
from pipelines.redis.keyspace import Keyspace
from pipelines.stores.redis import RedisBackend
from pipelines.system import SystemClock
from tests.contracts.make import message
from tests.support.valkey import Server, binaries, eventually, running

NODES = 3
SLOTS = 16384


@pytest.fixture(scope="module", params=sorted(binaries()))
def cluster(request: pytest.FixtureRequest) -> Generator[Sequence[Server]]:
    settings = {"cluster-enabled": "yes", "cluster-node-timeout": "2000"}
    with contextlib.ExitStack() as stack:
        nodes = [
            stack.enter_context(running(settings, binary=binaries()[request.param]))
            for _ in range(NODES)
        ]
        for n, node in enumerate(nodes):
            first, last = n * SLOTS // NODES, (n + 1) * SLOTS // NODES - 1
            node.command("CLUSTER", "ADDSLOTSRANGE", first, last)
            node.command("CLUSTER", "SET-CONFIG-EPOCH", n + 1)
            port = int(node.setting("cluster-port"))
            nodes[0].command("CLUSTER", "MEET", node.host, node.port, port)
        for node in nodes:
            eventually(lambda node=node: b"cluster_state:ok" in node.command("CLUSTER", "INFO"))
        yield nodes


async def test_state_and_work_pass_through_whichever_node_is_named(
    cluster: Sequence[Server],
) -> None:
    for n, node in enumerate(cluster):
        connection = RedisConnection(node.url)
        await connection.do("SET", connection.key("direct"), str(n))
        keyspace = Keyspace(connection)
        backend = RedisBackend(keyspace)
        bus = RedisBus(backend, keyspace, SystemClock(), f"worker-{n}")
        await bus.start()
        await bus.commit(Batch(writes=[Write(f"k{n}", b"v")], messages=[message(f"m{n}")]))
        (lease,) = await bus.claim(["deliveries"], limit=5, wait=5, lease=60)
        await bus.commit(Batch(settled=[lease]))
        assert await bus.depth() == {}
        async with bus.subscribe("news") as listener:
            await bus.publish("news", n)
            assert await anext(listener) == n
        await bus.close()
        await keyspace.close()
    owners = [node for node in cluster if node.command("DBSIZE")]
    assert len(owners) == 1
