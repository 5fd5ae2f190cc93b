"""Work on an issue starts from the default branch and the words of the time it was asked for."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

import pytest

from bot.github.subjects import EDITED
from bot.simulator.state import Account, Issue
from pipelines.errors import Ignorable
from pipelines.model import (
    Actor,
    AlertTrigger,
    Change,
    CommandTrigger,
    DeploymentTrigger,
    FeedbackTrigger,
    IssueTrigger,
    OpenIssue,
    OpenPullRequest,
    PullRequestTrigger,
)
from tests.unit.reporting.shop import Shop, opened, payload


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Shop]:
    async with opened(tmp_path) as shop:
        yield shop


def actor(account: Account) -> Actor:
    kind: Literal["Bot", "User"] = "Bot" if account.kind == "Bot" else "User"
    return Actor(id=account.id, login=account.login, type=kind)


def common(shop: Shop) -> dict[str, Any]:
    return {"repository": shop.repository, "actor": actor(shop.alice), "delivery_id": "d-1"}


def labelled(shop: Shop, issue: Issue, action: str = "labeled", **fields: Any) -> IssueTrigger:
    values: dict[str, Any] = {"occurred_at": issue.updated_at, **common(shop), **fields}
    return IssueTrigger(action=action, number=issue.number, author=actor(issue.user), **values)


async def test_it_is_the_issue_and_the_default_branch(shop: Shop) -> None:
    config: dict[str, str | bytes | None] = {".conductor.yml": "version: 1\n"}
    head = await shop.simulator.push(shop.repo, "main", config, shop.alice)
    issue = shop.simulator.open_issue(shop.repo, shop.alice, "Broken", "It is.", ["bug"])
    change = await shop.source.change(labelled(shop, issue))
    assert change == Change(
        repository=shop.repository,
        issue=issue.number,
        head_sha=head,
        base_sha=head,
        base_ref="main",
        title="Broken",
        body="It is.",
        author=actor(shop.alice),
        author_can_write=True,
        labels=("bug",),
        paths_complete=False,
        config=change.config,
        read_at=change.read_at,
    )
    assert change.config
    assert change.config.text == "version: 1\n"
    assert not change.tainted


async def test_a_strangers_issue_is_tainted(shop: Shop) -> None:
    mallory = shop.simulator.create_user("mallory")
    issue = shop.simulator.open_issue(shop.repo, mallory, "Please", "Run this.")
    assert (await shop.source.change(labelled(shop, issue))).tainted


async def test_words_changed_after_the_event_are_not_read(shop: Shop) -> None:
    issue = shop.simulator.open_issue(shop.repo, shop.alice, "Old title", "Old words.")
    await shop.clock.advance(60)
    shop.simulator.label_issue(shop.repo, issue, "fix-me", shop.alice)
    trigger = labelled(shop, issue)
    await shop.clock.advance(60)
    shop.simulator.edit_issue(shop.repo, issue, shop.alice, title="New title")
    change = await shop.source.change(trigger)
    assert (change.title, change.body) == ("Old title", "Old words.")
    shop.simulator.edit_issue(shop.repo, issue, shop.alice, title="Newer", body="Evil words.")
    change = await shop.source.change(trigger)
    assert (change.title, change.body) == ("Old title", EDITED)


async def test_a_change_within_the_second_of_the_event_may_be_a_later_one(shop: Shop) -> None:
    issue = shop.simulator.open_issue(shop.repo, shop.alice, "Old title", "Old words.")
    trigger = labelled(shop, issue)
    shop.simulator.edit_issue(shop.repo, issue, shop.alice, title="New", body="Evil words.")
    change = await shop.source.change(trigger)
    assert (change.title, change.body) == ("Old title", EDITED)


async def test_words_changed_before_the_event_or_by_it_are_read(shop: Shop) -> None:
    issue = shop.simulator.open_issue(shop.repo, shop.alice, "Old title", "Old words.")
    await shop.clock.advance(60)
    shop.simulator.edit_issue(shop.repo, issue, shop.alice, title="Better", body="Better words.")
    change = await shop.source.change(labelled(shop, issue, "edited"))
    assert (change.title, change.body) == ("Better", "Better words.")
    await shop.clock.advance(60)
    shop.simulator.label_issue(shop.repo, issue, "fix-me", shop.alice)
    assert (await shop.source.change(labelled(shop, issue))).body == "Better words."


async def test_without_a_time_nothing_that_was_ever_changed_is_trusted(shop: Shop) -> None:
    issue = shop.simulator.open_issue(shop.repo, shop.alice, "Old title", "Old words.")
    shop.simulator.edit_issue(shop.repo, issue, shop.alice, body="Other.")
    change = await shop.source.change(labelled(shop, issue, occurred_at=None))
    assert change.body == EDITED


async def test_a_command_on_an_issue_reads_the_issue(shop: Shop) -> None:
    issue = shop.simulator.open_issue(shop.repo, shop.alice, "Broken", "It is.")
    await shop.clock.advance(5)
    comment = shop.simulator.comment(shop.repo, issue.number, shop.alice, "/conductor fix")
    trigger = CommandTrigger(
        **common(shop),
        occurred_at=comment.created_at,
        number=issue.number,
        on_pull_request=False,
        comment_id=comment.id,
        verb="fix",
    )
    change = await shop.source.change(trigger)
    assert (change.issue, change.number, change.body) == (issue.number, None, "It is.")


async def test_feedback_speaks_by_its_signed_payload_alone(shop: Shop) -> None:
    receipt = await shop.do(OpenIssue(head_sha=shop.base, payload=payload(), occasion="o"))
    issue = shop.repo.issues[receipt.number or 0]
    shop.simulator.edit_issue(shop.repo, issue, shop.alice, title="Evil", body="Evil.")
    trigger = FeedbackTrigger(
        **common(shop), occurred_at=issue.updated_at, number=issue.number, payload=payload()
    )
    change = await shop.source.change(trigger)
    assert (change.title, change.body) == (payload().title, "")
    assert change.author == actor(shop.bot).model_copy(update={"login": "conductor"})
    assert not change.tainted


async def test_an_issue_that_is_gone_is_ignored_and_a_closed_one_is_closed(shop: Shop) -> None:
    issue = shop.simulator.open_issue(shop.repo, shop.alice, "Broken")
    shop.simulator.close_issue(shop.repo, issue, shop.alice)
    assert not (await shop.source.change(labelled(shop, issue))).open
    del shop.repo.issues[issue.number]
    with pytest.raises(Ignorable):
        await shop.source.change(labelled(shop, issue, occurred_at="2020-01-01T00:00:00Z"))


async def test_a_pull_request_of_our_own_is_not_a_strangers(shop: Shop) -> None:
    effect = OpenPullRequest(
        head_sha=shop.base, commit=shop.commit(), base_ref="main", title="Fix", body="Fix."
    )
    receipt = await shop.do(effect)
    trigger = PullRequestTrigger(
        **common(shop),
        action="opened",
        number=receipt.number or 0,
        head_sha=receipt.sha or "",
        head_ref=effect.commit.branch,
        base_ref="main",
        base_sha=shop.base,
        head_repository_id=shop.repo.id,
        author=actor(shop.bot),
    )
    change = await shop.source.change(trigger)
    assert change.author_can_write
    assert not change.tainted


async def test_a_deployment_is_of_its_commit(shop: Shop) -> None:
    head = await shop.simulator.push(shop.repo, "main", {"b.py": "b\n"}, shop.alice)
    trigger = DeploymentTrigger(
        **common(shop), deployment_id=5, environment="production", sha=shop.base, ref="main"
    )
    change = await shop.source.change(trigger)
    assert (change.head_sha, change.base_ref) == (shop.base, "main")
    assert change.head_sha != head
    alert = AlertTrigger(**common(shop), fingerprint="f", name="Down", firing=True)
    assert (await shop.source.change(alert)).head_sha == head


async def test_both_sides_of_a_change_are_read_from_the_simulators_git(shop: Shop) -> None:
    odd = bytes(range(256))
    files: dict[str, str | bytes | None] = {"logo.png": odd, "a.py": "print(2)\n", "old": None}
    head = await shop.simulator.push(shop.repo, "topic", files, shop.alice)
    change = shop.run(head_sha=head).change
    tree = await shop.source.reader(change).tree()
    assert {(entry.path, entry.size) for entry in tree.entries} == {("a.py", 9), ("logo.png", 256)}
    assert (await shop.source.snapshot(change)).files == {"a.py": b"print(2)\n", "logo.png": odd}
    base = await shop.source.snapshot(change, at="base")
    assert base.files == {"a.py": b"print(1)\n", "old": b"x\n"}


async def test_words_of_a_pull_request_changed_after_the_command_are_not_read(shop: Shop) -> None:
    await shop.simulator.push(shop.repo, "topic", {"a.py": "2\n"}, shop.alice)
    pull = await shop.simulator.open_pull_request(
        shop.repo, "topic", shop.alice, title="Old title", body="Old."
    )
    await shop.clock.advance(5)
    comment = shop.simulator.comment(shop.repo, pull.number, shop.alice, "/conductor fix")
    trigger = CommandTrigger(
        **common(shop),
        occurred_at=comment.created_at,
        number=pull.number,
        on_pull_request=True,
        comment_id=comment.id,
        verb="fix",
    )
    change = await shop.source.change(trigger)
    assert (change.title, change.body) == ("Old title", "Old.")
    shop.simulator.edit_issue(shop.repo, pull.issue, shop.alice, title="Evil", body="Evil.")
    change = await shop.source.change(trigger)
    assert (change.title, change.body) == ("Old title", EDITED)
    later = trigger.model_copy(update={"occurred_at": shop.clock.now() + timedelta(seconds=1)})
    change = await shop.source.change(later)
    assert (change.title, change.body) == ("Evil", "Evil.")
