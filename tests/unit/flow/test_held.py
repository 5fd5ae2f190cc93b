"""A commit to what ships waits for consent to exactly itself."""

import pytest

from pipelines.model import Conclusion, FileEdit, PushCommit, Task, TaskResult
from tests.support.forge import BOB, Forge, Pull, sha
from tests.support.world import World

CONFIG = """
version: 1
workflows:
  pull-request:
    on: { pull_request: { types: [opened, synchronize] } }
    steps: { ship: { agent: devops } }
"""


def shipping(task: Task) -> TaskResult:
    edit = FileEdit(path=".github/workflows/ci.yml", content=f"# attempt {task.attempt}\n")
    effect = PushCommit(
        head_sha=task.change.head_sha, branch="conductor/ci", edits=(edit,), headline="Add CI"
    )
    return TaskResult(
        task_id=task.id,
        status="completed",
        conclusion=Conclusion.SUCCESS,
        title="CI written",
        effects=(effect,),
    )


@pytest.fixture
def forge() -> Forge:
    return Forge(pulls={5: Pull(5, "one")}, config=CONFIG)


async def held(world: World) -> None:
    world.known_agents = frozenset({"devops"})
    world.agents.script = shipping
    await world.close()
    await world.start()
    await world.pull_request("opened", 5, "one")
    await world.settle()


async def test_nothing_is_written_before_a_writer_agrees_and_then_just_that(
    world: World, forge: Forge
) -> None:
    await held(world)
    (run,) = await world.runs()
    assert run.steps[0].held
    assert not [key for key in forge.written() if key.startswith("commit/")]
    assert ".github/workflows/ci.yml" in forge.conclusions("one")["pull-request / ship"]

    await world.comment(5, "/conductor approve")
    await world.settle()
    commits = [key for key in forge.written() if key.startswith("commit/")]
    assert len(commits) == 1
    assert commits[0].startswith(f"commit/conductor/ci/{sha('one')}/")
    assert len(world.agents.tasks) == 1, "the agent did not run again"
    assert forge.conclusions("one") == {"pull-request / ship": "success: CI written"}


async def test_a_reader_s_consent_is_none(world: World, forge: Forge) -> None:
    await held(world)
    await world.comment(5, "/conductor approve", by=BOB)
    await world.settle()
    assert not [key for key in forge.written() if key.startswith("commit/")]
    await world.comment(5, "/conductor cancel")
    await world.settle()
    assert forge.conclusions("one")["pull-request / ship"].startswith("cancelled")
