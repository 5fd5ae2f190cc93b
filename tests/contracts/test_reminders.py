"""Reminders, of which one is enough: nothing waits twice, and nothing that happened goes unseen."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from pipelines.errors import Conflict, LeaseLost
from pipelines.orchestration.bus.base import MessageBus
from pipelines.ports import Batch, Lease, Message, Write
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


async def remind(bus: MessageBus, *messages: Message) -> None:
    await bus.commit(Batch(reminders=messages or (message("m"),)))


async def claim(bus: MessageBus, *, wait: float = 0.0) -> Sequence[Lease]:
    return await bus.claim(("deliveries",), limit=100, wait=wait, lease=60.0)


async def settle(bus: MessageBus, lease: Lease) -> None:
    await bus.commit(Batch(settled=[lease]))


async def test_reminders_that_wait_are_one_message(bus: MessageBus) -> None:
    for n in range(3):
        await remind(bus, message("m", body={"n": n}))
    (lease,) = await claim(bus)
    assert lease.message.body == {"n": 0}
    assert await bus.depth() == {"deliveries": 1}
    await settle(bus, lease)
    assert (await claim(bus), await bus.depth()) == ([], {})


async def test_a_reminder_leaves_the_lease_to_its_holder_and_follows_it(bus: MessageBus) -> None:
    await remind(bus)
    (lease,) = await claim(bus)
    await remind(bus, message("m", body={"n": 1}))
    await remind(bus, message("m", body={"n": 2}))
    assert await claim(bus) == []
    await bus.renew(lease, 60)
    await settle(bus, lease)
    (after,) = await claim(bus)
    assert (after.token, after.message.body) == (1, {"n": 2})
    with pytest.raises(LeaseLost):
        await settle(bus, lease)
    await settle(bus, after)
    assert (await claim(bus), await bus.depth()) == ([], {})


async def test_a_waiting_claim_is_woken_by_the_reminder_that_follows(bus: MessageBus) -> None:
    await remind(bus)
    (lease,) = await claim(bus)
    await remind(bus)
    waiting = asyncio.create_task(claim(bus, wait=60))
    await settle(bus, lease)
    assert [each.message.id for each in await waiting] == ["m"]


async def test_a_reminder_of_who_settles_its_message_in_the_same_batch_follows_too(
    bus: MessageBus,
) -> None:
    await remind(bus)
    (lease,) = await claim(bus)
    await bus.commit(Batch(settled=[lease], reminders=[message("m", body={"n": 1})]))
    (after,) = await claim(bus)
    assert after.message.body == {"n": 1}


async def test_a_reminder_of_a_batch_that_is_refused_is_none(bus: MessageBus) -> None:
    with pytest.raises(Conflict):
        await bus.commit(Batch(writes=[Write("a", b"", expect=5)], reminders=[message("m")]))
    assert (await claim(bus), await bus.depth()) == ([], {})


async def test_a_reminder_comes_back_with_the_lease_that_ran_out(
    bus: MessageBus, clock: VirtualClock
) -> None:
    await remind(bus)
    (lost,) = await claim(bus)
    await remind(bus)
    await clock.advance(61)
    await remind(bus)
    (lease,) = await claim(bus)
    assert lease.token == 2
    with pytest.raises(LeaseLost):
        await settle(bus, lost)


async def test_what_was_reminded_of_before_a_restart_is_claimed_after_it(
    stores: Stores, bus: MessageBus, backend: StorageBackend
) -> None:
    await remind(bus, message("held"), message("ready"))
    await claim(bus)
    await remind(bus, message("held"))
    await bus.close()
    bus = stores.bus(await stores.reopen(backend))
    await bus.start()
    await stores.clock.advance(60)
    assert {lease.message.id for lease in await claim(bus)} == {"held", "ready"}
    await bus.close()


async def test_whoever_is_reminded_while_many_things_happen_sees_the_last_of_them(
    bus: MessageBus, backend: StorageBackend
) -> None:
    seen: list[bytes] = []

    async def watch() -> None:
        while seen[-1:] != [b"40"]:
            for lease in await claim(bus, wait=60):
                record = await backend.get("a")
                seen.append(record.value if record else b"")
                await asyncio.sleep(0)
                await settle(bus, lease)

    watching = asyncio.create_task(watch())
    for n in range(1, 41):
        await bus.commit(Batch(writes=[Write("a", b"%d" % n)], reminders=[message("m")]))
        if n % 3:
            await asyncio.sleep(0)
    await asyncio.wait_for(watching, 10)
    assert len(seen) <= 41
