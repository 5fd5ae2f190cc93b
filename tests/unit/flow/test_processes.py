"""Two processes on one store and one bus do what one would do, and nothing twice."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from typing import Any

import pytest

from pipelines import fence
from pipelines.errors import Retryable
from pipelines.model import TaskResult, WorkflowRun
from pipelines.orchestration.assembly import orchestrate
from pipelines.orchestration.dispatch import Dispatcher
from pipelines.orchestration.leases import LEASE_SECONDS
from pipelines.orchestration.work import postponed
from pipelines.ports import Batch, CheckState, Lease, Reporter
from tests.support.forge import Crash, Forge, Pull
from tests.support.world import World


class SlowReporter(Reporter):
    """A reporter that answers when a test lets it."""

    def __init__(self, forge: Forge) -> None:
        self._forge = forge
        self.entered = asyncio.Event()
        self.going = asyncio.Event()
        self.going.set()

    async def carry_out(self, *args: Any, **options: Any) -> Any:
        return await self._forge.carry_out(*args, **options)

    async def report(
        self,
        run: WorkflowRun,
        results: Mapping[str, TaskResult],
        last: Mapping[str, CheckState],
        *,
        repeated: bool,
    ) -> Mapping[str, CheckState]:
        self.entered.set()
        await self.going.wait()
        fence.check()  # as GitHub's client does before each write
        return await self._forge.report(run, results, last, repeated=repeated)


class Process:
    """One more process of an installation."""

    def __init__(self, world: World, name: str) -> None:
        self.reporter = SlowReporter(world.forge)
        outside = replace(world.outside(), reporter=self.reporter, worker=name)
        self.parts = orchestrate(outside)
        self.dispatcher = Dispatcher(
            self.parts.handlers, bus=world.bus, errors=self.parts.errors, clock=world.clock
        )

    def begin(self, lease: Lease) -> asyncio.Task[None]:
        return asyncio.create_task(self.dispatcher.handle(lease))


@pytest.fixture
def forge() -> Forge:
    return Forge(pulls={5: Pull(5, "one")})


@pytest.fixture
async def first(world: World) -> AsyncIterator[Process]:
    process = Process(world, "first")
    yield process
    process.reporter.going.set()


@pytest.fixture
def second(world: World) -> Process:
    return Process(world, "second")


async def two_reports(world: World) -> tuple[Lease, Lease]:
    """Return two reports of one run, of which nothing was shown yet.

    One was put off and comes back while the other, of what happened since, is still to be done.
    """
    await world.pull_request("opened", 5, "one")
    await world.work("deliveries")
    first = await world.claim("reports")
    await world.work("agent.review")
    assert first is not None
    now = world.clock.now()
    returned = postponed(first.message, until=now, failed=False, now=now)
    await world.bus.commit(Batch(messages=[returned]))
    second = await world.claim("reports")
    assert second is not None
    return first, second


async def test_two_processes_show_one_run_once(
    world: World, forge: Forge, first: Process, second: Process
) -> None:
    one, other = await two_reports(world)
    first.reporter.going.clear()
    early = first.begin(one)
    await first.reporter.entered.wait()
    await second.begin(other)
    assert not second.reporter.entered.is_set()
    first.reporter.going.set()
    await early
    await world.settle()
    assert list(forge.conclusions("one").values()) == ["neutral: 1 finding"]
    assert len(forge.checks) == 1


async def test_a_report_keeps_its_turn_for_as_long_as_it_takes(forge: Forge) -> None:
    world = await World.started(forge)
    first, second = Process(world, "first"), Process(world, "second")
    one, other = await two_reports(world)
    first.reporter.going.clear()
    early = first.begin(one)
    await first.reporter.entered.wait()
    for _ in range(10):
        await world.clock.advance(LEASE_SECONDS / 3)
        other = await world.bus.renew(other, LEASE_SECONDS)
    await second.begin(other)
    assert not second.reporter.entered.is_set()
    first.reporter.going.set()
    await early
    await world.settle()
    assert len(forge.checks) == 1


@pytest.mark.parametrize("seconds", [5.0, LEASE_SECONDS, 300.0])
async def test_the_turn_of_a_process_that_died_ends_with_its_lease(
    world: World, forge: Forge, first: Process, second: Process, seconds: float
) -> None:
    one, other = await two_reports(world)
    one = await world.bus.renew(one, seconds)
    first.reporter.going.clear()
    early = first.begin(one)
    await first.reporter.entered.wait()
    forge.faults.crash_at = len(forge.faults.passed) + 1
    first.reporter.going.set()
    with pytest.raises(Crash):
        await early
    forge.faults.crash_at = None
    await second.begin(other)
    assert not second.reporter.entered.is_set(), "nobody knows yet that it died"
    await world.clock.advance(seconds)
    due = await world.bus.claim(["reports"], limit=2, wait=0.0, lease=seconds)
    (again,) = (lease for lease in due if lease.message.id != one.message.id)
    await second.begin(again)
    assert second.reporter.entered.is_set()
    await world.settle()
    assert len(forge.checks) == 1


async def test_a_report_that_failed_leaves_its_turn_to_the_next(
    world: World, forge: Forge, first: Process, second: Process
) -> None:
    one, other = await two_reports(world)
    forge.faults.plan("after check", Retryable("GitHub answered 502.", dependency="github"))
    await first.begin(one)
    await second.begin(other)
    assert second.reporter.entered.is_set()
    assert len(forge.checks) == 1


async def test_a_process_that_lost_its_turn_shows_nothing_more(
    world: World, forge: Forge, first: Process, second: Process
) -> None:
    """It was stopped in the middle, and the other has shown the run meanwhile."""
    one, other = await two_reports(world)
    await world.bus.release(other)
    first.reporter.going.clear()
    early = first.begin(one)
    await first.reporter.entered.wait()
    world.clock.leap(LEASE_SECONDS)
    (again,) = await world.bus.claim(["reports"], limit=1, wait=0.0, lease=LEASE_SECONDS)
    await second.begin(again)
    assert second.reporter.entered.is_set()
    first.reporter.going.set()
    await early
    await world.settle()
    assert len(forge.checks) == 1
