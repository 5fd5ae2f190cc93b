"""The connection on real servers: what it survives, and what it says about the rest."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from pipelines.errors import NotStored
from pipelines.redis.connection import RedisConnection
from pipelines.redis.failures import Unanswered
from tests.support.valkey import Server, binaries, running


@pytest.fixture(scope="module", params=sorted(binaries()))
def shared(request: pytest.FixtureRequest) -> Iterator[Server]:
    with running(binary=binaries()[request.param]) as server:
        yield server


@pytest.fixture
async def connection(shared: Server) -> AsyncIterator[RedisConnection]:
    connection = RedisConnection(shared.url)
    yield connection
    await connection.aclose()


async def test_commands_are_answered_in_bytes(connection: RedisConnection) -> None:
    key = connection.key("a", 1)
    assert key == "{conductor:0}:a:1"
    assert await connection.do("SET", key, b"\xff\x00") == b"OK"
    assert await connection.do("GET", key) == b"\xff\x00"
    await connection.ping()


async def test_more_commands_than_connections_wait_their_turn(shared: Server) -> None:
    connection = RedisConnection(shared.url, connections=2)
    answers = await asyncio.gather(*(connection.do("ECHO", str(n)) for n in range(200)))
    assert answers == [str(n).encode() for n in range(200)]
    await connection.aclose()


async def test_a_socket_serves_as_well(shared: Server) -> None:
    connection = RedisConnection(shared.unix_url)
    await connection.ping()
    await connection.aclose()


async def test_a_cancelled_command_leaves_nothing_for_the_next(connection: RedisConnection) -> None:
    waiting = asyncio.create_task(connection.do("BLPOP", connection.key("nothing"), 60))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert await connection.do("ECHO", "mine") == b"mine"


async def test_a_server_that_restarts_is_found_again() -> None:
    with running() as server:
        connection = RedisConnection(server.url)
        await connection.do("SET", "a", "1")
        server.kill()
        with pytest.raises(NotStored, match="could not be reached"):
            await connection.do("GET", "a")
        with pytest.raises(NotStored, match="could not be reached") as caught:
            await connection.do("INCR", "a")
        assert not isinstance(caught.value, Unanswered)
        server.start()
        assert await connection.do("INCR", "a") == 2
        await connection.aclose()


async def test_a_server_that_hangs_is_given_up_and_the_command_not_sent_again() -> None:
    with running() as server:
        connection = RedisConnection(server.url, timeout=0.2)
        await connection.do("SET", "a", "1")
        server.pause()
        with pytest.raises(Unanswered, match=r"did not answer in time.*unknown"):
            await connection.do("INCR", "a")
        server.resume()
        await connection.ping()
        assert await connection.do("GET", "a") in (b"1", b"2")
        await connection.aclose()
