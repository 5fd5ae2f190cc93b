"""A primary that goes away under real Sentinels, seen from the connection and the channels."""

import asyncio
import contextlib
from collections.abc import Generator

import pytest
import redis

from pipelines.errors import NotStored
from pipelines.redis.channels import Channels
from pipelines.redis.connection import RedisConnection
from pipelines.system import SystemClock
from tests.support.valkey import Sentinels, Server, binaries, watched

LATEST = 60
"""Seconds; a Sentinel that a busy machine held up for two seconds does nothing for 30 (TILT)."""


@pytest.fixture(params=sorted(binaries()))
def service(request: pytest.FixtureRequest) -> Generator[Sentinels]:
    with watched(binaries()[request.param]) as service:
        yield service


@pytest.fixture(scope="module")
def steady() -> Generator[Sentinels]:
    with watched() as service:
        yield service


async def stored(connection: RedisConnection, key: str, value: str) -> None:
    """Return once the service takes a record; each refusal is one of ours."""
    async with asyncio.timeout(LATEST):
        while True:
            try:
                await connection.do("SET", key, value, again=True)
            except NotStored:
                await asyncio.sleep(0.02)
            else:
                return


def role(server: Server) -> str:
    return server.info("replication")["role"]


async def test_work_goes_on_at_the_new_primary_when_the_old_one_dies(service: Sentinels) -> None:
    connection = RedisConnection(service.url(), timeout=1)
    channels = Channels(connection, SystemClock(), silence=0.5)
    missed = asyncio.Event()
    heard: asyncio.Queue[bytes] = asyncio.Queue()
    await channels.listen("news", heard.put_nowait, missed.set)
    await connection.do("SET", "before", "1")
    service.primary.kill()
    await stored(connection, "after", "2")
    assert role(service.replica) == "master"
    assert service.replica.command("GET", "after") == b"2"
    async with asyncio.timeout(LATEST):
        await missed.wait()
    await channels.publish("news", b"again")
    assert await heard.get() == b"again"
    await channels.aclose()
    await connection.aclose()


async def test_a_demoted_primary_is_left_for_the_new_one(service: Sentinels) -> None:
    connection = RedisConnection(service.url(), timeout=1)
    await asyncio.gather(*(connection.do("SET", f"k{n}", "1") for n in range(8)))
    async with asyncio.timeout(LATEST):
        while role(service.replica) != "master":
            with contextlib.suppress(redis.ResponseError):  # one is under way, or not yet possible
                service.watchers[0].command("SENTINEL", "FAILOVER", "conductor")
            await stored(connection, "meanwhile", "2")
        # Until it is told, the old primary still takes writes, which are lost: see operations.md.
        while role(service.primary) == "master":
            await stored(connection, "meanwhile", "2")
    await asyncio.gather(*(stored(connection, f"k{n}", "3") for n in range(8)))
    assert [service.replica.command("GET", f"k{n}") for n in range(8)] == [b"3"] * 8
    await connection.aclose()


async def test_a_replica_is_told_apart_and_a_write_to_it_refused(steady: Sentinels) -> None:
    connection = RedisConnection(steady.replica.url)
    with pytest.raises(NotStored, match="is a replica and takes no writes; name the primary"):
        await connection.do("SET", "a", "1")
    await connection.aclose()


async def test_one_sentinel_that_answers_is_enough(steady: Sentinels) -> None:
    steady.watchers[0].kill()
    steady.watchers[1].kill()
    connection = RedisConnection(steady.url())
    await connection.ping()
    steady.watchers[2].kill()
    other = RedisConnection(steady.url())
    with pytest.raises(NotStored, match="no Sentinel named a primary"):
        await other.ping()
    await connection.ping()
    for watcher in steady.watchers:
        watcher.restart()
    await other.ping()
    await connection.aclose()
    await other.aclose()


async def test_a_service_that_the_sentinels_do_not_know_is_named(steady: Sentinels) -> None:
    connection = RedisConnection(steady.url().replace("/conductor/", "/other/"))
    with pytest.raises(NotStored, match=r"service 'other'.*knows no such service"):
        await connection.ping()
    await connection.aclose()
