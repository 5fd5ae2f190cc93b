"""Whose turn it is: people before changes before clocks, and nobody's backlog before another's."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from benchmarks.fairness import (
    BUSY,
    CAPS,
    QUIET,
    SLOTS,
    Crew,
    coordinator_over,
    queue_up,
    start_runs,
)
from bot.worker import Lane, Worker
from pipelines.orchestration.bus.base import Caps
from pipelines.orchestration.bus.local import LocalBus
from pipelines.orchestration.dispatch import Dispatcher
from pipelines.ports import PATIENT, URGENT, USUAL, Lease, Message
from pipelines.stores.open import open_backend
from tests.support.clock import VirtualClock
from tests.support.forge import REPOSITORY, Pull
from tests.support.world import World
from tests.unit.flow.test_schedules import HOURLY, Branch, push, schedules

QUEUED = 5000
LONG = 600.0
"""Seconds of a task that keeps its slot while others wait."""


class Watched:
    """A dispatcher that keeps what it was given, in order."""

    def __init__(self, inner: Dispatcher) -> None:
        self._inner = inner
        self.seen: list[Message] = []

    async def handle(self, lease: Lease) -> None:
        self.seen.append(lease.message)
        await self._inner.handle(lease)


@pytest.fixture
def forge() -> Branch:
    review = "  pull-request: { on: { pull_request: {}, command: { verbs: [review] } }, "
    config = f"{HOURLY}{review}steps: {{ look: {{ agent: review }} }} }}\n"
    return Branch(config=config, pulls={number: Pull(number, "one") for number in range(1, 4)})


async def worked(world: World, *queues: str) -> list[int]:
    """Have a worker with one slot work on these queues; return the priorities in its order."""
    watched = Watched(world.dispatcher)
    worker = Worker(
        name="w",
        lanes=(Lane("only", queues, 1),),
        dispatcher=watched,
        bus=world.bus,
        store=world.store,
        clock=world.clock,
        listener=world.execution.listening,
    )
    wanted = sum(m.queue in queues and m.not_before is None for m in await world.store.messages())
    task = asyncio.create_task(worker.run())
    await really(lambda: len(watched.seen) == wanted)
    worker.stop()
    await task
    return [message.priority for message in watched.seen]


async def really(holds: Callable[[], bool]) -> None:
    """Wait in real time, for threads; no virtual time passes."""
    async with asyncio.timeout(60):
        while not holds():  # noqa: ASYNC110  (what is waited for happens in other tasks' lists)
            await asyncio.sleep(0.001)


async def test_a_worker_with_a_backlog_serves_people_then_changes_then_clocks(
    world: World,
) -> None:
    world.tenant = REPOSITORY.tenant
    await push(world)
    await world.clock.advance(3600)
    await schedules(world).sweep()
    world.accepted |= set(await world.deliveries())
    for number in (1, 2):
        await world.pull_request("opened", number, "one")
    await world.comment(3, "/conductor review")

    order = [URGENT, USUAL, USUAL, PATIENT]
    assert await worked(world, "deliveries") == order
    assert await worked(world, *world.coordinator.queues) == order


@pytest.fixture(params=["memory", "sqlite"])
async def crew(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Crew]:
    """A worker with 5,000 runs of one repository before it, and tasks of ten minutes."""
    clock = VirtualClock()
    url = {"memory": "memory://", "sqlite": f"sqlite:///{tmp_path}/crew.db"}[request.param]
    store = open_backend(url, clock)
    bus = LocalBus(store, clock)
    coordinator = coordinator_over(store, bus, clock)
    await queue_up(coordinator, BUSY, QUEUED)
    yield Crew(bus, coordinator, clock, LONG)
    await bus.close()
    await store.close()


async def test_5000_queued_runs_of_one_repository_do_not_delay_anothers_first_step(
    crew: Crew,
) -> None:
    """R28: at most 5 seconds; here none passes, though each task keeps its slot for minutes."""
    cap = CAPS.per_tenant
    assert cap is not None
    async with crew.working():
        await really(lambda: len(crew.started) == cap)
        before = crew.clock.monotonic()
        (run_id,) = await start_runs(crew.coordinator, QUIET, [1])
        await really(lambda: len(crew.started) > cap)
        assert crew.started[-1] == (QUIET.tenant, run_id, before)
        assert {tenant for tenant, _, _ in crew.started[:-1]} == {BUSY.tenant}


async def test_without_a_free_slot_another_repository_is_next() -> None:
    clock = VirtualClock()
    store = open_backend("memory://", clock)
    bus = LocalBus(store, clock)
    coordinator = coordinator_over(store, bus, clock)
    await queue_up(coordinator, BUSY, 200)
    crew = Crew(bus, coordinator, clock, 1.0, caps=Caps())
    async with crew.working():
        await clock.advance(3.5)
        begun = len(crew.started)
        await start_runs(crew.coordinator, QUIET, [1, 2, 3])
        await clock.advance(2.0)
        tenants = [tenant for tenant, _, _ in crew.started[begun:]]
        assert tenants[:6] == [BUSY.tenant, QUIET.tenant] * 3, "they take turns"
        assert len(tenants) == 2 * SLOTS
    await bus.close()
