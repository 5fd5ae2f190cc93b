"""Which workflows a trigger starts."""

from datetime import UTC, datetime

import pytest

from pipelines.config.builtin import with_command
from pipelines.config.loader import default_file, load
from pipelines.config.matching import Match, NoMatch, workflows_for
from pipelines.config.triggers import Verb
from pipelines.model import (
    Actor,
    AlertTrigger,
    Change,
    CheckTrigger,
    CommandTrigger,
    DeploymentStatusTrigger,
    DeploymentTrigger,
    FeedbackTrigger,
    IssueTrigger,
    PullRequestTrigger,
    PushTrigger,
    Repository,
    ScheduleTrigger,
    Trigger,
)

SHA = "a" * 40
BASE = {
    "repository": Repository(installation_id=1, id=2, owner="o", name="r"),
    "actor": Actor(id=3, login="someone"),
    "delivery_id": "d",
}


def change(**fields: object) -> Change:
    known: dict[str, object] = {"repository": BASE["repository"], "head_sha": SHA, "base_sha": SHA}
    return Change.model_validate({**known, "base_ref": "main", **fields})


def pull_request(action: str = "opened", **fields: object) -> PullRequestTrigger:
    return PullRequestTrigger.model_validate(
        {
            **BASE,
            "action": action,
            "number": 7,
            "head_sha": SHA,
            "head_ref": "topic",
            "base_ref": "main",
            "base_sha": SHA,
            "head_repository_id": 2,
            "author": BASE["actor"],
            **fields,
        }
    )


def push(ref: str) -> PushTrigger:
    return PushTrigger.model_validate({**BASE, "ref": ref, "before": SHA, "after": SHA})


def answer(on: str, trigger: Trigger, subject: Change | None = None) -> Match | NoMatch:
    loaded = load(f"version: 1\nworkflows: {{w: {{on: {{{on}}}, steps: {{s: {{agent: test}}}}}}}}")
    assert loaded.file is not None, loaded.diagnostics
    (only,) = workflows_for(loaded.file, trigger, subject or change())
    return only


def build(kind: type[Trigger], **fields: object) -> Trigger:
    return kind.model_validate({**BASE, **fields})  # pyright: ignore


DEPLOYMENT = build(
    DeploymentTrigger, deployment_id=1, environment="production", sha=SHA, ref="main"
)
STATUS = build(
    DeploymentStatusTrigger, deployment_id=1, environment="production", sha=SHA, state="success"
)
LABELED = build(
    IssueTrigger,
    action="labeled",
    number=1,
    author=BASE["actor"],
    label="bug",
    labels=("bug", "conductor"),
)
OPENED = build(
    IssueTrigger, action="opened", number=1, author=BASE["actor"], labels=("bug", "conductor")
)
COMMAND = build(CommandTrigger, number=1, on_pull_request=True, comment_id=1, verb="test")
BUTTON = build(CheckTrigger, action="requested_action", head_sha=SHA, button="fix")
RERUN = build(CheckTrigger, action="rerequested", head_sha=SHA)
DUE = datetime(2026, 1, 1, tzinfo=UTC)
SCHEDULE = build(ScheduleTrigger, workflow="w", cron="0 0 * * *", due_at=DUE)
ALERT = build(AlertTrigger, fingerprint="f", name="HighErrorRate", firing=True, severity="critical")
BREACH = {"rule": "errors", "observed": 0.2, "above": 0.02}
FEEDBACK = build(
    FeedbackTrigger,
    number=1,
    payload={
        "fingerprint": "f" * 16,
        "environment": "production",
        "severity": "high",
        "title": "Errors rose",
        "breaches": [BREACH],
        "findings": ["The error rate rose."],
        "observed_at": DUE,
    },
)


@pytest.mark.parametrize(
    ("on", "trigger"),
    [
        ("pull_request: ", pull_request()),
        ("pull_request: {branches: [main]}", pull_request("synchronize")),
        ("pull_request: {types: [closed]}", pull_request("closed")),
        ("push: ", push("refs/heads/main")),
        ("push: ", push("refs/tags/v1")),
        ("push: {branches: ['release/*']}", push("refs/heads/release/1")),
        ("push: {tags: ['v*']}", push("refs/tags/v1")),
        ("push: {tags: ['v*'], branches: [main]}", push("refs/heads/main")),
        ("deployment: ", DEPLOYMENT),
        ("deployment: {environments: [prod*]}", DEPLOYMENT),
        ("deployment_status: {environments: [production]}", STATUS),
        ("issues: ", OPENED),
        ("issues: {labels: [conductor]}", OPENED),
        ("issues: {labels: [bug]}", LABELED),
        ("command: ", COMMAND),
        ("command: {verbs: [test]}", COMMAND),
        ("check_run: ", BUTTON),
        ("schedule: {cron: '0 0 * * *'}", SCHEDULE),
        ("alert: ", ALERT),
        ("alert: {names: ['High*'], severities: [critical]}", ALERT),
        ("feedback: {}", FEEDBACK),
    ],
)
def test_a_trigger_starts_the_workflows_that_ask_for_it(on: str, trigger: Trigger) -> None:
    assert answer(on, trigger) == Match(workflow="w")


