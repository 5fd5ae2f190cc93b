"""Commands as pure functions: what is done and what is answered, without a forge or a store."""

from datetime import timedelta

import pytest

from bot.commands.handlers import (
    HANDLERS,
    Answer,
    Approve,
    Cancel,
    Evaluate,
    Launch,
    Remember,
    Rerun,
    Scene,
    SetPause,
    answer,
)
from bot.commands.permissions import Level
from bot.commands.table import VERBS
from pipelines.model import (
    Actor,
    Change,
    Conclusion,
    Dismissal,
    EnvironmentPlan,
    Finding,
    Pause,
    PriorFinding,
    PullRequestTrigger,
    Repository,
    RunState,
    Severity,
    Step,
    StepState,
    WorkflowRun,
)
from tests.support.clock import EPOCH

REPOSITORY = Repository(installation_id=1, id=2, owner="acme", name="shop")
ALICE = Actor(id=1, login="alice")
HEAD = "a" * 40


def change(**fields: object) -> Change:
    values = {"repository": REPOSITORY, "number": 5, "head_sha": HEAD, "base_sha": "b" * 40}
    return Change.model_validate(values | fields)


def run(
    workflow: str = "pull-request",
    *steps: Step,
    conclusion: Conclusion | None = Conclusion.SUCCESS,
) -> WorkflowRun:
    trigger = PullRequestTrigger(
        repository=REPOSITORY,
        actor=ALICE,
        delivery_id="d",
        action="opened",
        number=5,
        head_sha=HEAD,
        head_ref="topic",
        base_ref="main",
        base_sha="b" * 40,
        head_repository_id=2,
        author=ALICE,
    )
    return WorkflowRun(
        id=f"run-{workflow}",
        workflow=workflow,
        trigger=trigger,
        change=change(),
        config_sha="",
        group=f"{workflow}/pr/5",
        generation=1,
        steps=steps or (Step(name="review", agent="review"),),
        state=RunState.COMPLETED if conclusion else RunState.RUNNING,
        conclusion=conclusion,
        budget_usd=1.5,
        created_at=EPOCH,
        updated_at=EPOCH,
    )


def finding(fingerprint: str, title: str = "Off by one") -> Finding:
    return Finding(
        fingerprint=fingerprint,
        path="src/app.py",
        start_line=3,
        line=4,
        severity=Severity.HIGH,
        category="bug",
        title=title,
        explanation="The last one is left out.",
        quote="for i in range(n - 1):",
        suggestion="for i in range(n):",
    )


def scene(verb: str, *arguments: str, **fields: object) -> Scene:
    values: dict[str, object] = {
        "actor": ALICE,
        "now": EPOCH,
        "kind": "pull request",
        "change": change(),
        "app": "conductor",
    }
    return Scene(verb=verb, arguments=arguments, **(values | fields))  # pyright: ignore[reportArgumentType]


def give(verb: str, *arguments: str, **fields: object) -> Answer:
    return answer(scene(verb, *arguments, **fields))


def test_every_verb_of_the_table_has_a_handler_and_no_handler_lacks_a_row() -> None:
    assert set(HANDLERS) == {str(verb) for verb in VERBS}


def test_review_evaluates_an_open_pull_request_again() -> None:
    assert give("review").acts == (Evaluate(),)


@pytest.mark.parametrize("verb", ["review", "retry"])
def test_a_closed_pull_request_is_not_worked_on(verb: str) -> None:
    refused = give(verb, change=change(open=False))

    assert refused.refused
    assert "closed" in refused.text


def test_an_issue_cannot_be_reviewed() -> None:
    assert "issue" in give("review", kind="issue").text


def test_cancel_stops_what_is_live_and_names_who_asked() -> None:
    live, done = run("pull-request", conclusion=None), run("docs")

    assert give("cancel", runs=(live, done)).acts == (Cancel((live,), "Cancelled by @alice."),)
    assert give("cancel", runs=(done,)).refused


def test_retry_repeats_what_ended_badly() -> None:
    failed, fine = run("a", conclusion=Conclusion.FAILURE), run("b")

    assert give("retry", runs=(failed, fine)).acts == (Rerun((failed,)),)
    assert give("retry", runs=(fine,)).refused


def test_retry_of_a_step_repeats_its_workflow_and_names_the_steps_there_are() -> None:
    fine = run("b", Step(name="tests", agent="test"))

    assert give("retry", "tests", runs=(fine,)).acts == (Rerun((fine,)),)
    unknown = give("retry", "test", runs=(fine,))
    assert unknown.refused
    assert "`tests`" in unknown.text


def test_retry_of_a_running_step_is_refused() -> None:
    assert give("retry", "review", runs=(run(conclusion=None),)).refused


def test_approve_consents_to_every_waiting_step() -> None:
    waiting = run(
        "ship",
        Step(name="plan", agent="devops", state=StepState.COMPLETED),
        Step(name="go", agent="deploy", state=StepState.WAITING),
        conclusion=None,
    )

    assert give("approve", runs=(waiting,)).acts == (Approve(((waiting, "go"),)),)
    assert give("approve", runs=(run(),)).refused


