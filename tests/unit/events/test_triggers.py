"""What each event of GitHub becomes."""

from datetime import UTC, datetime
from typing import get_args

import pytest

from bot.events.installations import InstallationChanged
from bot.events.triggers import ACTIONS
from pipelines.config import triggers as declared
from pipelines.model import (
    GHOST,
    Actor,
    CheckTrigger,
    CommandTrigger,
    DeploymentStatusTrigger,
    DeploymentTrigger,
    IssueTrigger,
    PullRequestTrigger,
    PushTrigger,
    Repository,
    Revert,
)
from tests.unit.events.samples import BASE, HEAD, ISSUE, ME, ZERO, read, reason, sample

SHOP = Repository(installation_id=5, id=9, owner="acme", name="shop", default_branch="main")
ALICE = Actor(id=11, login="alice")
SHARED = {"repository": SHOP, "actor": ALICE, "delivery_id": "guid"}
THEN = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.mark.parametrize("action", sorted(ACTIONS["pull_request"]))
def test_a_pull_request_event_names_the_pull_request_and_its_commits(action: str) -> None:
    assert read("pull_request", sample("pull_request", action=action)) == PullRequestTrigger(
        **SHARED,  # pyright: ignore[reportArgumentType]
        occurred_at=THEN,
        action=action,
        number=7,
        head_sha=HEAD,
        head_ref="topic",
        base_ref="main",
        base_sha=BASE,
        head_repository_id=9,
        author=ALICE,
        labels=("bug",),
    )


def test_a_pull_request_whose_fork_or_author_is_gone_is_still_a_pull_request() -> None:
    payload = sample("pull_request", pull_request__head__repo=None, pull_request__user=None)
    got = read("pull_request", payload)
    assert isinstance(got, PullRequestTrigger)
    assert got.head_repository_id is None
    assert got.author == GHOST


def test_a_push_names_the_ref_and_what_moved() -> None:
    assert read("push", sample("push")) == PushTrigger(
        **SHARED,  # pyright: ignore[reportArgumentType]
        ref="refs/heads/main",
        before=BASE,
        after=HEAD,
        forced=True,
    )


def test_a_new_branch_is_a_push_from_nothing() -> None:
    got = read("push", sample("push", created=True, before=ZERO))
    assert isinstance(got, PushTrigger)
    assert got.created


def pushed(sha: str, message: str) -> dict[str, str]:
    return {"id": sha * 40, "message": message}


def reverts(*commits: dict[str, str]) -> tuple[Revert, ...]:
    got = read("push", sample("push", commits=list(commits)))
    assert isinstance(got, PushTrigger)
    return got.reverts


def test_a_push_names_the_earlier_commits_that_git_says_it_reverts() -> None:
    plain = f'Revert "Fix it"\n\nThis reverts commit {"c" * 40}.\n'
    merge = f"Undo\r\n\r\nThis reverts commit {'d' * 40}, reversing\nchanges made to {BASE}."
    again = f"Once more\n\nThis reverts commit {'c' * 40}."
    assert reverts(pushed("1", plain), pushed("2", merge), pushed("3", again)) == (
        Revert(sha="c" * 40, headline='Revert "Fix it"'),
        Revert(sha="d" * 40, headline="Undo"),
    )


@pytest.mark.parametrize(
    "message",
    [
        "",
        "This reverts commit abc1234.",
        f"This reverts commit {'C' * 40}.",
        f"This reverts commit {'c' * 41}.",
        f"Reverts acme/shop#{'7' * 40}",
        f"This reverts commit {'1' * 40}.",
    ],
    ids=["nothing", "short", "upper case", "too long", "a button's words", "pushed with it"],
)
def test_what_names_no_earlier_commit_reverts_none(message: str) -> None:
    assert reverts(pushed("1", "Fix"), pushed("2", message)) == ()


def test_of_many_reverted_commits_the_first_few_count_and_long_headlines_are_cut() -> None:
    message = "x" * 5000 + "".join(f"\nThis reverts commit {n:040x}." for n in range(1, 500))
    got = reverts(pushed("a", message))
    assert [int(revert.sha, 16) for revert in got] == [1, 2, 3]
    assert {len(revert.headline) for revert in got} == {200}


def test_a_deployment_and_its_status_name_environment_and_commit() -> None:
    deployment = read("deployment", sample("deployment"))
    assert isinstance(deployment, DeploymentTrigger)
    assert (deployment.deployment_id, deployment.environment) == (31, "production")
    status = read("deployment_status", sample("deployment_status"))
    assert isinstance(status, DeploymentStatusTrigger)
    assert (status.state, status.sha) == ("success", HEAD)
    assert status.occurred_at == datetime(2026, 1, 2, 1, 4, 5, tzinfo=UTC)


def test_an_issue_event_names_the_label_that_was_added() -> None:
    got = read("issues", sample("issues"))
    assert isinstance(got, IssueTrigger)
    assert (got.number, got.label, got.labels, got.author) == (3, "bug", ("bug",), ALICE)


