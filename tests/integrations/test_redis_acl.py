"""The ACL line of the manual is all that Conductor needs, and it keeps to its own keys."""

import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from pydantic import JsonValue

from pipelines.errors import NotStored
from pipelines.orchestration.bus.streams import RedisBus
from pipelines.ports import Append, Batch, Write
from pipelines.redis.connection import RedisConnection
from pipelines.redis.durability import inspect
from pipelines.redis.keyspace import Keyspace
from pipelines.stores.redis import RedisBackend
from pipelines.system import SystemClock
from tests.contracts.make import message
from tests.support.valkey import Server, binaries, running

MANUAL = Path(__file__).parents[2] / "docs/operations.md"


def documented() -> str:
    (line,) = re.findall(r"^ *(user conductor on .*)$", MANUAL.read_text(), re.MULTILINE)
    return line.replace("PASSWORD", "secret")


@pytest.fixture(scope="module", params=sorted(binaries()))
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    acl = ("user default off", documented())
    with running(binary=binaries()[request.param], acl=acl) as server:
        yield server


@pytest.fixture
async def connection(server: Server) -> AsyncIterator[RedisConnection]:
    connection = RedisConnection(server.url_for("conductor", "secret"))
    yield connection
    await connection.aclose()


async def test_store_bus_and_topics_work_with_the_documented_permissions(
    connection: RedisConnection,
) -> None:
    clock = SystemClock()
    keyspace = Keyspace(connection)
    backend = RedisBackend(keyspace)
    one, two = (RedisBus(backend, keyspace, clock, name) for name in ("one", "two"))
    for bus in (one, two):
        await bus.start()
    writes = [Write("a", b"1", ttl=60), Write("b", b"2")]
    appends = [Append("log", b"item")]
    await one.commit(Batch(writes=writes, appends=appends, messages=[message("m"), message("n")]))
    first, second = await two.claim(["deliveries"], limit=5, wait=5, lease=60)
    await two.renew(first, 60)
    await two.release(second, delay=60)
    await two.commit(Batch(writes=[Write("a", None)], settled=[first]))
    assert (await backend.get("a"), await one.depth()) == (None, {"deliveries": 1})

    async def double(payload: JsonValue) -> JsonValue:
        return [payload, payload]

    async with two.subscribe("news") as listener, two.respond("double", double):
        await one.publish("news", "heard")
        assert await anext(listener) == "heard"
        assert await one.request("double", 1, timeout=5) == [1, 1]
    for bus in (one, two):
        await bus.close()
    await keyspace.close()
    checks = await inspect(connection)
    assert {check.verdict for check in checks} == {"fine"}


@pytest.mark.parametrize(
    "words",
    [
        ("SET", "another program's", "1"),
        ("GET", "{conductor:1}:a"),
        ("PUBLISH", "another", "1"),
        ("FLUSHALL",),
        ("CONFIG", "SET", "appendonly", "no"),
        ("KEYS", "*"),
        ("ACL", "LIST"),
        ("SHUTDOWN",),
        ("SCRIPT", "FLUSH"),
        ("EVAL", "return redis.call('get', 'x')", 0),
    ],
)
async def test_the_documented_permissions_end_at_our_own_keys(
    connection: RedisConnection, words: tuple[str | int, ...]
) -> None:
    with pytest.raises(NotStored):
        await connection.do(*words)
    await connection.ping()
