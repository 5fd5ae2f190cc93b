"""A deployment whose run ended without a word gets its last status, once."""

import asyncio

import pytest

from pipelines.errors import Dropped, Parked, Retryable
from pipelines.model import WorkflowRun
from tests.simulation.plans import OTHER
from tests.support.clock import EPOCH
from tests.support.forge import Crash
from tests.unit.orchestration.yard import Yard, created, deploying, released, told

LATER = 61.0
"""Seconds after which nothing that a run asked for is still on its way."""


async def left(yard: Yard, name: str = "a") -> tuple[WorkflowRun, int]:
    """A run that ended with its deployment under way."""
    run = await yard.begun(deploying(name))
    number = (await yard.act(run, created(run))).number
    assert number
    await yard.act(run, told(run, number, "in_progress"))
    await yard.act(run, released(run, number))
    return await yard.ended(run), number


def statuses(yard: Yard, number: int) -> list[str]:
    prefix = f"deployment-status/{number}/"
    return [key.removeprefix(prefix) for key, _ in yard.forge.done if key.startswith(prefix)]


async def test_what_a_run_left_under_way_ends_in_an_error_and_frees_its_environment(
    yard: Yard,
) -> None:
    _, number = await left(yard)
    await yard.clock.advance(LATER)
    await yard.tidying.sweep()
    await yard.tidying.sweep()

    assert statuses(yard, number) == ["in_progress", "error"]
    assert (await yard.environment()).holder is None
    assert (await yard.environment()).last_good is None


async def test_what_has_its_last_status_is_left_alone(yard: Yard) -> None:
    run = await yard.begun(deploying("a"))
    number = await yard.deploy(run)
    await yard.ended(run)
    await yard.clock.advance(LATER)
    await yard.tidying.sweep()

    assert statuses(yard, number) == ["in_progress", "success"]


async def test_a_deployment_at_work_is_left_alone(yard: Yard) -> None:
    run = await yard.begun(deploying("a"))
    number = (await yard.act(run, created(run))).number
    assert number
    await yard.clock.advance(10 * LATER)
    await yard.tidying.sweep()

    assert statuses(yard, number) == []
    assert (await yard.environment()).holder


async def test_what_a_run_asked_for_at_its_end_may_still_be_on_its_way(yard: Yard) -> None:
    run, number = await left(yard)
    over = run.model_copy(update={"updated_at": yard.clock.now()})
    await yard.state.commit(over, before=run)
    await yard.tidying.sweep()

    assert statuses(yard, number) == ["in_progress"]


async def test_whoever_has_the_environment_by_then_keeps_it(yard: Yard) -> None:
    _, number = await left(yard)
    other = await yard.begun(deploying("b", OTHER))
    newer = (await yard.act(other, created(other))).number
    await yard.clock.advance(LATER)
    await yard.tidying.sweep()

    assert statuses(yard, number)[-1] == "error"
    held = (await yard.environment()).holder
    assert held
    assert (held.run_id, held.deployment_id) == ("b", newer)


async def test_a_rollback_at_work_has_its_own_say(yard: Yard) -> None:
    good = await yard.begun(deploying("good", OTHER))
    await yard.deploy(good)
    await yard.ended(good)
    _, number = await left(yard)
    watch = await yard.begun(deploying("b"))
    back = created(watch, sha=OTHER, rollback=True, occasion="b/ship/rollback")
    second = (await yard.act(watch, back)).number
    assert second
    await yard.clock.advance(LATER)
    await yard.tidying.sweep()
    assert statuses(yard, number) == ["in_progress"]

    await yard.act(watch, told(watch, second, "success"))
    await yard.ended(watch)
    await yard.tidying.sweep()
    assert statuses(yard, number) == ["in_progress", "error"]
    assert statuses(yard, second) == ["success"]


async def test_many_sweeps_at_once_say_it_once(yard: Yard) -> None:
    _, number = await left(yard)
    await yard.clock.advance(LATER)
    await asyncio.gather(*(yard.tidying.sweep() for _ in range(20)))

    assert statuses(yard, number) == ["in_progress", "error"]


@pytest.mark.parametrize(
    "error", [Retryable("Busy."), Parked("Limit.", until=EPOCH, scope="github")]
)
async def test_a_status_that_could_not_be_said_is_said_by_a_later_sweep(
    yard: Yard, error: Exception
) -> None:
    _, one = await left(yard)
    _, two = await left(yard, "b")
    await yard.clock.advance(LATER)
    yard.forge.faults.plan("before set_deployment_status", error)
    await yard.tidying.sweep()
    assert sorted([statuses(yard, one)[-1], statuses(yard, two)[-1]]) == ["error", "in_progress"]

    await yard.clock.advance(LATER)
    await yard.tidying.sweep()
    assert statuses(yard, one)[-1] == statuses(yard, two)[-1] == "error"


async def test_an_installation_that_is_gone_stops_no_sweep(yard: Yard) -> None:
    _, number = await left(yard)
    await yard.clock.advance(LATER)
    yard.forge.faults.plan("before set_deployment_status", Dropped("Gone."))
    await yard.tidying.sweep()

    assert statuses(yard, number) == ["in_progress"]


async def test_what_the_forge_refuses_is_not_asked_for_again(yard: Yard) -> None:
    await left(yard)
    await yard.clock.advance(LATER)
    yard.forge.denied.add("set_deployment_status")
    await yard.tidying.sweep()
    asked = yard.forge.faults.passed.count("before set_deployment_status")
    await yard.clock.advance(LATER)
    await yard.tidying.sweep()

    assert yard.forge.faults.passed.count("before set_deployment_status") == asked


async def test_dying_at_any_touch_of_a_sweep_says_it_once(yard: Yard) -> None:
    faults, points = yard.forge.faults, 0
    while True:
        _, number = await left(yard, f"run-{points}")
        await yard.clock.advance(LATER)
        faults.crash_at = len(faults.passed) + points
        try:
            await yard.tidying.sweep()
        except Crash:
            faults.crash_at = None
            await yard.bus.close()
            await yard.start()
            await yard.clock.advance(LATER)
            await yard.tidying.sweep()
        else:
            faults.crash_at = None
            break
        assert statuses(yard, number) == ["in_progress", "error"]
        assert (await yard.environment()).holder is None
        points += 1
    assert points >= 5
