"""The process dies at every touch of the outside, on every path of every real agent.

Nothing may be lost and nothing doubled. Of each path a third of the points is run, the others
with ``CONDUCTOR_SWEEP=1`` and ``2``; ``CONDUCTOR_SWEEP=all`` runs every point, and on SQLite
every fourth. How many points a path has is printed (``pytest -rP``).
"""

import os
from collections import Counter
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

import pytest
import structlog

from pipelines.agents.registry import AGENTS
from tests.support.forge import REPOSITORY, Crash, sha
from tests.support.stage import Stage
from tests.sweep.plays import SCENARIOS, Scenario

WISH = os.environ.get("CONDUCTOR_SWEEP", "0")
SHARE = 3
"""One of so many points is run, unless all are wished for."""
FINAL = {"success", "failure", "error", "inactive"}


@pytest.fixture(autouse=True)
def _quiet() -> Generator[None]:
    """Tracebacks rendered for nobody cost seconds."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    yield
    structlog.reset_defaults()


async def begun(scenario: Scenario, path: Path | None = None) -> Stage:
    stage = Stage(scenario.play, path)
    await stage.start()
    if scenario.before is not None:
        await scenario.before(stage)
    return stage


async def clean(scenario: Scenario) -> tuple[dict[str, Any], list[str]]:
    """What the path comes to when nothing goes wrong, and the points that it passes."""
    stage = await begun(scenario)
    start = len(stage.forge.faults.passed)
    effects, releases, told = len(stage.live.effects), len(stage.target.begun), _told(stage)
    await scenario.happens(stage)
    await in_order(stage)
    facts = await stage.facts()
    kinds = Counter(effect.kind for effect in stage.live.effects[effects:])
    assert kinds == Counter(scenario.writes)
    assert facts["releases"][releases:] == [sha(name) for name in scenario.releases]
    assert _told(stage) - told == scenario.told
    assert facts["runs"][-1][2] == scenario.conclusion
    await stage.close()
    return facts, stage.forge.faults.passed[start:]


def _told(stage: Stage) -> int:
    return len(stage.notifier.sent)


async def in_order(stage: Stage) -> None:
    """The books are right, no environment is held, no deployment goes on for ever."""
    await stage.check_accounts()
    record = await stage.state.environment(REPOSITORY.tenant, "staging")
    assert record.holder is None, "the environment is still held"
    unfinished = [each for each in stage.live.statuses.values() if not {*each} & FINAL]
    assert not unfinished, "a deployment goes on for ever"


async def crashed(scenario: Scenario, point: int, path: Path | None) -> Stage:
    """Let the process die at the point, start it again, and let it come to an end."""
    stage = await begun(scenario, path)
    faults = stage.forge.faults
    faults.crash_at = len(faults.passed) + point
    for _ in range(2):  # GitHub redelivers what was not acknowledged
        try:
            await scenario.happens(stage)
            break
        except Crash:
            faults.crash_at = None
            await stage.close()
            await stage.clock.advance(61)
            await stage.start()
    await stage.settle()
    return stage


def told_unnoted(points: Sequence[str], point: int) -> bool:
    """Whether the process died after it told the operators and before it noted that.

    Their channel cannot be asked what it was told, and silence about an incident is worse than a
    repeated message, which has the same key.
    """
    return "after notify" in points[max(0, point - 1) : point + 1]


def chosen(points: int, store: str) -> range:
    """Which points are run."""
    if WISH == "all":
        return range(0, points, 1 if store == "memory" else 4)
    every = SHARE if store == "memory" else 6 * SHARE
    return range(int(WISH) % SHARE, points, every)


@pytest.mark.parametrize("store", ["memory", "sqlite"])
@pytest.mark.parametrize("name", list(SCENARIOS))
async def test_a_crash_at_any_touch_of_the_outside_loses_and_doubles_nothing(
    name: str, store: str, tmp_path: Path
) -> None:
    scenario = SCENARIOS[name]
    expected, points = await clean(scenario)
    which = chosen(len(points), store)
    print(f"{name}: {len(points)} points, {len(which)} of them run on {store}")
    for point in which:
        path = tmp_path / f"{point}.db" if store == "sqlite" else None
        stage = await crashed(scenario, point, path)
        where = f"crash at point {point}, {points[point]}"
        await in_order(stage)
        found = await stage.facts()
        ended = found["runs"][-1][2]
        assert ended == scenario.conclusion or ended in scenario.also, where
        if ended == scenario.conclusion:
            again = expected | {"told": expected["told"] + 1}
            assert found == expected or (found == again and told_unnoted(points, point)), where
        await stage.close()


def test_every_agent_has_a_path_here() -> None:
    said = " ".join(scenario.play.config or "agent: review" for scenario in SCENARIOS.values())
    commanded = {"coding"}
    missing = [name for name in AGENTS if f"agent: {name}" not in said and name not in commanded]
    assert not missing
