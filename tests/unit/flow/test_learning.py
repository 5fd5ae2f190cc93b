"""What people do to Conductor's work teaches the tasks that come after it."""

import dataclasses
import json
import random

import pytest

from bot.commands.permissions import Level
from pipelines.agents.budget import MeteredModel
from pipelines.agents.context import AgentContext
from pipelines.agents.review import ReviewAgent
from pipelines.errors import Retryable
from pipelines.integrations.llm.base import ModelRequest
from pipelines.model import RUN_TRAILER, Actor, BroughtBy, Contribution, Outcome, Task, TaskResult
from pipelines.ports import Workplace
from tests.support.agents import finding
from tests.support.clock import VirtualClock
from tests.support.forge import ALICE, BOB, REPOSITORY, Forge, Pull, sha
from tests.support.models import ScriptedModel, findings, prompt_of, proposal
from tests.support.world import IDENTITY, World
from tests.unit.agents.material import TreeReader

OURS = Actor(id=IDENTITY.bot_user_id, login="conductor[bot]", type="Bot")
PRINTS = proposal("src/app.py", 1, "print('hi')")
STALE = Actor(id=55, login="stale[bot]", type="Bot")
WHY = "printing is all that this script is for"


@pytest.fixture
def forge() -> Forge:
    own = Pull(6, "fix", author=OURS, branch="conductor/fix-issue-3-abc")
    return Forge(pulls={5: Pull(5, "one"), 6: own, 7: Pull(7, "seven")})


async def taught(world: World) -> list[Outcome]:
    return list(await world.archive.knowledge.outcomes(REPOSITORY.tenant))


async def say(world: World, number: int, text: str, by: Actor = ALICE) -> None:
    await world.comment(number, f"/conductor {text}", by=by)
    await world.settle()


async def reviewed(world: World, number: int, head: str) -> Task:
    await world.pull_request("opened", number, head)
    await world.settle()
    return world.agents.tasks[-1]


# --- dismissals ----------------------------------------------------------------------------------


async def test_a_dismissal_and_its_reason_are_told_to_the_review_of_another_pull_request(
    world: World,
) -> None:
    assert (await reviewed(world, 5, "one")).lessons == ()
    await say(world, 5, f"dismiss ffff {WHY}")

    (lesson,) = (await reviewed(world, 7, "seven")).lessons
    assert lesson.outcome.kind == "finding_dismissed"
    assert lesson.outcome.why == WHY
    assert (lesson.outcome.subject, lesson.outcome.category) == ("It prints", "bug")
    assert lesson.outcome.source == f"pr/5/finding/{finding().fingerprint}"


async def test_the_review_agent_decides_otherwise_once_somebody_dismissed_its_finding(
    world: World, forge: Forge
) -> None:
    world.agents.acts["review"] = real_review
    await world.pull_request("opened", 5, "one")
    await world.settle()
    assert forge.conclusions("one")["pull-request / review"].startswith("neutral: 1 new finding")
    (result,) = [
        result for run in await world.runs() for result in (await world.state.results(run)).values()
    ]
    await say(world, 5, f"dismiss {result.findings[0].fingerprint[:8]} {WHY}")

    await world.pull_request("opened", 7, "seven")
    await world.settle()
    assert forge.conclusions("seven")["pull-request / review"].startswith("success")


async def real_review(task: Task, workplace: Workplace) -> TaskResult:
    """The review agent, over the file's whole text, with a model that heeds what people said."""
    del workplace  # the forge of these tests has no patches
    agent, model = ReviewAgent(), ScriptedModel(heeding)
    await agent.start()
    context = AgentContext(
        workplace=TreeReader({}, {"src/app.py": "print('hi')\n"}),
        model=MeteredModel(model, 1.0),
        clock=VirtualClock(),
        rng=random.Random(1),
    )
    result = await agent.execute_task(task, context)
    await agent.stop()
    return result


def heeding(request: ModelRequest) -> str:
    return findings() if WHY in prompt_of(request) else findings(PRINTS)


async def test_whoever_may_not_dismiss_teaches_nothing(world: World) -> None:
    await reviewed(world, 5, "one")
    await say(world, 5, f"dismiss ffff {WHY}", by=BOB)

    assert await taught(world) == []


async def test_the_same_dismissal_teaches_once_however_often_it_is_delivered(world: World) -> None:
    await reviewed(world, 5, "one")
    await world.comment(5, f"/conductor dismiss ffff {WHY}", guid="same")
    await world.redeliver("same")
    await world.settle()
    await say(world, 5, "dismiss ffff said again")

    assert [outcome.why for outcome in await taught(world)] == ["said again"]