@pytest.mark.parametrize(
    ("on", "trigger", "reason"),
    [
        ("push: ", pull_request(), "not started by `pull_request`"),
        ("pull_request: ", pull_request("edited"), "type"),
        ("pull_request: {branches: [dev]}", pull_request(), "base branch"),
        ("push: {branches: [main]}", push("refs/heads/dev"), "branch"),
        ("push: {branches: [main]}", push("refs/tags/main"), "tag was pushed"),
        ("push: {tags: [v*]}", push("refs/heads/v1"), "branch was pushed"),
        ("push: {tags: [v*]}", push("refs/tags/w1"), "tag is outside"),
        ("deployment: {environments: [staging]}", DEPLOYMENT, "environment"),
        ("deployment_status: {states: [failure]}", STATUS, "state"),
        ("deployment_status: {environments: [x]}", STATUS, "environment"),
        ("issues: {labels: [conductor]}", LABELED, "none of the labels"),
        ("issues: {types: [closed]}", OPENED, "type"),
        ("command: {verbs: [deploy]}", COMMAND, "command"),
        ("check_run: {buttons: [retry]}", BUTTON, "button"),
        ("check_run: ", RERUN, "button"),
        ("alert: {severities: [low]}", ALERT, "severity"),
        ("alert: {names: [x]}", ALERT, "alert"),
        ("alert: {environments: [x]}", ALERT, "environment"),
        ("alert: ", ALERT.model_copy(update={"firing": False}), "resolved"),
        (
            "schedule: {cron: '0 0 * * *'}",
            SCHEDULE.model_copy(update={"workflow": "x"}),
            "schedule",
        ),
    ],
)
def test_a_workflow_that_does_not_start_says_why(on: str, trigger: Trigger, reason: str) -> None:
    got = answer(on, trigger)
    assert isinstance(got, NoMatch)
    assert reason in got.reason


@pytest.mark.parametrize(
    ("on", "action", "starts"),
    [
        ("pull_request: ", "opened", False),
        ("pull_request: ", "ready_for_review", False),
        ("pull_request: {drafts: true}", "opened", True),
        ("pull_request: {types: [converted_to_draft]}", "converted_to_draft", True),
    ],
)
def test_a_draft_counts_only_where_drafts_are_wanted(on: str, action: str, starts: bool) -> None:
    got = answer(on, pull_request(action), change(draft=True))
    assert isinstance(got, Match) is starts


def test_the_subject_as_it_is_now_outweighs_the_snapshot_in_the_webhook() -> None:
    assert isinstance(answer("pull_request: ", pull_request(draft=True), change()), Match)
    closed = answer("pull_request: ", pull_request(), change(open=False))
    assert isinstance(closed, NoMatch)
    moved = answer("pull_request: {branches: [main]}", pull_request(), change(base_ref="dev"))
    assert isinstance(moved, NoMatch)


@pytest.mark.parametrize("on", ["pull_request: {paths: ['src/**']}", "push: {paths: ['src/**']}"])
def test_one_changed_path_is_enough_and_a_cut_listing_counts_as_a_match(on: str) -> None:
    trigger = pull_request() if on.startswith("pull") else push("refs/heads/main")
    assert isinstance(answer(on, trigger, change(paths=("README", "src/a"))), Match)
    assert isinstance(answer(on, trigger, change(paths=("README",))), NoMatch)
    assert isinstance(answer(on, trigger, change(paths=("README",), paths_complete=False)), Match)


def test_without_a_file_pull_requests_are_reviewed_and_pushes_are_not() -> None:
    (first,) = workflows_for(default_file(), pull_request(), change())
    (second,) = workflows_for(default_file(), push("refs/heads/main"), change())
    assert isinstance(first, Match)
    assert isinstance(second, NoMatch)


def deploy_command(*arguments: str, verb: str = "deploy") -> Trigger:
    return build(
        CommandTrigger,
        number=1,
        on_pull_request=True,
        comment_id=1,
        verb=verb,
        arguments=arguments,
    )


@pytest.mark.parametrize(
    ("environment", "arguments", "starts"),
    [
        ("staging", ("staging",), True),
        ("staging", ("production",), False),
        ("staging", (), False),
        (None, ("production",), True),
    ],
)
def test_a_deploy_command_means_the_workflows_that_deploy_there(
    environment: str | None, arguments: tuple[str, ...], starts: bool
) -> None:
    where = f", environment: {environment}" if environment else ""
    text = (
        "version: 1\nenvironments: {staging: {target: mock}, production: {target: mock}}\n"
        f"workflows: {{w: {{on: {{command: }}, steps: {{s: {{agent: deploy{where}}}}}}}}}"
    )
    file = load(text).file
    assert file is not None
    (only,) = workflows_for(file, deploy_command(*arguments), change())
    assert isinstance(only, Match) is starts


@pytest.mark.parametrize(
    ("verb", "agent"),
    [("fix", "coding"), ("test", "test"), ("deploy", "deploy"), ("rollback", "deploy")],
)
def test_a_command_works_in_a_repository_that_declares_nothing_for_it(
    verb: Verb, agent: str
) -> None:
    environment = "staging" if agent == "deploy" else None
    file = with_command(default_file(), verb, environment)
    trigger = deploy_command(*filter(None, [environment]), verb=verb)
    found = [a.workflow for a in workflows_for(file, trigger, change()) if isinstance(a, Match)]
    assert found == [verb]
    (step,) = file.workflows[verb].steps.values()
    assert (step.agent, getattr(step, "environment", None)) == (agent, environment)


def test_a_workflow_of_a_command_s_name_is_left_as_it_was_declared() -> None:
    text = "version: 1\nworkflows: {fix: {on: {push: }, steps: {s: {agent: coding}}}}"
    file = load(text).file
    assert file is not None
    assert with_command(file, "fix") == file
    assert with_command(file, "review") == file
