"""Every sentence of MessageBus's docstrings, on every implementation."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta

import pytest
from pydantic import JsonValue

from pipelines.errors import Conflict, Ignorable, LeaseLost, NotStored, Retryable
from pipelines.orchestration.bus.base import MessageBus
from pipelines.orchestration.bus.dead import DeadLetters
from pipelines.ports import ABSENT, Batch, Lease, Message, Write
from pipelines.stores.backend import StorageBackend
from tests.contracts.conftest import Stores
from tests.contracts.make import message
from tests.support.clock import VirtualClock


@pytest.fixture
async def bus(stores: Stores, backend: StorageBackend) -> AsyncIterator[MessageBus]:
    bus = stores.bus(backend)
    await bus.start()
    yield bus
    await bus.close()


async def restarted(stores: Stores, bus: MessageBus, backend: StorageBackend) -> MessageBus:
    """The bus of a process that was started after the first one ended.

    Where processes share the data, what the first one held is free when its leases have run out.
    """
    await bus.close()
    bus = stores.bus(await stores.reopen(backend))
    await bus.start()
    if stores.server:
        await stores.clock.advance(60)
    return bus


async def send(bus: MessageBus, *messages: Message) -> None:
    await bus.commit(Batch(messages=messages))


async def claim(
    bus: MessageBus,
    *queues: str,
    limit: int = 100,
    wait: float = 0.0,
    lease: float = 60.0,
    early: bool = False,
) -> Sequence[Lease]:
    queues = queues or ("deliveries",)
    return await bus.claim(queues, limit=limit, wait=wait, lease=lease, early=early)


async def settle(bus: MessageBus, *leases: Lease) -> None:
    await bus.commit(Batch(settled=leases))


def ids(leases: Sequence[Lease]) -> list[str]:
    return [lease.message.id for lease in leases]


async def drain(bus: MessageBus, *queues: str) -> list[str]:
    """Claim one by one, as a worker with one slot would."""
    found: list[str] = []
    while leases := await claim(bus, *queues, limit=1):
        found += ids(leases)
        await settle(bus, *leases)
    return found


# --- claiming ------------------------------------------------------------------------------------


async def test_a_committed_message_is_claimed_with_its_first_token(bus: MessageBus) -> None:
    await send(bus, message("m", body={"n": 1}))
    (lease,) = await claim(bus)
    assert lease.message == message("m", body={"n": 1}, attempts=1)
    assert lease.token == 1
    assert await claim(bus) == []


async def test_messages_and_records_are_stored_together_or_not_at_all(
    bus: MessageBus, backend: StorageBackend
) -> None:
    await bus.commit(Batch(writes=[Write("a", b"1", expect=ABSENT)], messages=[message("m")]))
    with pytest.raises(Conflict):
        await bus.commit(Batch(writes=[Write("a", b"2", expect=ABSENT)], messages=[message("n")]))
    assert ids(await claim(bus)) == ["m"]
    assert await backend.get("a") is not None


async def test_a_claim_takes_only_from_the_queues_it_names(bus: MessageBus) -> None:
    await send(bus, message("a", queue="effects"), message("b", queue="reports"))
    assert ids(await claim(bus, "reports", "timers")) == ["b"]
    assert ids(await claim(bus, "reports", "effects")) == ["a"]


async def test_the_lowest_priority_number_goes_first_then_the_oldest(bus: MessageBus) -> None:
    await send(bus, message("old"), message("new"), message("last", priority=9))
    await send(bus, message("urgent", priority=0))
    assert await drain(bus) == ["urgent", "old", "new", "last"]


async def test_urgency_counts_across_the_queues_of_one_tenant(bus: MessageBus) -> None:
    await send(bus, message("slow", queue="a", priority=9), message("fast", queue="b", priority=0))
    assert await drain(bus, "a", "b") == ["fast", "slow"]


async def test_a_claim_returns_no_more_than_its_limit(bus: MessageBus) -> None:
    await send(bus, *(message(f"m{n}") for n in range(5)))
    assert ids(await claim(bus, limit=2)) == ["m0", "m1"]
    assert ids(await claim(bus, limit=9)) == ["m2", "m3", "m4"]


async def test_a_message_is_not_claimed_before_its_time(
    bus: MessageBus, clock: VirtualClock
) -> None:
    await send(bus, message("m", not_before=clock.now() + timedelta(seconds=10)))
    assert await claim(bus) == []
    await clock.advance(9.99)
    assert await claim(bus) == []
    await clock.advance(0.01)
    assert ids(await claim(bus)) == ["m"]


async def test_a_waiting_claim_is_woken_by_a_commit(bus: MessageBus, clock: VirtualClock) -> None:
    waiting = asyncio.create_task(claim(bus, wait=3600))
    await clock.settle()
    await send(bus, message("m"))
    assert ids(await waiting) == ["m"]
    assert clock.monotonic() == 0


async def test_a_waiting_claim_is_woken_when_a_message_comes_due(
    bus: MessageBus, clock: VirtualClock
) -> None:
    await send(bus, message("m", not_before=clock.now() + timedelta(seconds=10)))
    waiting = asyncio.create_task(claim(bus, wait=3600))
    await clock.settle()
    await clock.advance(10)
    assert ids(await waiting) == ["m"]


async def test_a_claim_gives_up_after_its_wait(bus: MessageBus, clock: VirtualClock) -> None:
    waiting = asyncio.create_task(claim(bus, wait=5))
    await clock.settle()
    await clock.advance(4.9)
    assert not waiting.done()
    await clock.advance(0.1)
    assert await waiting == []


async def test_each_of_many_waiting_claims_gets_one_message(
    bus: MessageBus, clock: VirtualClock
) -> None:
    waiting = [asyncio.create_task(claim(bus, limit=1, wait=60)) for _ in range(10)]
    await clock.settle()
    await send(bus, *(message(f"m{n}") for n in range(10)))
    claimed = await asyncio.gather(*waiting)
    assert sorted(name for leases in claimed for name in ids(leases)) == sorted(
        f"m{n}" for n in range(10)
    )


@pytest.mark.parametrize("turns", [*range(10), 13, 21, 34, 55, 144])
async def test_a_cancelled_claim_passes_its_wake_up_on(
    bus: MessageBus, clock: VirtualClock, turns: int
) -> None:
    first = asyncio.create_task(claim(bus, wait=60))
    await clock.settle()
    second = asyncio.create_task(claim(bus, wait=60))
    await clock.settle()
    sending = asyncio.create_task(send(bus, message("m")))
    for _ in range(turns):
        await asyncio.sleep(0)
    first.cancel()
    await sending
    (outcome,) = await asyncio.gather(first, return_exceptions=True)
    if isinstance(outcome, BaseException):
        assert isinstance(outcome, asyncio.CancelledError)
        outcome = await second
    assert ids(outcome) == ["m"]
    assert clock.monotonic() == 0
    second.cancel()
    await asyncio.gather(second, return_exceptions=True)


async def test_a_message_is_claimed_by_one_of_many_at_a_time(bus: MessageBus) -> None:
    await send(bus, *(message(f"m{n}") for n in range(20)))
    claimed = await asyncio.gather(*(claim(bus, limit=3) for _ in range(30)))
    everything = [name for leases in claimed for name in ids(leases)]
    assert sorted(everything) == sorted(f"m{n}" for n in range(20))


# --- fairness ------------------------------------------------------------------------------------


async def test_a_backlog_of_one_tenant_does_not_delay_another(bus: MessageBus) -> None:
    await send(bus, *(message(f"a{n}", tenant="1/1", priority=0) for n in range(5000)))
    await send(bus, message("b", tenant="2/2", priority=9))
    first_two = ids(await claim(bus, limit=2))
    assert "b" in first_two
    assert "b" in ids(await claim(bus, limit=1)) or "b" in first_two


async def test_tenants_take_turns(bus: MessageBus) -> None:
    for tenant in ("1/1", "2/2", "3/3"):
        await send(bus, *(message(f"{tenant}-{n}", tenant=tenant) for n in range(3)))
    turns = [name.partition("-")[0] for name in await drain(bus)]
    assert turns == ["1/1", "2/2", "3/3"] * 3


async def test_tenants_take_turns_across_queues(bus: MessageBus) -> None:
    await send(bus, *(message(f"a{n}", queue="x", tenant="1/1", priority=0) for n in range(50)))
    await send(bus, *(message(f"b{n}", queue="y", tenant="2/2") for n in range(3)))
    order = await drain(bus, "x", "y")
    assert [order.index(f"b{n}") for n in range(3)] == [1, 3, 5]


async def test_work_elsewhere_does_not_cost_a_tenant_its_turn_here(bus: MessageBus) -> None:
    await send(bus, *(message(f"x{n}", queue="x", tenant="1/1") for n in range(20)))
    await send(bus, *(message(f"y{n}", queue="y", tenant="2/2") for n in range(20)))
    await send(bus, message("wanted", queue="y", tenant="1/1"))
    seen: list[str] = []
    for _ in range(2):
        assert ids(await claim(bus, "x", limit=3)) != []
        seen += ids(await claim(bus, "y", limit=1))
    assert "wanted" in seen


# --- leases --------------------------------------------------------------------------------------


async def test_a_settled_message_never_comes_back(
    stores: Stores, bus: MessageBus, backend: StorageBackend
) -> None:
    await send(bus, message("m"))
    await settle(bus, *(await claim(bus)))
    assert await bus.depth() == {}
    await stores.clock.advance(3600)
    assert await claim(bus) == []
    bus = await restarted(stores, bus, backend)
    assert await claim(bus) == []
    await bus.close()


async def test_a_lease_that_ran_out_goes_to_another_with_a_higher_token(
    bus: MessageBus, clock: VirtualClock
) -> None:
    await send(bus, message("m"))
    (lost,) = await claim(bus, lease=10)
    await clock.advance(9)
    assert await claim(bus) == []
    await clock.advance(1)
    (lease,) = await claim(bus)
    assert lease.message.attempts == lease.token == 2
    for attempt in (settle(bus, lost), bus.renew(lost, 10), bus.release(lost), bus.bury(lost, "")):
        with pytest.raises(LeaseLost):
            await attempt
    await settle(bus, lease)


async def test_a_lease_that_ran_out_is_lost_even_if_nobody_else_came(
    bus: MessageBus, clock: VirtualClock
) -> None:
    await send(bus, message("m"))
    (lost,) = await claim(bus, lease=10)
    await clock.advance(10)
    with pytest.raises(LeaseLost):
        await settle(bus, lost)
    assert await bus.depth() == {"deliveries": 1}


async def test_a_waiting_claim_is_woken_by_a_lease_that_ran_out(
    bus: MessageBus, clock: VirtualClock
) -> None:
    await send(bus, message("m"))
    await claim(bus, lease=10)
    waiting = asyncio.create_task(claim(bus, wait=60))
    await clock.settle()
    await clock.advance(10)
    assert ids(await waiting) == ["m"]
    assert clock.monotonic() == 10


async def test_a_renewed_lease_lasts_and_the_first_form_of_it_settles_too(
    bus: MessageBus, clock: VirtualClock
) -> None:
    await send(bus, message("m"), message("n"))
    first, other = await claim(bus, lease=10)
    renewed = first
    for _ in range(5):
        await clock.advance(6)
        renewed = await bus.renew(first, 10)
        assert renewed.expires_at == clock.monotonic() + 10
    assert (first.seconds, renewed.seconds) == (10, 10)
    assert ids(await claim(bus)) == [other.message.id]
    await settle(bus, first)
    with pytest.raises(LeaseLost):
        await settle(bus, renewed)


async def test_a_released_message_is_claimable_at_once_or_after_the_delay(
    bus: MessageBus, clock: VirtualClock
) -> None:
    await send(bus, message("m"))
    (first,) = await claim(bus)
    await bus.release(first)
    (second,) = await claim(bus)
    assert second.token == 2
    await bus.release(second, delay=30)
    with pytest.raises(LeaseLost):
        await settle(bus, second)
    await clock.advance(29)
    assert await claim(bus) == []
    await clock.advance(1)
    assert (await claim(bus))[0].token == 3


async def test_a_batch_with_a_lost_lease_stores_nothing(
    bus: MessageBus, backend: StorageBackend, clock: VirtualClock
) -> None:
    await send(bus, message("m"))
    (lost,) = await claim(bus, lease=10)
    await clock.advance(11)
    with pytest.raises(LeaseLost):
        await bus.commit(
            Batch(writes=[Write("a", b"")], messages=[message("next")], settled=[lost])
        )
    assert await backend.get("a") is None
    assert ids(await claim(bus)) == ["m"]


async def test_a_conflict_leaves_the_lease_with_its_holder(bus: MessageBus) -> None:
    await send(bus, message("m"))
    (lease,) = await claim(bus)
    with pytest.raises(Conflict):
        await bus.commit(Batch(writes=[Write("a", b"", expect=5)], settled=[lease]))
    assert await claim(bus) == []
    await settle(bus, lease)
    assert await bus.depth() == {}


async def test_of_two_who_settle_the_same_lease_at_once_one_wins(bus: MessageBus) -> None:
    await send(bus, message("m"))
    (lease,) = await claim(bus)
    outcomes = await asyncio.gather(settle(bus, lease), settle(bus, lease), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [type(None), LeaseLost]


# --- replacing -----------------------------------------------------------------------------------


async def test_putting_a_message_again_replaces_it(bus: MessageBus) -> None:
    await send(bus, message("m", body={"n": 1}), message("n"))
    await send(bus, message("m", body={"n": 2}))
    leases = await claim(bus)
    assert ids(leases) == ["m", "n"]
    assert leases[0].message.body == {"n": 2}
    assert await bus.depth() == {"deliveries": 2}


async def test_a_replacement_may_change_queue_tenant_and_time(
    bus: MessageBus, clock: VirtualClock
) -> None:
    later = clock.now() + timedelta(seconds=5)
    await send(bus, message("m"))
    await send(bus, message("m", queue="timers", tenant="2/2", not_before=later))
    assert await bus.depth() == {"timers": 1}
    assert await claim(bus, "deliveries", "timers") == []
    await send(bus, message("m", queue="timers"))
    assert ids(await claim(bus, "timers")) == ["m"]
    await clock.advance(10)
    assert await claim(bus, "timers") == []


async def test_a_replaced_message_takes_the_lease_from_whoever_held_it(bus: MessageBus) -> None:
    await send(bus, message("m", body={"n": 1}))
    (stale,) = await claim(bus)
    await send(bus, message("m", body={"n": 2}))
    (lease,) = await claim(bus)
    assert (lease.token, lease.message.body) == (1, {"n": 2})
    with pytest.raises(LeaseLost):
        await settle(bus, stale)
    await settle(bus, lease)


async def test_a_claim_and_a_replacement_at_once_keep_the_replacement(
    stores: Stores, bus: MessageBus, backend: StorageBackend
) -> None:
    for _ in range(20):
        await send(bus, message("m", body={"n": 1}))
        newer = message("m", body={"n": 2})
        first, _, second = await asyncio.gather(claim(bus), send(bus, newer), claim(bus))
        bodies = [lease.message.body["n"] for lease in [*first, *second]]
        assert bodies in ([], [1], [2], [1, 2])
        assert [m.body for m in await backend.messages()] == [{"n": 2}]
    bus = await restarted(stores, bus, backend)
    assert [lease.message.body for lease in await claim(bus)] == [{"n": 2}]
    await bus.close()


async def test_a_message_settled_and_sent_anew_in_one_batch_is_claimable(bus: MessageBus) -> None:
    await send(bus, message("m"))
    (lease,) = await claim(bus)
    await bus.commit(Batch(messages=[message("m", body={"again": True})], settled=[lease]))
    (again,) = await claim(bus)
    assert again.message.body == {"again": True}
    with pytest.raises(LeaseLost):
        await settle(bus, lease)


# --- restarts and failures -----------------------------------------------------------------------


async def test_after_a_restart_unsettled_work_is_claimable_and_its_crash_counted(
    stores: Stores, bus: MessageBus, backend: StorageBackend
) -> None:
    later = stores.clock.now() + timedelta(seconds=90)
    await send(bus, message("held"), message("ready"), message("later", not_before=later))
    assert ids(await claim(bus, limit=1)) == ["held"]
    bus = await restarted(stores, bus, backend)
    assert await bus.depth() == {"deliveries": 3}
    leases = await claim(bus)
    assert [(lease.message.id, lease.token) for lease in leases] == [("held", 2), ("ready", 1)]
    await stores.clock.advance(90)
    assert "later" in ids(await claim(bus))
    await bus.close()


async def test_an_early_claim_is_counted_once_its_holder_has_stored_something(
    stores: Stores, bus: MessageBus, backend: StorageBackend
) -> None:
    await send(bus, message("held"))
    (lease,) = await claim(bus, early=True)
    assert (lease.message.id, lease.token) == ("held", 1)
    await bus.commit(Batch(writes=[Write("begun", b"1")]))
    bus = await restarted(stores, bus, backend)
    (lease,) = await claim(bus, early=True)
    assert (lease.message.id, lease.token) == ("held", 2)
    await settle(bus, lease)
    assert await bus.depth() == {}
    assert await stores.opened[-1].messages() == []
    await bus.close()


async def test_an_early_claim_keeps_others_away_until_its_lease_ends(
    bus: MessageBus, clock: VirtualClock
) -> None:
    await send(bus, message("m"))
    (first,) = await claim(bus, early=True)
    assert await claim(bus) == await claim(bus, early=True) == []
    await clock.advance(60)
    (second,) = await claim(bus, early=True)
    assert second.token == 2
    with pytest.raises(LeaseLost):
        await settle(bus, first)
    await settle(bus, second)


async def test_an_early_claim_that_cannot_be_stored_is_worth_nothing(
    stores: Stores, bus: MessageBus, backend: StorageBackend
) -> None:
    if stores.server:
        pytest.skip("a server claims and counts in one step, so there an early claim just raises")
    await send(bus, message("m"))
    await stores.refuse(backend)
    (lease,) = await claim(bus, early=True)
    with pytest.raises(NotStored):
        await settle(bus, lease)
    await stores.clock.settle()
    with pytest.raises(LeaseLost):
        await bus.renew(lease, 60)
    assert await bus.depth() == {"deliveries": 1}


async def test_a_message_of_a_later_version_stays_pending(
    stores: Stores, bus: MessageBus, backend: StorageBackend
) -> None:
    await send(bus, message("newer", schema_version=2), message("known"))
    assert ids(await claim(bus)) == ["known"]
    assert await bus.depth() == {"deliveries": 2}
    bus = await restarted(stores, bus, backend)
    assert ids(await claim(bus)) == ["known"]
    assert {m.id for m in await stores.opened[-1].messages()} == {"newer", "known"}
    await bus.close()


async def test_a_cancelled_commit_is_stored_and_its_messages_claimable(
    bus: MessageBus, clock: VirtualClock
) -> None:
    waiting = asyncio.create_task(claim(bus, wait=60))
    sending = asyncio.create_task(send(bus, message("m")))
    await asyncio.sleep(0)
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    assert ids(await waiting) == ["m"]


async def test_what_was_claimed_for_a_cancelled_caller_goes_to_another(
    bus: MessageBus, clock: VirtualClock
) -> None:
    await send(bus, message("m"))
    claiming = asyncio.create_task(claim(bus))
    await asyncio.sleep(0)
    claiming.cancel()
    await asyncio.gather(claiming, return_exceptions=True)
    leases = await claim(bus, wait=60)
    assert ids(leases) == ["m"]
    assert clock.monotonic() == 0


async def test_a_store_that_refuses_leaves_the_queue_as_it_was(
    stores: Stores, bus: MessageBus, backend: StorageBackend
) -> None:
    await send(bus, message("m"))
    await stores.refuse(backend)
    with pytest.raises(NotStored):
        await claim(bus)
    with pytest.raises(NotStored):
        await send(bus, message("n"))
    assert await bus.depth() == {"deliveries": 1}


async def test_a_closed_bus_ends_every_wait(bus: MessageBus, clock: VirtualClock) -> None:
    waiting = asyncio.create_task(claim(bus, wait=3600))
    asking = asyncio.create_task(bus.request("nobody", None, timeout=3600))
    async with bus.subscribe("topic") as listener:
        await clock.settle()
        await bus.close()
        assert await waiting == []
        assert [item async for item in listener] == []
    with pytest.raises(Retryable, match="closed"):
        await asking
    with pytest.raises(NotStored, match="closed"):
        await send(bus, message("m"))
    assert await claim(bus, wait=60) == []
    await bus.close()


# --- dead letters --------------------------------------------------------------------------------


async def test_a_buried_message_is_kept_with_the_reason_and_can_be_requeued(
    stores: Stores, bus: MessageBus, backend: StorageBackend
) -> None:
    await send(bus, message("delivery/1", body={"n": 1}))
    (lease,) = await claim(bus)
    await bus.bury(lease, "claimed 5 times without an end")
    assert await bus.depth() == {}
    bus = await restarted(stores, bus, backend)
    assert await claim(bus) == []
    letters = DeadLetters(stores.opened[-1], bus, stores.clock)
    (letter,) = await letters.list()
    assert letter == await letters.get("delivery/1")
    assert letter.reason == "claimed 5 times without an end"
    assert letter.message.attempts == 1

    await letters.requeue("delivery/1")
    assert await letters.list() == []
    (lease,) = await claim(bus)
    assert (lease.message.body, lease.token) == ({"n": 1}, 1)
    with pytest.raises(Ignorable, match="no dead letter"):
        await letters.requeue("delivery/1")
    await bus.close()


async def test_dead_letters_are_listed_page_by_page(
    bus: MessageBus, backend: StorageBackend, clock: VirtualClock
) -> None:
    await send(bus, *(message(f"m/{n}") for n in range(5)))
    for lease in await claim(bus):
        await bus.bury(lease, "why")
    letters = DeadLetters(backend, bus, clock)
    first = await letters.list(limit=3)
    rest = await letters.list(limit=3, after=first[-1].message.id)
    assert [letter.message.id for letter in [*first, *rest]] == [f"m/{n}" for n in range(5)]


async def test_a_message_that_is_buried_can_not_be_settled(bus: MessageBus) -> None:
    await send(bus, message("m"))
    (lease,) = await claim(bus)
    await bus.bury(lease, "why")
    with pytest.raises(LeaseLost):
        await settle(bus, lease)


# --- publish and subscribe -----------------------------------------------------------------------


async def test_everybody_who_listens_hears_what_is_published(bus: MessageBus) -> None:
    await bus.publish("runs", "too early")
    async with bus.subscribe("runs") as one, bus.subscribe("runs") as two:
        async with bus.subscribe("other") as other:
            await bus.publish("runs", {"id": 1})
            await bus.publish("other", 7)
            assert await anext(one) == {"id": 1}
            assert await anext(two) == {"id": 1}
            assert await anext(other) == 7
        await bus.publish("other", 8)


async def test_a_listener_waits_for_what_is_to_come(bus: MessageBus, clock: VirtualClock) -> None:
    async with bus.subscribe("runs") as listener:
        hearing = asyncio.ensure_future(anext(listener))
        await clock.settle()
        assert not hearing.done()
        await bus.publish("runs", 1)
        assert await hearing == 1


async def test_a_slow_listener_loses_its_oldest_items(bus: MessageBus) -> None:
    async with bus.subscribe("runs") as listener:
        for n in range(5000):
            await bus.publish("runs", n)
        await bus.close()
        heard = [item async for item in listener]
    assert heard == list(range(5000 - len(heard), 5000))
    assert 100 <= len(heard) < 5000


# --- request and response ------------------------------------------------------------------------


async def double(payload: JsonValue) -> JsonValue:
    assert isinstance(payload, int)
    return payload * 2


async def test_a_request_is_answered_by_a_responder(bus: MessageBus) -> None:
    async with bus.respond("double", double):
        assert await bus.request("double", 21, timeout=1) == 42


async def test_a_request_waits_for_a_responder_to_come(
    bus: MessageBus, clock: VirtualClock
) -> None:
    asking = [asyncio.create_task(bus.request("double", n, timeout=5)) for n in (1, 2)]
    await clock.settle()
    async with bus.respond("double", double):
        assert await asyncio.gather(*asking) == [2, 4]


async def test_several_responders_share_the_requests(bus: MessageBus) -> None:
    async def one(payload: JsonValue) -> JsonValue:
        return "one"

    async def two(payload: JsonValue) -> JsonValue:
        return "two"

    async with bus.respond("who", one), bus.respond("who", two):
        answers = [await bus.request("who", None, timeout=1) for _ in range(4)]
    assert sorted(map(str, answers)) == ["one", "one", "two", "two"]


async def test_a_request_that_nobody_answers_ends_in_time(
    bus: MessageBus, clock: VirtualClock
) -> None:
    asking = asyncio.create_task(bus.request("nobody", None, timeout=5))
    await clock.settle()
    await clock.advance(4.9)
    assert not asking.done()
    await clock.advance(0.1)
    with pytest.raises(Retryable, match="nobody did within 5 s"):
        await asking


async def test_a_slow_responder_is_stopped_at_the_deadline(
    bus: MessageBus, clock: VirtualClock
) -> None:
    stopped = asyncio.Event()

    async def slow(payload: JsonValue) -> JsonValue:
        try:
            await clock.sleep(3600)
        finally:
            stopped.set()
        return None

    async with bus.respond("slow", slow):
        asking = asyncio.create_task(bus.request("slow", None, timeout=5))
        await clock.settle()
        await clock.advance(5)
        with pytest.raises(Retryable):
            await asking
    assert stopped.is_set()


async def test_what_a_responder_raises_reaches_who_asked(bus: MessageBus) -> None:
    async def refuse(payload: JsonValue) -> JsonValue:
        raise TimeoutError("its own")

    async with bus.respond("refuse", refuse):
        with pytest.raises(TimeoutError, match="its own"):
            await bus.request("refuse", None, timeout=5)
