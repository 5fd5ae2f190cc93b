"""The deploy agent killed at every await: whatever is repeated finds what had been done."""

from collections import Counter
from collections.abc import Callable

import pytest

from pipelines.model import Task, TaskResult
from tests.support.forge import Crash
from tests.support.samples import HEAD
from tests.unit.agents.deploying.estate import (
    GOOD,
    OLDER,
    Estate,
    Temper,
    a_task,
    carry_out,
    command,
    deployment,
)


def well() -> Estate:
    return Estate().has_good(GOOD, before=OLDER)


def broken() -> Estate:
    estate = Estate().has_good(GOOD, before=OLDER)
    estate.tempers[HEAD] = Temper(phase="failed", message="exit code 1")
    return estate


def hopeless() -> Estate:
    estate = broken()
    estate.tempers[GOOD] = Temper(healthy=False)
    return estate


def adopted() -> Estate:
    estate = broken()
    estate.adopt(901, HEAD)
    return estate


SITUATIONS: dict[str, tuple[Callable[[], Estate], Task]] = {
    "a good release": (well, a_task()),
    "a rollback": (broken, a_task()),
    "a rollback that fails": (hopeless, a_task()),
    "a rollback of somebody's deployment": (adopted, a_task(deployment(901))),
    "a rollback that was asked for": (well, a_task(command("rollback"))),
}


def ending(estate: Estate, result: TaskResult) -> tuple[object, ...]:
    """What must be the same however often it was interrupted."""
    outputs = {k: v for k, v in result.outputs.items() if k not in ("deployed_at", "url")}
    return estate.statuses, estate.running, result.conclusion, result.title, outputs


async def until_the_end(estate: Estate, task: Task, crashes: list[int]) -> TaskResult:
    """Run the task, killed at these points counted from each start, then once undisturbed."""
    for attempt, crash_at in enumerate(crashes, 1):
        estate.faults.passed.clear()
        estate.faults.crash_at = crash_at
        try:
            return await carry_out(estate, task.model_copy(update={"attempt": attempt}))
        except Crash:
            continue
    estate.faults.crash_at = None
    return await carry_out(estate, task.model_copy(update={"attempt": len(crashes) + 1}))


async def points_of(make: Callable[[], Estate], task: Task) -> int:
    estate = make()
    await carry_out(estate, task)
    return len(estate.faults.passed)


@pytest.mark.parametrize("name", SITUATIONS)
async def test_a_kill_at_any_await_changes_nothing_about_the_end(name: str) -> None:
    make, task = SITUATIONS[name]
    undisturbed = make()
    wanted = ending(undisturbed, await carry_out(undisturbed, task))
    for crash_at in range(await points_of(make, task)):
        estate = make()
        result = await until_the_end(estate, task, [crash_at])
        assert ending(estate, result) == wanted, f"killed at point {crash_at}"
        assert max(Counter(estate.carried_out).values()) == 1, f"killed at point {crash_at}"
        assert sorted(estate.carried_out) == sorted(undisturbed.carried_out)


@pytest.mark.parametrize("name", ["a rollback", "a rollback that was asked for"])
async def test_two_kills_in_a_row_change_nothing_either(name: str) -> None:
    make, task = SITUATIONS[name]
    undisturbed = make()
    wanted = ending(undisturbed, await carry_out(undisturbed, task))
    points = await points_of(make, task)
    for first in range(points):
        for second in range(0, points, 3):
            estate = make()
            result = await until_the_end(estate, task, [first, second])
            assert ending(estate, result) == wanted, f"killed at points {first} and {second}"
            assert max(Counter(estate.carried_out).values()) == 1


async def test_the_sweep_would_notice_an_effect_that_is_done_twice() -> None:
    estate = well()
    await carry_out(estate)
    estate.ledger.clear()
    estate.begun.clear()
    result = await carry_out(estate)
    assert result.failure is not None
    assert "AssertionError" in result.failure.message, "statuses only go forward"
