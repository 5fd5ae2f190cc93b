"""Caps on what is leased at a time: of one tenant, and of one installation."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from pipelines.orchestration.bus.base import Caps, MessageBus
from pipelines.ports import Batch, Lease
from pipelines.stores.backend import StorageBackend
from tests.contracts.conftest import Stores
from tests.contracts.make import message
from tests.support.clock import VirtualClock

ONE = Caps(per_tenant=1)


@pytest.fixture
async def bus(stores: Stores, backend: StorageBackend) -> AsyncIterator[MessageBus]:
    bus = stores.bus(backend)
    await bus.start()
    yield bus
    await bus.close()


async def send(bus: MessageBus, tenant: str, *names: str, queue: str = "deliveries") -> None:
    await bus.commit(Batch(messages=[message(n, tenant=tenant, queue=queue) for n in names]))


async def claim(
    bus: MessageBus,
    caps: Caps | None,
    *queues: str,
    limit: int = 100,
    wait: float = 0.0,
    lease: float = 60.0,
) -> Sequence[Lease]:
    names = queues or ("deliveries",)
    return await bus.claim(names, limit=limit, wait=wait, lease=lease, caps=caps)


def ids(leases: Sequence[Lease]) -> list[str]:
    return [lease.message.id for lease in leases]


async def test_no_more_of_a_tenant_is_leased_than_its_cap(bus: MessageBus) -> None:
    await send(bus, "1/1", *(f"a{n}" for n in range(5)))
    assert ids(await claim(bus, Caps(per_tenant=2))) == ["a0", "a1"]
    assert await claim(bus, Caps(per_tenant=2)) == []
    assert ids(await claim(bus, Caps(per_tenant=3))) == ["a2"]
    assert ids(await claim(bus, None)) == ["a3", "a4"]


async def test_work_of_others_passes_by(bus: MessageBus) -> None:
    await send(bus, "1/1", "a0", "a1", "a2")
    await send(bus, "2/2", "b0", "b1")
    assert ids(await claim(bus, ONE)) == ["a0", "b0"]
    await send(bus, "1/3", "c0")
    assert ids(await claim(bus, ONE)) == ["c0"]


async def test_an_installation_has_a_cap_over_its_repositories(bus: MessageBus) -> None:
    await send(bus, "1/1", "a0", "a1")
    await send(bus, "1/2", "b0", "b1")
    await send(bus, "2/1", "c0", "c1")
    caps = Caps(per_installation=3)
    assert ids(await claim(bus, caps)) == ["a0", "b0", "c0", "a1", "c1"]
    assert await claim(bus, caps) == []


async def test_both_caps_hold_together(bus: MessageBus) -> None:
    for tenant in ("1/1", "1/2", "1/3"):
        await send(bus, tenant, f"{tenant}-0", f"{tenant}-1")
    caps = Caps(per_tenant=1, per_installation=2)
    assert ids(await claim(bus, caps)) == ["1/1-0", "1/2-0"]


async def test_a_tenants_cap_counts_over_the_queues_of_the_claim_only(bus: MessageBus) -> None:
    await send(bus, "1/1", "x0", queue="x")
    await send(bus, "1/1", "y0", queue="y")
    await send(bus, "1/1", "z0", queue="z")
    assert ids(await claim(bus, ONE, "x", "y")) == ["x0"]
    assert await claim(bus, ONE, "x", "y") == []
    assert ids(await claim(bus, ONE, "z")) == ["z0"]


async def test_a_repository_named_like_an_installation_is_none(bus: MessageBus) -> None:
    await send(bus, "1", "a0")
    await send(bus, "1/1", "b0")
    assert ids(await claim(bus, ONE)) == ["a0", "b0"]


@pytest.mark.parametrize("way", ["settle", "release", "bury", "expire", "replace"])
async def test_whoever_frees_a_place_wakes_a_waiting_claim(
    bus: MessageBus, clock: VirtualClock, way: str
) -> None:
    await send(bus, "1/1", "a0", "a1")
    (lease,) = await claim(bus, ONE, lease=10)
    waiting = asyncio.create_task(claim(bus, ONE, wait=3600, limit=1))
    await clock.settle()
    assert not waiting.done()
    match way:
        case "settle":
            await bus.commit(Batch(settled=[lease]))
        case "release":
            await bus.release(lease, delay=100)
        case "bury":
            await bus.bury(lease, "why")
        case "replace":
            await send(bus, "9/9", "a0", queue="elsewhere")
        case _:
            await clock.advance(10)
    (found,) = await waiting
    assert found.message.id == ("a0" if way == "expire" else "a1")
    assert clock.monotonic() == (10 if way == "expire" else 0)


async def test_a_place_freed_in_another_queue_of_the_claim_wakes_it(
    bus: MessageBus, clock: VirtualClock
) -> None:
    await send(bus, "1/1", "x0", queue="x")
    await send(bus, "1/1", "y0", queue="y")
    (lease,) = await claim(bus, ONE, "x", "y")
    waiting = asyncio.create_task(claim(bus, ONE, "x", "y", wait=3600))
    await clock.settle()
    await bus.commit(Batch(settled=[lease]))
    assert ids(await waiting) == ["y0"]
    assert clock.monotonic() == 0


async def test_a_capped_tenant_keeps_its_order_and_priority(bus: MessageBus) -> None:
    await send(bus, "1/1", *(f"a{n}" for n in range(4)))
    await bus.commit(Batch(messages=[message("urgent", tenant="1/1", priority=0)]))
    order: list[str] = []
    while leases := await claim(bus, ONE):
        order += ids(leases)
        await bus.commit(Batch(settled=leases))
    assert order == ["urgent", "a0", "a1", "a2", "a3"]


async def test_many_repositories_of_a_full_installation_do_not_hide_another(
    bus: MessageBus,
) -> None:
    many = [message(f"a{n}", tenant=f"1/{n}") for n in range(300)]
    await bus.commit(Batch(messages=many))
    await send(bus, "2/1", "b0")
    caps = Caps(per_installation=1)
    assert ids(await claim(bus, caps, limit=2)) == ["a0", "b0"]
    assert await claim(bus, caps) == []
