"""Two versions of the program on one server, as during a rolling upgrade: nothing is lost."""

from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from pipelines.orchestration.bus.streams import RedisBus
from pipelines.ports import Batch, Message
from pipelines.redis.connection import RedisConnection
from pipelines.redis.keyspace import Keyspace
from pipelines.stores.redis import RedisBackend
from pipelines.system import SystemClock
from tests.contracts.make import message
from tests.support.valkey import Server

MESSAGES = 1_000


@asynccontextmanager
async def process(server: Server, name: str, readable: int) -> AsyncGenerator[RedisBus]:
    """A process that can read messages up to that version."""
    keyspace = Keyspace(RedisConnection(server.url))
    backend = RedisBackend(keyspace)
    bus = RedisBus(backend, keyspace, SystemClock(), name, readable=readable)
    await bus.start()
    try:
        yield bus
    finally:
        await bus.close()
        await backend.close()


def event(number: int) -> Message:
    """Every other message is of the new version."""
    return message(f"m{number}", tenant=f"7/{number % 5}", schema_version=1 + number % 2)


async def handled(bus: RedisBus) -> Counter[int]:
    """Settle all that the process is given; return how many of which version."""
    versions = Counter[int]()
    while leases := await bus.claim(("deliveries",), limit=100, wait=0.0, lease=60.0):
        versions.update(lease.message.schema_version for lease in leases)
        await bus.commit(Batch(settled=leases))
    return versions


async def test_what_only_the_newer_version_can_read_waits_for_it(server: Server) -> None:
    async with process(server, "old", 1) as old, process(server, "new", 2) as new:
        for first in range(0, MESSAGES, 100):
            sender = (old, new)[first // 100 % 2]
            await sender.commit(Batch(messages=[event(n) for n in range(first, first + 100)]))
        by_old = await handled(old)
        left = await old.depth()
        by_new = await handled(new)
        done = by_old.total() + by_new.total()
        print(f"R32: {MESSAGES} messages: old {dict(by_old)}, new {dict(by_new)}, done {done}")
        assert by_old == {1: 500}, "it leaves alone what it cannot read"
        assert left == {"deliveries": 500}
        assert by_new == {2: 500}
        assert await new.depth() in ({}, {"deliveries": 0})
