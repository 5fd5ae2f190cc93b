"""Commands and buttons through the whole inside: permission, effect, answer."""

import pytest

from bot.commands.permissions import Level
from bot.commands.table import VERBS
from pipelines.model import Conclusion, PriorFinding
from tests.support.agents import quiet
from tests.support.forge import ALICE, BOB, Forge, Pull, sha
from tests.support.world import World


@pytest.fixture
def forge() -> Forge:
    return Forge(pulls={5: Pull(5, "one")})


def reactions(forge: Forge) -> list[str]:
    return [key.rpartition("/")[2] for key, _ in forge.done if key.startswith("reaction/")]


async def say(world: World, text: str) -> None:
    await world.comment(5, f"/conductor {text}")
    await world.settle()


async def test_a_command_is_seen_answered_and_done(world: World, forge: Forge) -> None:
    await say(world, "status")

    assert reactions(forge) == ["eyes", "rocket"]
    assert forge.bodies == ["Nothing has run here yet."]
    assert forge.checks == {}


@pytest.mark.parametrize("verb", list(VERBS))
@pytest.mark.parametrize("level", list(Level))
async def test_a_verb_is_refused_below_its_row_of_the_table_and_only_there(
    verb: str, level: Level
) -> None:
    forge = Forge(pulls={5: Pull(5, "one")}, levels={ALICE.id: level})
    world = await World.started(forge)
    await say(world, verb)

    refused = any("needs the permission" in body for body in forge.bodies)
    assert refused == (level < Level[VERBS[verb].permission.upper()])
    assert ("confused" in reactions(forge)) or not refused
    await world.check_accounts()
    await world.close()


async def test_a_permission_that_cannot_be_checked_is_none(world: World, forge: Forge) -> None:
    await world.comment(5, "/conductor cancel", by=BOB)
    await world.settle()

    assert reactions(forge) == ["eyes", "confused"]
    assert "does not confirm" in forge.bodies[0]


async def test_a_verb_nobody_knows_is_answered_with_the_nearest(world: World, forge: Forge) -> None:
    await say(world, "reveiw")

    assert "Did you mean `review`?" in forge.bodies[0]
    assert reactions(forge) == ["eyes", "confused"]


async def test_review_runs_again_on_the_same_commit_without_a_second_review(
    world: World, forge: Forge
) -> None:
    forge.pulls[5].draft = True
    await say(world, "review")
    await say(world, "review")

    assert len(await world.runs()) == 2
    assert len(world.agents.tasks) == 2
    assert [key for key, _ in forge.done if key.startswith("review/")] == [f"review/5/{sha('one')}"]
    assert reactions(forge) == ["eyes", "rocket"] * 2


async def test_cancel_stops_the_run_and_its_check(world: World, forge: Forge) -> None:
    await world.pull_request("opened", 5, "one")
    await world.work("deliveries", "reports")
    await world.comment(5, "/conductor cancel")
    await world.work("deliveries")
    await world.settle()

    assert forge.conclusions("one") == {"pull-request / review": "cancelled: Cancelled by @alice."}
    assert forge.bodies == ["Cancelled `pull-request`."]
    assert world.agents.tasks == []


async def test_a_dismissed_finding_is_resolved_for_every_later_review(
    world: World, forge: Forge
) -> None:
    await world.pull_request("opened", 5, "one")
    await world.settle()
    await say(world, "dismiss ffff that is intended")

    prior = PriorFinding(fingerprint="f" * 16, thread_id="t", comment_id=3, path="src/app.py")
    forge.pulls[5].prior = (prior,)
    forge.pulls[5].head = "two"
    await world.pull_request("synchronize", 5, "two")
    await world.settle()

    (known,) = world.agents.tasks[-1].change.prior_findings
    assert known.resolved
    assert known.resolved_by == ALICE
    await say(world, "explain ffff")
    assert "Dismissed by @alice: `that is intended`." in forge.bodies[-1]


async def test_a_pause_holds_until_it_is_lifted(world: World, forge: Forge) -> None:
    await world.pull_request("opened", 5, "one")
    await world.work("deliveries")
    await say(world, "pause")
    assert "paused" in forge.conclusions("one")["pull-request / review"]

    forge.pulls[5].head = "two"
    await world.pull_request("synchronize", 5, "two")
    await world.settle()
    assert forge.conclusions("two") == {}

    await say(world, "resume")
    assert forge.conclusions("two") == {"pull-request / review": "neutral: 1 finding"}


async def test_a_verb_of_a_workflow_starts_it(world: World, forge: Forge) -> None:
    forge.config = """\
version: 1
workflows:
  look: { on: { command: { verbs: [test] } }, steps: { review: { agent: review } } }
"""
    await say(world, "test")

    assert forge.conclusions("one") == {"look / review": "neutral: 1 finding"}
    assert reactions(forge) == ["eyes", "rocket"]


