"""What is done under a lease is written while the lease lasts, and never after."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from pipelines import fence
from pipelines.errors import LeaseLost
from pipelines.orchestration.bus.local import LocalBus
from pipelines.orchestration.leases import under_lease
from pipelines.ports import Batch, Lease, Message
from pipelines.stores.memory import MemoryBackend
from tests.support.clock import VirtualClock
from tests.support.forge import Pull
from tests.unit.orchestration.yard import Yard, created, deploying


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
async def bus(clock: VirtualClock) -> AsyncIterator[LocalBus]:
    bus = LocalBus(MemoryBackend(clock), clock)
    await bus.start()
    yield bus
    await bus.close()


async def leased(
    bus: LocalBus, clock: VirtualClock, name: str = "m", *, seconds: float = 60.0
) -> Lease:
    message = Message(id=name, queue="effects", tenant="7/42", enqueued_at=clock.now())
    await bus.commit(Batch(messages=[message]))
    (lease,) = await bus.claim(["effects"], limit=1, wait=0.0, lease=seconds)
    return lease


class Writer:
    """Work that waits for something and then writes."""

    def __init__(self) -> None:
        self.go_on = asyncio.Event()
        self.written = 0

    async def __call__(self) -> None:
        await self.go_on.wait()
        fence.check()
        self.written += 1


async def test_a_process_that_was_stopped_beyond_its_lease_writes_nothing(
    bus: LocalBus, clock: VirtualClock
) -> None:
    lease, writer = await leased(bus, clock), Writer()
    working = asyncio.create_task(under_lease(lease, writer(), bus=bus, clock=clock))
    await clock.settle()
    clock.leap(61)
    writer.go_on.set()
    with pytest.raises(LeaseLost):
        await working
    assert writer.written == 0


@pytest.mark.parametrize("seconds", [5.0, 60.0])
async def test_a_lease_that_is_renewed_lets_work_write_for_as_long_as_it_takes(
    bus: LocalBus, clock: VirtualClock, seconds: float
) -> None:
    lease, writer = await leased(bus, clock, seconds=seconds), Writer()
    working = asyncio.create_task(under_lease(lease, writer(), bus=bus, clock=clock))
    await clock.settle()
    await clock.advance(600)
    writer.go_on.set()
    await working
    assert writer.written == 1


async def test_what_is_done_under_no_lease_is_not_held(bus: LocalBus, clock: VirtualClock) -> None:
    lease, writer = await leased(bus, clock), Writer()
    working = asyncio.create_task(under_lease(lease, writer(), bus=bus, clock=clock))
    await clock.settle()
    clock.leap(61)
    fence.check()
    working.cancel()
    await asyncio.gather(working, return_exceptions=True)


@pytest.mark.parametrize("held", [True, False])
async def test_an_agents_effects_are_held_by_the_lease_of_its_task(yard: Yard, held: bool) -> None:
    """The process that carries its questions may have been started under an older lease."""
    run = await yard.begun(deploying("a"))
    yard.forge.pulls[5] = Pull(5, "five")
    expired = fence.Fence(await leased(yard.bus, yard.clock, "old"), yard.clock)
    yard.clock.leap(61)
    own = fence.Fence(await leased(yard.bus, yard.clock, "new"), yard.clock)
    with fence.behind(expired if held else own):
        change = run.change.model_copy(update={"number": 5, "head_repository_id": 42})
        workplace, _ = await yard.workplace(run.model_copy(update={"change": change}))
    with fence.behind(own if held else expired):
        asked = asyncio.create_task(workplace.perform(created(run)))
    (outcome,) = await asyncio.gather(asked, return_exceptions=True)
    assert isinstance(outcome, LeaseLost) == held
    assert len(yard.forge.done) == (not held)