async def test_what_a_model_made_of_a_strangers_text_is_left_out_of_the_lesson(
    world: World, forge: Forge
) -> None:
    forge.stranger = True
    await reviewed(world, 5, "one")
    await say(world, 5, f"dismiss ffff {WHY}")

    (outcome,) = await taught(world)
    assert (outcome.subject, outcome.category, outcome.why) == ("A finding", "", WHY)
    assert outcome.paths == ("src/app.py",)


async def test_a_long_reason_is_cut_and_a_secret_in_it_is_not_kept(world: World) -> None:
    await reviewed(world, 5, "one")
    secret = "ghp_" + "a" * 36
    await say(world, 5, f"dismiss ffff {secret} {'x' * 3000}")

    (outcome,) = await taught(world)
    assert len(outcome.why) <= 1000
    assert secret not in json.dumps(outcome.model_dump(mode="json"))


# --- the end of a fix ----------------------------------------------------------------------------


async def close(world: World, forge: Forge, by: Actor = ALICE, *, still_open: bool = False) -> None:
    number, pull = 6, forge.pulls[6]
    pull.open = still_open
    sender = {"id": by.id, "login": by.login, "type": by.type}
    author = {"id": pull.author.id, "login": pull.author.login, "type": pull.author.type}
    event = {"number": number, "state": "closed", "merged": not pull.merged, "user": author}
    part = {
        "nonce": len(world.accepted),
        "head": {"sha": sha(pull.head), "ref": pull.branch, "repo": {"id": REPOSITORY.id}},
        "base": {"sha": sha("base"), "ref": "main", "repo": {"id": REPOSITORY.id}},
        "updated_at": world.clock.now().isoformat(),
    }
    await world.deliver(
        "pull_request", action="closed", number=number, pull_request=event | part, sender=sender
    )
    await world.settle()


@pytest.mark.parametrize(("merged", "kind"), [(True, "fix_merged"), (False, "fix_rejected")])
async def test_the_end_of_our_own_pull_request_teaches_what_github_says_of_it(
    world: World, forge: Forge, merged: bool, kind: str
) -> None:
    """The delivery claims the opposite, and is only a hint."""
    forge.pulls[6].merged = merged
    await close(world, forge)
    await close(world, forge)

    (outcome,) = await taught(world)
    assert (outcome.kind, outcome.agent, outcome.source) == (kind, "coding", "pr/6")
    assert (outcome.subject, outcome.paths) == ("A change", ("src/app.py",))


async def test_a_merge_teaches_also_where_work_is_paused(world: World, forge: Forge) -> None:
    await say(world, 6, "pause")
    forge.pulls[6].merged = True
    await close(world, forge)

    assert [outcome.kind for outcome in await taught(world)] == ["fix_merged"]


@pytest.mark.parametrize("by", [STALE, BOB], ids=["a bot", "somebody without permission"])
async def test_who_tidies_up_or_may_not_say_so_rejects_nothing(
    world: World, forge: Forge, by: Actor
) -> None:
    forge.levels[STALE.id] = Level.WRITE
    await close(world, forge, by=by)

    assert await taught(world) == []


@pytest.mark.parametrize(
    "foreign",
    [
        Pull(6, "fix", author=BOB, branch="conductor/fix-issue-3-abc"),
        Pull(6, "fix", author=OURS, branch="topic"),
        Pull(6, "fix", author=OURS, branch="conductor/fix-issue-3-abc", fork=True),
    ],
    ids=["a person's", "another branch", "a fork's"],
)
async def test_only_pull_requests_of_our_own_teach_by_their_end(
    world: World, forge: Forge, foreign: Pull
) -> None:
    forge.pulls[6] = dataclasses.replace(foreign)
    await close(world, forge)

    assert await taught(world) == []


async def test_a_pull_request_that_is_open_again_was_not_rejected(
    world: World, forge: Forge
) -> None:
    await close(world, forge, still_open=True)

    assert await taught(world) == []


# --- a fix that is taken back --------------------------------------------------------------------

