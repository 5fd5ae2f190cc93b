"""Several processes on one server: each bus here stands for one of them."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest

from pipelines.errors import LeaseLost, NotStored
from pipelines.orchestration.bus.base import MessageBus
from pipelines.orchestration.bus.streams import RedisBus
from pipelines.ports import Append, Batch, Lease, Message, Write
from pipelines.stores.redis import RedisBackend
from tests.contracts.conftest import Stores
from tests.contracts.make import message

TAG = "{conductor:0}"
STREAM = f"{TAG}:stream:1:deliveries"


@asynccontextmanager
async def process(shared: Stores, *, readable: int = 1) -> AsyncGenerator[MessageBus]:
    backend = shared.open()
    assert isinstance(backend, RedisBackend)
    name = f"worker-{len(shared.opened)}"
    bus = RedisBus(backend, backend.keyspace, shared.clock, name, readable=readable)
    await bus.start()
    yield bus
    await bus.close()


@pytest.fixture
async def one(shared: Stores) -> AsyncIterator[MessageBus]:
    async with process(shared) as bus:
        yield bus


@pytest.fixture
async def two(shared: Stores, one: MessageBus) -> AsyncIterator[MessageBus]:
    async with process(shared) as bus:
        yield bus


def see(shared: Stores, *words: str | int) -> Any:
    assert shared.server
    return shared.server.command(*words)


async def send(bus: MessageBus, *messages: Message) -> None:
    await bus.commit(Batch(messages=messages))


async def claim(
    bus: MessageBus, *, limit: int = 100, wait: float = 0.0, lease: float = 60.0
) -> Sequence[Lease]:
    return await bus.claim(("deliveries",), limit=limit, wait=wait, lease=lease)


def ids(leases: Sequence[Lease]) -> list[str]:
    return [lease.message.id for lease in leases]


async def test_a_message_is_handed_to_one_of_many_processes(
    one: MessageBus, two: MessageBus
) -> None:
    await send(one, *(message(f"m{n:02}") for n in range(60)))
    claims = [claim(bus, limit=3) for _ in range(15) for bus in (one, two)]
    found = [name for leases in await asyncio.gather(*claims) for name in ids(leases)]
    assert sorted(found) == [f"m{n:02}" for n in range(60)]


def scripts(shared: Stores) -> int:
    assert shared.server
    return shared.server.info("commandstats")["cmdstat_evalsha"]["calls"]


async def test_who_has_taken_everything_asks_again_only_when_there_is_more(
    shared: Stores, one: MessageBus, two: MessageBus
) -> None:
    first = asyncio.create_task(claim(one, wait=60))
    await shared.clock.settle()
    await send(two, message("a"))
    assert ids(await first) == ["a"]

    asked = scripts(shared)
    second = asyncio.create_task(claim(one, wait=60))
    await shared.clock.settle()
    assert scripts(shared) == asked
    await send(two, message("b"))
    assert ids(await second) == ["b"]


async def test_a_bell_is_heard_in_another_process(
    shared: Stores, one: MessageBus, two: MessageBus
) -> None:
    waiting = asyncio.create_task(claim(two, wait=3600))
    await shared.clock.settle()
    await send(one, message("m"))
    assert ids(await waiting) == ["m"]
    assert shared.clock.monotonic() == 0


async def test_a_bell_that_nobody_heard_costs_a_quarter_of_a_lease(
    shared: Stores, one: MessageBus
) -> None:
    """As when the line was cut while the message was committed."""
    waiting = asyncio.create_task(claim(one, wait=3600, lease=60))
    await shared.clock.settle()
    see(shared, "CLIENT", "KILL", "TYPE", "pubsub")
    await shared.open().commit(Batch(messages=[message("m")]))
    await shared.clock.advance(15)
    assert ids(await waiting) == ["m"]


async def test_what_a_dead_process_held_goes_to_another_and_its_own_answer_is_refused(
    shared: Stores, one: MessageBus, two: MessageBus
) -> None:
    await send(one, message("m"))
    (zombie,) = await claim(one, lease=10)
    waiting = asyncio.create_task(claim(two, wait=60))
    await shared.clock.settle()
    await shared.clock.advance(10)
    (lease,) = await waiting
    assert (lease.token, shared.clock.monotonic()) == (2, 10)

    with pytest.raises(LeaseLost):
        await one.commit(Batch(writes=[Write("result", b"late")], settled=[zombie]))
    with pytest.raises(LeaseLost):
        await one.renew(zombie, 60)
    with pytest.raises(LeaseLost):
        await one.release(zombie)
    # Renewing has not stolen it back.
    assert pending(shared) == ["worker-2"]
    await two.commit(Batch(writes=[Write("result", b"mine")], settled=[lease]))
    record = await shared.opened[0].get("result")
    assert record is not None
    assert record.value == b"mine"


async def test_a_place_on_the_ledger_that_another_has_is_not_renewed(
    shared: Stores, one: MessageBus, two: MessageBus
) -> None:
    await send(one, message("m"))
    (lease,) = await claim(one)
    with pytest.raises(LeaseLost):
        await two.renew(lease, 60)
    assert pending(shared) == ["worker-1"]
    assert (await one.renew(lease, 60)).token == 1


async def test_the_ledger_shows_who_holds_what_and_nothing_else(
    shared: Stores, one: MessageBus, two: MessageBus
) -> None:
    await send(one, *(message(f"m{n}") for n in range(5)))
    assert see(shared, "EXISTS", STREAM) == 0
    first = await claim(one, limit=1)
    second = await claim(two, limit=2)
    assert sorted(pending(shared)) == ["worker-1", "worker-2", "worker-2"]
    assert see(shared, "XLEN", STREAM) == 3
    await one.commit(Batch(settled=first))
    await two.bury(second[0], "why")
    await two.release(second[1])
    assert pending(shared) == []
    assert see(shared, "XLEN", STREAM) == 0


async def test_consumers_that_hold_nothing_are_removed_and_no_entry_with_them(
    shared: Stores,
) -> None:
    async with process(shared) as bus:
        await send(bus, *(message(f"m{n}") for n in range(10)))
    for n in range(10):
        # Half of these processes die with what they hold, half settle it.
        async with process(shared) as bus:
            (lease,) = await claim(bus, limit=1, lease=30)
            if n % 2:
                await bus.commit(Batch(settled=[lease]))
    assert len(pending(shared)) == 5
    assert len(consumers(shared)) == 5
    await shared.clock.advance(30)
    async with process(shared) as bus:
        leases = await claim(bus)
        assert len(leases) == 5
        assert len(consumers(shared)) == 1
        await bus.commit(Batch(settled=leases))
    assert consumers(shared) == []
    assert await shared.opened[-1].messages() == []


async def test_a_message_of_a_later_version_is_claimed_by_who_can_read_it(
    shared: Stores, one: MessageBus
) -> None:
    newer = message("newer", schema_version=2)
    waiting = asyncio.create_task(claim(one, wait=5))
    await shared.clock.settle()
    await send(one, newer, message("known"))
    assert ids(await waiting) == ["known"]
    assert await claim(one) == []
    async with process(shared, readable=2) as upgraded:
        await send(one, message("other"))
        assert sorted(ids(await claim(upgraded))) == ["newer", "other"]
        assert await one.depth() == {"deliveries": 3}


async def test_a_delayed_message_of_another_process_wakes_a_waiting_claim_in_time(
    shared: Stores, one: MessageBus, two: MessageBus
) -> None:
    waiting = asyncio.create_task(claim(two, wait=3600, lease=3600))
    await shared.clock.settle()
    due = shared.clock.now() + timedelta(seconds=7)
    await send(one, message("m", not_before=due))
    await one.depth()
    await heard(shared, two)
    await shared.clock.advance(7)
    assert ids(await waiting) == ["m"]


async def test_after_everything_is_wiped_old_leases_are_lost_and_new_work_is_done(
    shared: Stores, one: MessageBus
) -> None:
    await send(one, message("m"), message("n"))
    (lease,) = await claim(one, limit=1)
    see(shared, "FLUSHALL")
    with pytest.raises(LeaseLost):
        await one.commit(Batch(settled=[lease]))
    with pytest.raises(LeaseLost):
        await one.renew(lease, 60)
    assert await one.depth() == {}
    assert await claim(one) == []
    await send(one, message("m"))
    (again,) = await claim(one)
    await one.commit(Batch(settled=[again]))
    assert await one.depth() == {}


async def test_scripts_that_the_server_forgot_are_sent_again(
    shared: Stores, one: MessageBus
) -> None:
    for n in range(3):
        see(shared, "SCRIPT", "FLUSH")
        await send(one, message(f"m{n}"))
        see(shared, "SCRIPT", "FLUSH")
        (lease,) = await claim(one)
        see(shared, "SCRIPT", "FLUSH")
        assert await one.depth() == {"deliveries": 1}
        await one.commit(Batch(settled=[lease]))


async def test_a_group_that_an_operator_destroyed_is_made_again(
    shared: Stores, one: MessageBus
) -> None:
    await send(one, message("m"), message("n"))
    await claim(one, limit=1, lease=10)
    see(shared, "XGROUP", "DESTROY", STREAM, "workers")
    (lease,) = await claim(one)
    assert lease.message.id == "n"
    assert (await one.renew(lease, 60)).token == 1
    await shared.clock.advance(10)
    (taken_back,) = await claim(one)
    assert (taken_back.message.id, taken_back.token) == ("m", 2)
    await one.commit(Batch(settled=[lease, taken_back]))
    assert see(shared, "XLEN", STREAM) == 0


async def test_a_full_server_takes_nothing_and_changes_nothing(
    shared: Stores, one: MessageBus
) -> None:
    await send(one, message("m"))
    see(shared, "CONFIG", "SET", "maxmemory", 1)
    try:
        with pytest.raises(NotStored, match="full"):
            await one.commit(Batch(writes=[Write("a", b"")], messages=[message("n")]))
        with pytest.raises(NotStored, match="full"):
            await claim(one)
        with pytest.raises(NotStored, match="full"):
            await shared.opened[0].ping()
        assert await shared.opened[0].get("a") is None
        assert await one.depth() == {"deliveries": 1}
    finally:
        see(shared, "CONFIG", "SET", "maxmemory", 0)
    (lease,) = await claim(one)
    assert lease.token == 1


@pytest.mark.parametrize(
    "key",
    [
        *("record:b", "records", "expiry", "log:log"),
        *("messages", "message:m", "counters", "depth", "delayed:1:deliveries"),
        *("ring:1:deliveries", "tenants:12:1:deliveries:1", "lane:12:1:deliveries:1/1"),
    ],
)
async def test_a_key_of_another_program_stops_a_commit_before_it_changes_anything(
    shared: Stores, one: MessageBus, key: str
) -> None:
    backend = shared.opened[0]
    see(shared, "SET", f"{TAG}:{key}", "theirs")
    batch = Batch(
        writes=[Write("a", b"1"), Write("b", b"1", ttl=10)],
        appends=[Append("log", b"x")],
        messages=[message("other"), message("m")],
    )
    with pytest.raises(NotStored, match="holds something else"):
        await one.commit(batch)
    see(shared, "DEL", f"{TAG}:{key}")
    assert await backend.get("a") is None
    assert await backend.read_log("log") == []
    assert await backend.messages() == []
    await one.commit(batch)
    assert sorted(ids(await claim(one))) == ["m", "other"]


def pending(shared: Stores) -> list[str]:
    """Who holds each entry of the queue's ledger."""
    assert shared.server
    with shared.server.client() as client:
        entries: Any = client.xpending_range(STREAM, "workers", "-", "+", 100)
    return [entry["consumer"].decode() for entry in entries]


def consumers(shared: Stores) -> Sequence[Any]:
    return see(shared, "XINFO", "CONSUMERS", STREAM, "workers")


async def heard(shared: Stores, bus: MessageBus) -> None:
    """Return when the bus has heard every bell of before: what is said after them has arrived."""
    async with bus.subscribe("after") as listener, process(shared) as third:
        await third.publish("after", None)
        await anext(listener)
    await shared.clock.settle()