def test_dismiss_remembers_the_finding_its_reason_and_who_said_so() -> None:
    answered = give("dismiss", "f00d", "by", "design", findings=(finding("f00dcafe"),))

    (act,) = answered.acts
    assert isinstance(act, Remember)
    assert act.dismissal.fingerprint == "f00dcafe"
    assert act.dismissal.why == "by design"
    assert act.dismissal.by == ALICE


def test_a_finding_that_only_its_thread_remembers_can_be_dismissed_too() -> None:
    prior = PriorFinding(fingerprint="beef", thread_id="t", comment_id=1, path="a.py", title="Old")

    (act,) = give("dismiss", "beef", "no", change=change(prior_findings=(prior,))).acts

    assert isinstance(act, Remember)
    assert act.dismissal.title == "Old"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "why"),
        (("f00d",), "why"),
        (("f0", "no"), "2 findings"),
        (("abc", "no"), "No finding"),
        (("``", "no"), "No finding"),
    ],
)
def test_dismiss_says_what_is_wrong_with_it(arguments: tuple[str, ...], says: str) -> None:
    refused = give("dismiss", *arguments, findings=(finding("f00d"), finding("f0ad")))

    assert refused.refused
    assert says in refused.text


def test_explain_shows_what_is_stored_and_who_dismissed_it() -> None:
    found = finding("f00d", title="Uses `eval` @everyone")
    dismissal = Dismissal(fingerprint="f00d", why="a test", by=ALICE, at=EPOCH)

    text = give("explain", "f00d", findings=(found,), dismissals={"f00d": dismissal}).text

    assert "`Uses 'eval' @everyone`" in text
    assert "    for i in range(n - 1):" in text
    assert "    for i in range(n):" in text
    assert "Dismissed by @alice: `a test`." in text


def test_pause_and_resume_are_each_others_opposite() -> None:
    (paused,) = give("pause", "release", "week").acts
    assert isinstance(paused, SetPause)
    assert paused.pause == Pause(by=ALICE, at=EPOCH, why="release week")

    assert give("resume", pause=paused.pause).acts == (SetPause(None), Evaluate())
    assert give("resume").refused
    assert give("pause", pause=paused.pause).acts == ()


@pytest.mark.parametrize("verb", ["fix", "test"])
def test_work_on_the_code_is_launched_whatever_the_repository_declares(verb: str) -> None:
    assert give(verb).acts == (Launch(verb),)


STAGING = EnvironmentPlan(name="staging", target="mock")
PRODUCTION = EnvironmentPlan(name="production", target="mock", production=True, approvers=(7,))
BOTH = (STAGING, PRODUCTION)


@pytest.mark.parametrize("verb", ["deploy", "rollback"])
@pytest.mark.parametrize(
    ("arguments", "environments", "says"),
    [
        (("staging",), (), "nowhere to deploy"),
        ((), BOTH, "`staging`"),
        (("staging", "now"), BOTH, "Say where"),
        (("stagin",), BOTH, "Did you mean `staging`?"),
        (("Production",), BOTH, "Did you mean `production`?"),
        (("`@everyone`",), BOTH, "no environment"),
    ],
)
def test_a_deployment_to_nowhere_is_refused_with_what_there_is(
    verb: str,
    arguments: tuple[str, ...],
    environments: tuple[EnvironmentPlan, ...],
    says: str,
) -> None:
    refused = give(verb, *arguments, environments=environments, level=Level.ADMIN)

    assert refused.refused
    assert says in refused.text
    assert not refused.acts


@pytest.mark.parametrize("verb", ["deploy", "rollback"])
@pytest.mark.parametrize(
    ("environment", "level", "actor", "may"),
    [
        ("staging", Level.WRITE, 1, True),
        ("staging", Level.TRIAGE, 1, False),
        ("production", Level.WRITE, 1, False),
        ("production", Level.MAINTAIN, 1, True),
        ("production", Level.WRITE, 7, True),
        ("production", Level.NONE, 1, False),
    ],
)
def test_production_takes_more_than_staging(
    verb: str, environment: str, level: Level, actor: int, may: bool
) -> None:
    person = Actor(id=actor, login="bob")
    answered = give(verb, environment, environments=BOTH, level=level, actor=person)

    assert bool(answered.acts) is may
    assert answered.refused is not may


def test_status_shows_each_step_the_cost_and_the_pause() -> None:
    title = "1 | 2\nfindings"
    done = Step(
        name="review",
        agent="review",
        state=StepState.COMPLETED,
        conclusion=Conclusion.NEUTRAL,
        title=title,
    )
    pause = Pause(by=ALICE, at=EPOCH + timedelta(hours=1))

    text = give("status", runs=(run("pull-request", done),), pause=pause).text

    assert "| `pull-request` | `review` | neutral | `1 / 2 findings` |" in text
    assert "0.0000 of 1.50 USD" in text
    assert "Paused by @alice" in text
    assert "Nothing has run here yet." in give("status").text


def test_help_lists_every_verb() -> None:
    text = give("help").text

    assert all(str(verb) in text for verb in VERBS)