FIX = sha("fix")
TRAILED = f"Fix the total\n\nWhy.\n\n{RUN_TRAILER}: 01J"
OWN_PULL = BroughtBy(
    title="Fix the sum",
    author=OURS,
    head_ref="conductor/fix-issue-3-abc",
    from_fork=False,
    merged=True,
    merge_sha=FIX,
    paths=("src/sum.py",),
)
MERGED = Contribution(sha=FIX, message="Fix the sum (#6)", pulls=(OWN_PULL,))
WRITTEN = Contribution(sha=FIX, message=TRAILED, author_id=OURS.id)
UNDO = f'Revert "Fix the sum"\n\nThis reverts commit {FIX}.'


async def push(
    world: World, message: str = UNDO, by: Actor = ALICE, ref: str = "refs/heads/main"
) -> None:
    await world.deliver(
        "push",
        ref=ref,
        before=sha("before"),
        after=sha(f"after {len(world.accepted)}"),
        created=False,
        deleted=False,
        forced=False,
        commits=[{"id": sha(f"after {len(world.accepted)}"), "message": message}],
        sender={"id": by.id, "login": by.login, "type": by.type},
    )
    await world.settle()


def asked(forge: Forge) -> int:
    return forge.faults.passed.count("source.contributions")


@pytest.mark.parametrize(
    ("commit", "subject", "paths"),
    [
        (MERGED, "Fix the sum", ("src/sum.py",)),
        (WRITTEN, "Fix the total", ()),
        (
            Contribution(
                sha=FIX,
                message=TRAILED,
                pulls=(OWN_PULL.model_copy(update={"merge_sha": sha("merge")}),),
            ),
            "Fix the sum",
            ("src/sum.py",),
        ),
    ],
    ids=["merged", "written to a branch", "of a merged pull request"],
)
async def test_a_person_who_reverts_our_fix_teaches_also_where_nothing_starts(
    world: World, forge: Forge, commit: Contribution, subject: str, paths: tuple[str, ...]
) -> None:
    forge.commits[FIX] = commit
    await push(world)
    await push(world)

    assert await world.runs() == []
    (outcome,) = await taught(world)
    assert (outcome.kind, outcome.agent) == ("fix_reverted", "coding")
    assert (outcome.subject, outcome.paths) == (subject, paths)
    assert (outcome.why, outcome.source) == ('Revert "Fix the sum"', f"revert/{FIX}")
    assert asked(forge) == 2


@pytest.mark.parametrize(
    "foreign",
    [
        Contribution(sha=FIX, message="A person's"),
        Contribution(sha=FIX, message=TRAILED, author_id=BOB.id),
        Contribution(sha=FIX, message="No trailer", author_id=OURS.id),
        Contribution(sha=FIX, message=f"Not at the start: {TRAILED[:13]} {RUN_TRAILER}: 1"),
        *(
            MERGED.model_copy(update={"pulls": (OWN_PULL.model_copy(update=other),)})
            for other in (
                {"author": BOB},
                {"merged": False},
                {"from_fork": True},
                {"head_ref": "topic"},
                {"merge_sha": sha("another")},
            )
        ),
    ],
)
async def test_who_reverts_what_is_not_ours_teaches_nothing(
    world: World, forge: Forge, foreign: Contribution
) -> None:
    forge.commits[FIX] = foreign
    await push(world)

    assert asked(forge) == 1
    assert await taught(world) == []


async def test_a_revert_of_what_github_does_not_know_teaches_nothing(
    world: World, forge: Forge
) -> None:
    await push(world)

    assert asked(forge) == 1
    assert await taught(world) == []


@pytest.mark.parametrize(
    ("message", "by", "ref"),
    [
        ("Fix the sum", ALICE, "refs/heads/main"),
        (UNDO, STALE, "refs/heads/main"),
        (UNDO, OURS, "refs/heads/main"),
        (UNDO, ALICE, "refs/heads/topic"),
        (UNDO, ALICE, "refs/tags/main"),
    ],
    ids=["no revert", "a bot", "ourselves", "another branch", "a tag"],
)
async def test_a_push_that_can_teach_nothing_asks_github_nothing(
    world: World, forge: Forge, message: str, by: Actor, ref: str
) -> None:
    forge.commits[FIX] = MERGED
    await push(world, message, by, ref)

    assert asked(forge) == 0
    assert await taught(world) == []


async def test_a_question_that_fails_hinders_nothing_else_about_the_push(
    world: World, forge: Forge
) -> None:
    forge.commits[FIX] = MERGED
    forge.faults.plan("source.contributions", Retryable("GitHub is slow."))
    await push(world)

    assert asked(forge) == 1
    assert forge.faults.passed.count("source.change") == 1
    assert await taught(world) == []