async def test_a_check_that_is_asked_for_again_runs_again(world: World, forge: Forge) -> None:
    await world.pull_request("opened", 5, "one")
    await world.settle()
    (run,) = await world.runs()
    world.agents.script = quiet
    await world.check("rerequested", f"{run.id}/review", "one")
    await world.settle()

    _, again = await world.runs()
    assert again.rerun_of == run.id
    assert forge.conclusions("one") == {"pull-request / review": "success: Nothing to say"}


async def test_a_check_of_a_run_that_is_forgotten_evaluates_the_head(
    world: World, forge: Forge
) -> None:
    await world.check("rerequested", "gone/review", "one")
    await world.settle()

    assert forge.conclusions("one") == {"pull-request / review": "neutral: 1 finding"}


async def test_buttons_ask_for_permission_too(world: World, forge: Forge) -> None:
    await world.pull_request("opened", 5, "one")
    await world.work("deliveries", "reports")
    (run,) = await world.runs()
    press = {"requested_action": {"identifier": "cancel"}}
    bob = {"id": BOB.id, "login": BOB.login, "type": "User"}
    await world.check("requested_action", f"{run.id}/review", "one", sender=bob, **press)
    await world.work("deliveries")
    assert (await world.runs())[0].live

    await world.check("requested_action", f"{run.id}/review", "one", **press)
    await world.settle()
    assert (await world.runs())[0].conclusion is Conclusion.CANCELLED


async def test_a_strangers_change_waits_for_a_writer_and_goes_on_at_that_commit_only(
    forge: Forge,
) -> None:
    forge.config = """\
version: 1
workflows:
  pr: { on: { pull_request: {} }, steps: { data: { agent: test-data } } }
"""
    forge.stranger = True
    world = await World.started(forge, agents={"review", "test-data"}, script=quiet)
    await world.pull_request("opened", 5, "one")
    await world.settle()
    assert forge.conclusions("one")["pr / data"].startswith("waiting: The change is by somebody")

    forge.levels[ALICE.id] = Level.TRIAGE
    await say(world, "approve")
    assert world.agents.tasks == []
    forge.levels[ALICE.id] = Level.WRITE
    await say(world, "approve")

    assert forge.conclusions("one") == {"pr / data": "success: Nothing to say"}
    (task,) = world.agents.tasks
    assert task.tainted
    await world.check_accounts()
    await world.close()


async def test_an_approval_from_before_a_push_approves_nothing_that_came_after_it(
    forge: Forge,
) -> None:
    """Whoever wrote it had looked at another commit."""
    forge.config = """\
version: 1
workflows:
  pr: { on: { pull_request: {} }, steps: { data: { agent: test-data } } }
"""
    forge.stranger = True
    world = await World.started(forge, agents={"review", "test-data"}, script=quiet)
    await world.pull_request("opened", 5, "one")
    await world.settle()
    await world.comment(5, "/conductor approve")
    late = await world.claim("deliveries")
    assert late is not None
    await world.clock.advance(2)
    forge.pulls[5].head = "two"
    await world.pull_request("synchronize", 5, "two")
    await world.work("deliveries", "agent.test-data")
    await world.dispatcher.handle(late)
    await world.settle()

    assert world.agents.tasks == []
    assert "A newer commit was pushed" in forge.bodies[-1]
    await say(world, "approve")
    assert [task.change.head_sha for task in world.agents.tasks] == [sha("two")]
    await world.check_accounts()
    await world.close()


async def test_a_button_that_a_workflow_names_starts_it(world: World, forge: Forge) -> None:
    forge.config = """\
version: 1
workflows:
  pr: { on: { pull_request: {} }, steps: { review: { agent: review } } }
  mend: { on: { check_run: { buttons: [fix] } }, steps: { review: { agent: review } } }
"""
    await world.pull_request("opened", 5, "one")
    await world.settle()
    (run,) = await world.runs()
    for button in ("fix", "explode"):
        pressed = {"requested_action": {"identifier": button}}
        await world.check("requested_action", f"{run.id}/review", "one", **pressed)
    await world.settle()

    assert [run.workflow for run in await world.runs()] == ["pr", "mend"]


async def test_where_each_agent_is_can_be_looked_up(world: World, forge: Forge) -> None:
    await world.roster.tell()
    (idle,) = await world.state.agents()
    await world.pull_request("opened", 5, "one")
    await world.settle()
    await world.roster.tell()

    (record,) = await world.state.agents()
    assert (idle.agent, idle.status.value, idle.task_id) == ("review", "idle", None)
    assert (record.agent, record.status.value) == ("review", "completed")
    assert record.task_id is not None
