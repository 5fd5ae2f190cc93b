"""Topics between processes, each with its own connection to one real server."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest
from pydantic import JsonValue

from pipelines.errors import Parked, Retryable, UserError
from pipelines.orchestration.bus.remote_topics import RemoteTopics, ResponderFailed
from pipelines.orchestration.bus.timers import Timers
from pipelines.redis.channels import Channels
from pipelines.redis.connection import RedisConnection
from pipelines.system import SystemClock
from tests.support.clock import EPOCH, VirtualClock
from tests.support.valkey import Server, binaries, running


@pytest.fixture(scope="module", params=sorted(binaries()))
def shared(request: pytest.FixtureRequest) -> Iterator[Server]:
    with running(binary=binaries()[request.param]) as server:
        yield server


class Process:
    """What one process has of the topics; its deadlines are on a clock that the test moves."""

    def __init__(self, server: Server, name: str, clock: VirtualClock) -> None:
        self.clock = clock
        self.connection = RedisConnection(server.url)
        self.channels = Channels(self.connection, SystemClock())
        self.timers = Timers(clock)
        self.topics = RemoteTopics(self.connection, self.channels, self.timers, name)

    async def close(self) -> None:
        await self.topics.close()
        await self.timers.close()
        await self.channels.aclose()
        await self.connection.aclose()


@pytest.fixture
async def processes(shared: Server) -> AsyncIterator[list[Process]]:
    shared.command("FLUSHALL")
    clock = VirtualClock()
    processes = [Process(shared, f"p{n}", clock) for n in range(3)]
    yield processes
    for process in processes:
        await process.close()


async def within(seconds: float, event: asyncio.Event) -> None:
    async with asyncio.timeout(seconds):
        await event.wait()


async def test_what_is_published_is_heard_once_in_every_process(processes: list[Process]) -> None:
    one, two, _ = processes
    async with one.topics.subscribe("runs") as here, two.topics.subscribe("runs") as there:
        for n in range(100):
            one.topics.publish("runs", {"n": n})
        two.topics.publish("runs", "last")
        assert [await anext(there) for _ in range(101)].count("last") == 1
        heard = [await anext(here) for _ in range(101)]
        assert sorted(heard, key=str) == sorted([{"n": n} for n in range(100)] + ["last"], key=str)


async def test_what_cannot_be_read_is_passed_over(processes: list[Process]) -> None:
    one, two, _ = processes
    async with one.topics.subscribe("runs") as listener:
        for broken in (b"\xff", b"{}", b"[" * 1000, b'{"sender": 1, "payload": 2}'):
            await two.channels.publish("news:runs", broken)
        two.topics.publish("runs", "fine")
        assert await anext(listener) == "fine"


async def double(payload: JsonValue) -> JsonValue:
    assert isinstance(payload, int)
    return payload * 2


async def test_a_responder_of_another_process_answers(processes: list[Process]) -> None:
    one, two, _ = processes
    async with two.topics.respond("double", double):
        asked = [one.topics.request("double", n, timeout=5) for n in range(50)]
        assert await asyncio.gather(*asked) == [2 * n for n in range(50)]


async def test_a_request_waits_for_a_responder_in_another_process(
    processes: list[Process],
) -> None:
    one, two, _ = processes
    asking = asyncio.create_task(one.topics.request("double", 4, timeout=5))
    while not await one.connection.do("EXISTS", one.connection.key("request", "p0.1")):
        continue
    async with two.topics.respond("double", double):
        assert await asking == 8


async def test_each_request_is_taken_by_one_responder_only(processes: list[Process]) -> None:
    taken: list[JsonValue] = []

    async def take(payload: JsonValue) -> JsonValue:
        taken.append(payload)
        return payload

    one, two, three = processes
    async with two.topics.respond("take", take), three.topics.respond("take", take):
        asked = (one.topics.request("take", n, timeout=5) for n in range(200))
        assert await asyncio.gather(*asked) == list(range(200))
    assert sorted(map(str, taken)) == sorted(map(str, range(200)))


async def test_more_requests_than_a_process_answers_at_once_are_answered_in_the_end(
    processes: list[Process],
) -> None:
    one, two, _ = processes
    async with two.topics.respond("double", double):
        asked = (one.topics.request("double", n, timeout=50) for n in range(600))
        assert await asyncio.gather(*asked) == [2 * n for n in range(600)]


async def test_what_another_process_raises_arrives_as_what_it_is(
    processes: list[Process],
) -> None:
    one, two, _ = processes
    raised: list[Exception] = [
        UserError("Mend it."),
        Parked("Wait.", until=EPOCH, scope="all"),
        Retryable("Again."),
        KeyError("ours"),
    ]

    async def refuse(payload: JsonValue) -> JsonValue:
        assert isinstance(payload, int)
        raise raised[payload]

    async with two.topics.respond("refuse", refuse):
        with pytest.raises(UserError, match=r"Mend it\."):
            await one.topics.request("refuse", 0, timeout=5)
        with pytest.raises(Exception, match=r"^Wait\.$"):
            await one.topics.request("refuse", 1, timeout=5)
        with pytest.raises(Retryable, match=r"^Again\.$"):
            await one.topics.request("refuse", 2, timeout=5)
        with pytest.raises(ResponderFailed, match=r"'refuse' failed with KeyError: 'ours'"):
            await one.topics.request("refuse", 3, timeout=5)


class Slow:
    """A responder that begins and does not end."""

    def __init__(self) -> None:
        self.began = asyncio.Event()
        self.stopped = asyncio.Event()

    async def __call__(self, payload: JsonValue) -> JsonValue:
        self.began.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.stopped.set()


async def test_a_slow_responder_of_another_process_is_stopped_at_the_deadline(
    processes: list[Process],
) -> None:
    one, two, _ = processes
    slow = Slow()
    async with two.topics.respond("slow", slow):
        asking = asyncio.create_task(one.topics.request("slow", None, timeout=5))
        await within(10, slow.began)
        await one.clock.advance(5)
        with pytest.raises(Retryable, match="nobody did within 5 s"):
            await asking
        await within(10, slow.stopped)


async def test_a_request_that_is_given_up_stops_its_responder(processes: list[Process]) -> None:
    one, two, _ = processes
    slow = Slow()
    async with two.topics.respond("slow", slow):
        asking = asyncio.create_task(one.topics.request("slow", None, timeout=5))
        await within(10, slow.began)
        asking.cancel()
        await within(10, slow.stopped)


async def test_nobody_begins_with_a_request_that_is_over(
    shared: Server, processes: list[Process]
) -> None:
    one, two, _ = processes
    asking = asyncio.create_task(one.topics.request("double", 4, timeout=5))
    key = one.connection.key("request", "p0.1")
    while not await one.connection.do("EXISTS", key):
        continue
    asking.cancel()
    await one.topics.close()
    assert shared.command("EXISTS", key) == 0
    late = b'{"id": "p0.1", "reply_to": "p0", "payload": 4, "seconds": 5}'
    async with two.topics.respond("double", lambda _: pytest.fail("it is over")):
        await one.channels.publish("asked:double", late)
        async with two.topics.subscribe("after") as listener:
            processes[2].topics.publish("after", None)
            assert await anext(listener) is None
