"""Publish and subscribe on a real server, through its interruptions."""

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Generator, Iterator
from contextlib import contextmanager

import pytest

from pipelines.errors import NotStored
from pipelines.redis.channels import Channels
from pipelines.redis.connection import RedisConnection
from pipelines.system import SystemClock
from tests.support.valkey import Server, binaries, running


@pytest.fixture(params=sorted(binaries()))
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    with running(binary=binaries()[request.param]) as server:
        yield server


class Process:
    """One process's connection and channels, and what it heard."""

    def __init__(self, url: str, *, timeout: float = 5.0, silence: float = 15.0) -> None:
        self.connection = RedisConnection(url, timeout=timeout)
        self.channels = Channels(self.connection, SystemClock(), silence=silence)
        self.heard: asyncio.Queue[bytes] = asyncio.Queue()
        self.missed = asyncio.Event()

    async def listen(self, channel: str) -> object:
        return await self.channels.listen(channel, self.heard.put_nowait, self.missed.set)

    async def next(self) -> bytes:
        async with asyncio.timeout(10):
            return await self.heard.get()

    async def interrupted(self) -> None:
        async with asyncio.timeout(10):
            await self.missed.wait()

    async def close(self) -> None:
        await self.channels.aclose()
        await self.connection.aclose()


@contextmanager
def said(words: str) -> Generator[asyncio.Event]:
    """Tells when a warning of the channels holds these words."""
    event = asyncio.Event()

    def noted(record: logging.LogRecord) -> bool:
        if words in record.getMessage():
            event.set()
        return True

    logger = logging.getLogger("pipelines.redis.channels")
    logger.addFilter(noted)
    try:
        yield event
    finally:
        logger.removeFilter(noted)


@pytest.fixture
async def one(server: Server) -> AsyncIterator[Process]:
    process = Process(server.url)
    yield process
    await process.close()


@pytest.fixture
async def two(server: Server) -> AsyncIterator[Process]:
    process = Process(server.url)
    yield process
    await process.close()


async def test_what_one_process_publishes_another_hears(one: Process, two: Process) -> None:
    await one.listen("news")
    await two.channels.publish("other", b"not for us")
    await two.channels.publish("news", b"\x00\xff")
    assert await one.next() == b"\x00\xff"
    assert one.heard.empty()


async def test_whoever_left_hears_no_more_and_the_others_do(one: Process, two: Process) -> None:
    first = await one.channels.listen("news", lambda _: pytest.fail("it left"), lambda: None)
    await one.listen("news")
    await one.channels.leave(first)
    await one.channels.leave(first)
    await two.channels.publish("news", b"1")
    assert await one.next() == b"1"


async def test_leaving_and_listening_again_at_once_misses_nothing(
    one: Process, two: Process
) -> None:
    for n in range(20):
        ear = await one.channels.listen("news", one.heard.put_nowait, one.missed.set)
        await two.channels.publish("news", str(n).encode())
        assert await one.next() == str(n).encode()
        await one.channels.leave(ear)
    assert one.heard.empty()


async def test_many_begin_to_listen_at_once(one: Process, two: Process) -> None:
    names = [f"c{n}" for n in range(50)]
    await asyncio.gather(*(one.listen(name) for name in names))
    for name in names:
        await two.channels.publish(name, name.encode())
    assert [await one.next() for _ in names] == [name.encode() for name in names]


async def test_a_listener_that_fails_does_not_make_the_others_deaf(
    one: Process, two: Process
) -> None:
    def broken(payload: bytes) -> None:
        raise ValueError(payload)

    await one.channels.listen("news", broken, lambda: None)
    await one.listen("news")
    await two.channels.publish("news", b"1")
    assert await one.next() == b"1"
    assert not one.missed.is_set()


async def test_after_a_restart_of_the_server_listeners_are_told_and_hear_again(
    server: Server, one: Process, two: Process
) -> None:
    await one.listen("news")
    server.restart()
    await one.interrupted()
    await two.channels.publish("news", b"after")
    assert await one.next() == b"after"


async def test_a_line_that_was_cut_alone_is_replaced(server: Server, one: Process) -> None:
    await one.listen("news")
    server.command("CLIENT", "KILL", "TYPE", "pubsub")
    await one.interrupted()
    await one.channels.publish("news", b"after")
    assert await one.next() == b"after"


async def test_a_server_that_hangs_is_noticed_though_the_line_is_open(server: Server) -> None:
    process = Process(server.url, timeout=0.3, silence=0.2)
    await process.listen("news")
    with said("did not answer in time") as noticed:
        server.pause()
        async with asyncio.timeout(10):
            await noticed.wait()
    server.resume()
    await process.interrupted()
    await process.close()


async def pings(connection: RedisConnection) -> int:
    """How often the server was asked whether it is there."""
    found = re.search(rb"cmdstat_ping:calls=(\d+)", await connection.do("INFO", "commandstats"))
    return int(found[1]) if found else 0


async def test_a_quiet_channel_stays_open(server: Server, one: Process) -> None:
    process = Process(server.url, silence=0.02)
    await process.listen("news")
    async with asyncio.timeout(10):
        while await pings(one.connection) < 5:
            continue
    await one.channels.publish("news", b"still here")
    assert await process.next() == b"still here"
    assert not process.missed.is_set()
    await process.close()


async def test_to_listen_while_the_server_is_down_is_refused_in_time(server: Server) -> None:
    server.kill()
    process = Process(server.url, timeout=0.3)
    with pytest.raises(NotStored, match="could not be reached"):
        await process.listen("news")
    await process.close()
    with pytest.raises(NotStored, match="closed"):
        await process.listen("news")
