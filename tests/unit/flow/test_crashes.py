"""The process dies wherever it touches the outside; nothing is lost, nothing doubled."""

from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from pipelines.model import (
    Conclusion,
    CreateDeployment,
    Effect,
    FileEdit,
    PushCommit,
    ReleaseService,
    SetDeploymentStatus,
    Task,
    TaskResult,
)
from pipelines.ports import Workplace
from tests.support.clock import VirtualClock
from tests.support.forge import Crash, Faults, Forge, Pull, sha
from tests.support.world import World

Story = Callable[[World, Forge], Coroutine[Any, Any, None]]


async def opened(world: World, forge: Forge) -> None:
    """A pull request is opened and reviewed."""
    await world.pull_request("opened", 5, "one", guid="a")
    await world.settle()


async def superseded(world: World, forge: Forge) -> None:
    """A second push arrives while the first run is being shown."""
    await world.pull_request("opened", 5, "one", guid="a")
    await world.work("deliveries", "reports")
    forge.pulls[5].head = "two"
    await world.pull_request("synchronize", 5, "two", guid="b")
    await world.settle()


async def commanded(world: World, forge: Forge) -> None:
    """Somebody asks for a review and for the status."""
    await world.comment(5, "/conductor review", guid="a")
    await world.settle()
    await world.comment(5, "/conductor status", guid="b")
    await world.settle()


async def deployed(world: World, forge: Forge) -> None:
    """Somebody asks for a deployment, which the agent brings about while it is at work."""
    await world.comment(5, "/conductor deploy staging", guid="a")
    await world.settle()


async def consented(world: World, forge: Forge) -> None:
    """A commit to what ships waits for consent, and gets it."""
    await world.pull_request("opened", 6, "six", guid="a")
    await world.settle()
    await world.comment(6, "/conductor approve", guid="b")
    await world.settle()


async def queued(world: World, forge: Forge) -> None:
    """A run waits for another one of its concurrency group."""
    await world.pull_request("opened", 5, "one", guid="a")
    await world.work("deliveries")
    await world.pull_request("opened", 6, "six", guid="b")
    await world.settle()


async def ship(task: Task, workplace: Workplace) -> TaskResult:
    """What a deploy agent does, as far as the outside sees it."""
    head, occasion = task.change.head_sha, f"{task.change.repository.tenant}/{task.step}"
    about: dict[str, Any] = {"head_sha": head, "environment": "staging"}
    begun = await workplace.perform(CreateDeployment(**about, sha=head, occasion=occasion))
    assert begun.number, begun
    about["deployment_id"] = begun.number
    await workplace.perform(SetDeploymentStatus(**about, state="in_progress"))
    receipt = await workplace.perform(ReleaseService(**about, sha=head))
    assert receipt.status in ("done", "found"), receipt
    await workplace.perform(SetDeploymentStatus(**about, state="success"))
    return completed(task)


async def write_ci(task: Task, workplace: Workplace) -> TaskResult:
    """What a devops agent hands back."""
    head = task.change.head_sha
    edit = FileEdit(path=".github/workflows/ci.yml", content="on: push")
    return completed(task, PushCommit(head_sha=head, branch=BRANCH, edits=(edit,), headline="CI"))


def completed(task: Task, *effects: Effect) -> TaskResult:
    return TaskResult(
        task_id=task.id,
        status="completed",
        conclusion=Conclusion.SUCCESS,
        title="Done",
        effects=effects,
    )


BRANCH = "conductor/ci"
CONFIG = """
version: 1
environments: { staging: { target: mock } }
workflows:
  pull-request:
    on: { pull_request: { types: [opened] } }
    steps: { ci: { agent: devops } }
"""
ONE_AT_A_TIME = """
version: 1
workflows:
  pull-request:
    on: { pull_request: {} }
    concurrency: { group: one }
    steps: { look: { agent: review } }
"""
CI = PushCommit(
    head_sha=sha("six"),
    branch=BRANCH,
    edits=(FileEdit(path=".github/workflows/ci.yml", content="on: push"),),
    headline="CI",
)


def a_forge(story: Story) -> Forge:
    config = CONFIG if story in (deployed, consented) else None
    config = ONE_AT_A_TIME if story is queued else config
    return Forge(faults=Faults(), pulls={5: Pull(5, "one"), 6: Pull(6, "six")}, config=config)


def a_world(forge: Forge, path: Path | None = None) -> World:
    world = World(forge, VirtualClock(), path, agents=("review", "deploy", "devops"))
    world.agents.acts = {"deploy": ship, "devops": write_ci}
    return world


EXPECTED: dict[Story, set[str]] = {
    opened: {f"review/5/{sha('one')}"},
    superseded: {f"review/5/{sha('two')}"},
    queued: {f"review/5/{sha('one')}", f"review/6/{sha('six')}"},
    commanded: {
        f"review/5/{sha('one')}",
        "reaction/issue/5001/eyes",
        "reaction/issue/5001/rocket",
        "reaction/issue/5002/eyes",
        "reaction/issue/5002/rocket",
        "comment/5/command/5002/b",
    },
    deployed: {
        f"deployment/staging/{sha('one')}/7/70/deploy",
        "deployment-status/100/in_progress",
        "deployment-status/100/success",
        "reaction/issue/5001/eyes",
        "reaction/issue/5001/rocket",
    },
    consented: {
        CI.key,
        "reaction/issue/6001/eyes",
        "reaction/issue/6001/rocket",
        "comment/6/command/6001/b",
    },
}


async def _points(story: Story) -> int:
    """How many points the story passes when nothing happens to it."""
    forge = a_forge(story)
    world = a_world(forge)
    await world.start()
    await story(world, forge)
    await world.check_accounts()
    await world.close()
    assert set(forge.written()) == EXPECTED[story]
    return len(forge.faults.passed)


async def _crash(world: World) -> None:
    """Leave everything as a dead process does, and start anew on what was stored."""
    world.forge.faults.crash_at = None
    await world.close()
    await world.clock.advance(61)
    await world.start()


@pytest.mark.parametrize("store", ["memory", "sqlite"])
@pytest.mark.parametrize("story", list(EXPECTED), ids=lambda story: story.__name__)
async def test_a_crash_at_any_point_loses_and_doubles_nothing(
    story: Story, store: str, tmp_path: Path
) -> None:
    every = 1 if store == "memory" else 5
    for point in range(0, await _points(story), every):
        forge = a_forge(story)
        path = tmp_path / f"{point}.db" if store == "sqlite" else None
        world = a_world(forge, path)
        await world.start()
        forge.faults.crash_at = len(forge.faults.passed) + point
        for _ in range(2):  # GitHub redelivers what was not acknowledged
            try:
                await story(world, forge)
                break
            except Crash:
                await _crash(world)
        await world.settle()
        await world.check_accounts()
        assert set(forge.written()) == EXPECTED[story], f"crash at {forge.faults.passed[point]}"
        assert len(world.harbor.begun) == (story is deployed)
        await world.close()
