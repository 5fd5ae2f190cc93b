"""Decisions about one run that come at the same time: one step to the store, no shared fate."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from functools import partial

import pytest

from pipelines.errors import LeaseLost, Retryable
from pipelines.model import Pause, Step, StepState, WorkflowRun
from pipelines.orchestration.changes import Changes, Plan
from pipelines.orchestration.engine import WorkflowEngine
from pipelines.orchestration.standing import pausing, subject_of
from pipelines.orchestration.state import StateManager
from pipelines.orchestration.transitions import CancelRequested, StepClaimed
from pipelines.ports import Batch, Lease, Write
from tests.simulation.plans import AUTHOR, REPOSITORY, a_change, a_step, a_trigger
from tests.support.world import World

TENANT = REPOSITORY.tenant
STEPS = ("coding", "test", "devops")


@pytest.fixture
async def run(world: World) -> AsyncGenerator[str]:
    """A run of three steps that are queued, and whose messages nobody has claimed."""
    steps = tuple(a_step(name, agent="review") for name in STEPS)
    plan = Plan("w", "pr/1", steps, budget_usd=1.0)

    async def start(changes: Changes) -> str:
        return (await changes.start(plan, a_trigger(), a_change(), "")).run_id

    run = await world.coordinator.decide(start)
    yield run
    await world.coordinator.apply(TENANT, run, CancelRequested(reason="The test is over."))


async def stored(world: World, run: str) -> WorkflowRun:
    found = await world.coordinator.run(TENANT, run)
    assert found is not None
    return found


def running(run: WorkflowRun) -> set[str]:
    return {step.name for step in run.steps if step.state is StepState.RUNNING}


async def claim(run: str, step: str, changes: Changes) -> Step:
    after = await changes.advance(TENANT, run, StepClaimed(step=step, attempt=1))
    assert after is not None
    return after.step(step)


async def fail(run: str, step: str, changes: Changes) -> Step:
    await claim(run, step, changes)
    raise Retryable(f"no facts for {step}")


async def settle(lease: Lease, run: str, step: str, changes: Changes) -> Step:
    changes.settle(lease)
    return await claim(run, step, changes)


async def mark(run: str, step: str, changes: Changes) -> Step:
    """What each writes under the same key would occur twice in one batch."""
    changes.write(Write("mark/latest", step.encode()))
    return await claim(run, step, changes)


async def leases(world: World) -> Sequence[Lease]:
    return await world.bus.claim(("agent.review",), limit=3, wait=0, lease=60)


async def test_claims_of_one_moment_are_one_transition(world: World, run: str) -> None:
    before = await stored(world, run)
    steps = await asyncio.gather(
        *(world.coordinator.decide(partial(claim, run, name), about=run) for name in STEPS)
    )

    after = await stored(world, run)
    assert (running(after), after.version) == (set(STEPS), before.version + 1)
    assert sum(step.budget_usd for step in steps) == pytest.approx(1.0)


async def test_a_decision_that_fails_leaves_the_others_as_if_it_had_never_come(
    world: World, run: str
) -> None:
    for broken in STEPS:
        decisions = [partial(fail if name == broken else claim, run, name) for name in STEPS]
        outcomes = await asyncio.gather(
            *(world.coordinator.decide(each, about=run) for each in decisions),
            return_exceptions=True,
        )
        failed = [isinstance(outcome, Retryable) for outcome in outcomes]
        assert failed == [name == broken for name in STEPS]
    assert running(await stored(world, run)) == set(STEPS)


async def test_decisions_that_cannot_be_one_batch_are_stored_one_by_one(
    world: World, run: str
) -> None:
    await asyncio.gather(
        *(world.coordinator.decide(partial(mark, run, name), about=run) for name in STEPS)
    )
    assert running(await stored(world, run)) == set(STEPS)


@pytest.mark.parametrize("lost", range(3))
async def test_a_lease_that_is_lost_is_the_loss_of_its_holder_alone(
    world: World, run: str, lost: int
) -> None:
    held = await leases(world)
    await world.bus.commit(Batch(settled=[held[lost]]))
    outcomes = await asyncio.gather(
        *(
            world.coordinator.decide(
                partial(settle, lease, run, str(lease.message.body["step"])), about=run
            )
            for lease in held
        ),
        return_exceptions=True,
    )

    assert [isinstance(outcome, LeaseLost) for outcome in outcomes] == [
        number == lost for number in range(3)
    ]
    names = {str(lease.message.body["step"]) for lease in held}
    assert running(await stored(world, run)) == names - {str(held[lost].message.body["step"])}


@pytest.mark.parametrize("gone", range(3))
@pytest.mark.parametrize("turns", range(6))
async def test_who_goes_away_takes_nobody_along(
    world: World, run: str, gone: int, turns: int
) -> None:
    deciding = [
        asyncio.create_task(world.coordinator.decide(partial(claim, run, name), about=run))
        for name in STEPS
    ]
    for _ in range(turns):
        await asyncio.sleep(0)
    deciding[gone].cancel()
    outcomes = await asyncio.gather(*deciding, return_exceptions=True)

    others = {name for number, name in enumerate(STEPS) if number != gone}
    assert others <= running(await stored(world, run))
    assert [type(each) for number, each in enumerate(outcomes) if number != gone] == [Step, Step]


async def test_a_run_that_changed_elsewhere_is_decided_on_as_it_is_now(
    world: World, run: str
) -> None:
    seen = await stored(world, run)
    elsewhere = StepClaimed(step="devops", attempt=1)
    transition = WorkflowEngine().advance(seen, elsewhere, world.clock.now())
    other = StateManager(world.store, world.bus, world.clock)
    await other.commit(transition.run, before=seen)

    await asyncio.gather(
        *(world.coordinator.decide(partial(claim, run, name), about=run) for name in STEPS[:2])
    )
    assert running(await stored(world, run)) == set(STEPS)


async def test_a_pause_holds_for_tasks_of_a_run_that_nobody_looks_up_again(
    world: World, run: str
) -> None:
    subject = subject_of((await stored(world, run)).change)
    assert subject is not None
    pause = Pause(by=AUTHOR, at=world.clock.now())
    await world.bus.commit(Batch(writes=[pausing(TENANT, subject, pause)]))
    await world.settle()

    after = await stored(world, run)
    assert world.agents.tasks == []
    assert all("paused" in step.title for step in after.steps)