@pytest.mark.parametrize(
    ("event", "on_pull_request", "kind", "number"),
    [("issue_comment", False, "issue", 3), ("pull_request_review_comment", True, "review", 7)],
)
def test_a_command_in_a_comment_is_a_trigger_with_the_signed_text(
    event: str, on_pull_request: bool, kind: str, number: int
) -> None:
    got = read(event, sample(event))
    assert isinstance(got, CommandTrigger)
    assert (got.verb, got.arguments) == ("fix", ("the", "bug"))
    assert (got.comment_kind, got.comment_id, got.number) == (kind, 21, number)
    assert got.on_pull_request is on_pull_request
    assert got.text == "Hm.\n/conductor fix the bug"


def test_a_comment_on_a_pull_request_arrives_as_one_on_an_issue() -> None:
    payload = sample("issue_comment", issue={**ISSUE, "pull_request": {"url": "x"}})
    got = read("issue_comment", payload)
    assert isinstance(got, CommandTrigger)
    assert got.on_pull_request


def test_a_button_and_a_rerun_name_the_check() -> None:
    button = read("check_run", sample("check_run"))
    assert isinstance(button, CheckTrigger)
    assert (button.action, button.button) == ("requested_action", "fix")
    assert (button.check_run_id, button.external_id) == (41, "run/step")
    payload = sample("check_run", action="rerequested")
    del payload["requested_action"]
    rerun = read("check_run", payload)
    assert isinstance(rerun, CheckTrigger)
    assert (rerun.action, rerun.button) == ("rerequested", None)
    suite = read("check_suite", sample("check_suite"))
    assert isinstance(suite, CheckTrigger)
    assert (suite.check_run_id, suite.head_sha) == (None, HEAD)


def test_an_installation_that_changes_is_told_with_its_repositories() -> None:
    assert read("installation", sample("installation")) == InstallationChanged(
        installation_id=5, action="deleted"
    )
    got = read("installation_repositories", sample("installation_repositories"))
    assert got == InstallationChanged(
        installation_id=5, action="added", added=(9,), repositories=(SHOP,)
    )


@pytest.mark.parametrize(
    ("event", "changes", "expected"),
    [
        ("ping", {}, "we are here"),
        ("star", {"action": "created"}, "not used"),
        ("pull_request", {"action": "locked"}, "this action"),
        ("pull_request", {"sender": {"id": ME.bot_user_id, "login": "x"}}, "our own doing"),
        ("issues", {"sender": {"id": ME.bot_user_id, "login": "x"}}, "our own doing"),
        ("push", {"sender": {"id": ME.bot_user_id, "login": "x"}}, "our own doing"),
        ("push", {"repository__archived": True}, "archived"),
        ("push", {"repository__disabled": True}, "disabled"),
        ("push", {"deleted": True, "after": ZERO}, "deleted"),
        ("push", {"after": ZERO}, "deleted"),
        ("push", {"before": ZERO}, "before"),
        ("issues", {"issue__pull_request": {}}, "pull request"),
        ("issues", {"action": "deleted"}, "this action"),
        ("issue_comment", {"action": "edited"}, "this action"),
        ("issue_comment", {"action": "deleted"}, "this action"),
        ("issue_comment", {"comment__body": "fine by me"}, "no command"),
        ("issue_comment", {"comment__body": None}, "no command"),
        ("issue_comment", {"comment__user": None}, "not by whoever"),
        ("issue_comment", {"sender": {"id": 12, "login": "mallory"}}, "not by whoever"),
        ("issue_comment", {"sender__type": "Bot"}, "Bots"),
        ("issue_comment", {"sender__type": "Something new"}, "Bots"),
        ("pull_request_review_comment", {"sender__type": "Bot"}, "Bots"),
        ("check_run", {"check_run__app": {"id": 78}}, "another App"),
        ("check_suite", {"check_suite__app": {"id": 78}}, "another App"),
        ("check_run", {"requested_action": None}, "which button"),
        ("check_run", {"action": "completed"}, "this action"),
        ("check_suite", {"action": "requested"}, "this action"),
        ("installation", {"installation__app_id": 78}, "another App"),
        ("installation", {"action": "added"}, "this action"),
    ],
)
def test_what_means_nothing_to_us_is_ignored_with_the_reason(
    event: str, changes: dict[str, object], expected: str
) -> None:
    payload = sample(event if event in ACTIONS else "push", **changes)
    assert expected in reason(event, payload)


def test_what_a_bot_does_counts_even_where_what_it_says_does_not() -> None:
    got = read("pull_request", sample("pull_request", sender__type="Bot"))
    assert isinstance(got, PullRequestTrigger)
    assert got.actor.type == "Bot"


def test_every_action_that_a_workflow_can_ask_for_is_understood() -> None:
    assert set(get_args(declared.PullRequestType)) == ACTIONS["pull_request"]
    assert set(get_args(declared.IssueType)) == ACTIONS["issues"]
