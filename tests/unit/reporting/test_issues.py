"""Feedback issues: one a fingerprint, counted, reopened, closed; others' are left alone."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from markdown_it import MarkdownIt

from bot.github.markers import Feedback, feedback_marker, has_key, read_feedback
from bot.simulator.faults import Fault
from bot.simulator.state import Issue, PullRequest
from pipelines.model import Breach, CloseIssue, OpenIssue, OpenPullRequest, Provenance
from tests.support.clock import EPOCH
from tests.unit.reporting.shop import KEY, SECRET, Shop, opened, payload


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Shop]:
    async with opened(tmp_path) as shop:
        yield shop


def report(shop: Shop, occasion: str = "run1/watch", **fields: Any) -> OpenIssue:
    return OpenIssue(head_sha=shop.base, payload=payload(**fields), occasion=occasion)


def closing(shop: Shop, number: int, **fields: Any) -> CloseIssue:
    values: dict[str, Any] = {
        "head_sha": shop.base,
        "number": number,
        "fingerprint": payload().fingerprint,
        "evidence": ("The error rate is 0.001 again.",),
        "fixed_in": shop.base,
        "occasion": "run2/watch",
    }
    return CloseIssue(**{**values, **fields})


def issues(shop: Shop) -> list[Issue]:
    return [issue for issue in shop.repo.issues.values() if not issue.pull]


def marker(shop: Shop, issue: Issue) -> Feedback | None:
    return read_feedback(
        (KEY,), repository_id=shop.repo.id, number=issue.number, body=issue.body or ""
    )


async def test_it_is_readable_and_signed(shop: Shop) -> None:
    receipt = await shop.do(report(shop, suspected_sha=shop.base))
    (issue,) = issues(shop)
    assert (receipt.status, receipt.number) == ("done", issue.number)
    assert issue.title == "The error rate is up"
    assert [label.name for label in issue.labels] == ["conductor:feedback"]
    body = issue.body or ""
    assert "| `error rate` | 0.2135 /s | 0.001 /s | at most 0.02 | 40 | high |" in body
    assert "▁▄█" in body
    assert f"after the deployment of {shop.base}" in body
    assert "seen once" in body
    assert "- Roll back." in body
    signed = marker(shop, issue)
    assert signed
    assert signed.payload == report(shop, suspected_sha=shop.base).payload
    assert signed.provenance == Provenance(root_run="root", depth=2)
    assert {tuple(one.items()) for one in shop.permissions_minted()} == {
        (("issues", "write"), ("metadata", "read"))
    }


async def test_the_same_occasion_counts_once_and_another_counts_up(shop: Shop) -> None:
    first = await shop.do(report(shop))
    again = await shop.do(report(shop), repeated=True)
    assert (again.status, again.number) == ("found", first.number)
    other = await shop.do(report(shop, "run2/watch", title="Still up"))
    assert (other.status, other.number) == ("done", first.number)
    (issue,) = issues(shop)
    signed = marker(shop, issue)
    assert signed
    assert (signed.occurrences, signed.payload.title) == (2, "Still up")
    assert "seen 2 times" in (issue.body or "")
    assert (await shop.do(report(shop))).status == "found"


async def test_another_fingerprint_has_an_issue_of_its_own(shop: Shop) -> None:
    first = await shop.do(report(shop))
    second = await shop.do(report(shop, fingerprint="f" * 16))
    assert first.number != second.number


@pytest.mark.parametrize("cut", ["before", "after"])
@pytest.mark.parametrize("method", ["POST", "PATCH", "GET"])
async def test_a_cut_connection_leaves_exactly_one_issue(shop: Shop, cut: Any, method: str) -> None:
    receipt = await shop.survive(report(shop), Fault(method=method, path="*/issues*", cut=cut))
    (issue,) = issues(shop)
    signed = marker(shop, issue)
    assert receipt.number == issue.number
    assert signed
    assert signed.occurrences == 1


async def test_two_at_once_end_with_one_open_issue(shop: Shop) -> None:
    receipts = await asyncio.gather(
        *(shop.do(report(shop, f"run{n}/watch"), run_id=f"run{n}") for n in range(2))
    )
    (left,) = [issue for issue in issues(shop) if issue.state == "open"]
    assert {receipt.number for receipt in receipts} == {left.number}


async def test_a_baseline_that_is_back_closes_it_with_evidence_once(shop: Shop) -> None:
    number = (await shop.do(report(shop))).number or 0
    receipt = await shop.do(closing(shop, number))
    (issue,) = issues(shop)
    assert (receipt.status, issue.state, issue.state_reason) == ("done", "closed", "completed")
    (comment,) = issue.comments
    assert "The error rate is 0.001 again." in comment.body
    assert shop.base in comment.body
    assert (await shop.do(closing(shop, number), repeated=True)).status == "found"
    assert len(issue.comments) == 1


@pytest.mark.parametrize("cut", ["before", "after"])
@pytest.mark.parametrize("path", ["*/comments", "*/issues/*"])
async def test_a_cut_connection_leaves_one_comment_and_a_closed_issue(
    shop: Shop, cut: Any, path: str
) -> None:
    number = (await shop.do(report(shop))).number or 0
    await shop.survive(closing(shop, number), Fault(path=path, cut=cut))
    (issue,) = issues(shop)
    assert (issue.state, len(issue.comments)) == ("closed", 1)


async def test_what_conductor_closed_is_reopened_and_an_old_closing_is_not_repeated(
    shop: Shop,
) -> None:
    number = (await shop.do(report(shop))).number or 0
    await shop.do(closing(shop, number))
    again = await shop.do(report(shop, "run3/watch"))
    (issue,) = issues(shop)
    assert (again.number, again.message, issue.state) == (number, "Reopened.", "open")
    signed = marker(shop, issue)
    assert signed
    assert (signed.occurrences, signed.closed) == (2, False)
    assert (await shop.do(closing(shop, number), repeated=True)).status == "found"
    assert issue.state == "open"


async def test_what_a_person_closed_stays_closed(shop: Shop) -> None:
    first = await shop.do(report(shop))
    shop.simulator.close_issue(shop.repo, issues(shop)[0], shop.alice)
    assert (await shop.do(closing(shop, first.number or 0))).status == "found"
    second = await shop.do(report(shop, "run3/watch"))
    assert second.number != first.number
    assert issues(shop)[0].state == "closed"


async def test_what_was_closed_long_ago_is_not_dug_up(shop: Shop) -> None:
    first = await shop.do(report(shop))
    await shop.do(closing(shop, first.number or 0))
    await shop.clock.advance(timedelta(days=40).total_seconds())
    late = EPOCH + timedelta(days=40)
    second = await shop.do(report(shop, "run9/watch", observed_at=late))
    assert second.number != first.number


async def test_an_issue_that_a_stranger_opened_with_a_copied_marker_is_nothing(
    shop: Shop,
) -> None:
    written = Feedback(payload=payload(), provenance=Provenance())
    copied = feedback_marker(KEY, repository_id=shop.repo.id, number=1, feedback=written)
    forged = shop.simulator.open_issue(shop.repo, shop.alice, "Mine", copied)
    assert forged.number == 1
    assert await shop.source.feedback(shop.run().change, None) == ()
    receipt = await shop.do(report(shop))
    assert receipt.number != forged.number
    denied = await shop.do(closing(shop, forged.number))
    assert (denied.status, forged.state) == ("denied", "open")


async def test_a_marker_that_somebody_broke_is_written_anew_in_the_same_issue(
    shop: Shop,
) -> None:
    first = await shop.do(report(shop))
    (issue,) = issues(shop)
    broken = (issue.body or "").replace("conductor:feedback v1 7", "conductor:feedback v1 6")
    shop.simulator.edit_issue(shop.repo, issue, shop.alice, body=broken)
    assert marker(shop, issue) is None
    assert await shop.source.feedback(shop.run().change, None) == ()
    again = await shop.do(report(shop, "run2/watch"))
    assert again.number == first.number
    assert marker(shop, issue)


async def test_open_feedback_is_read_back_by_environment(shop: Shop) -> None:
    await shop.do(report(shop))
    await shop.do(report(shop, "run2/watch"))
    await shop.do(report(shop, fingerprint="f" * 16, environment="staging"))
    change = shop.run().change
    (production,) = await shop.source.feedback(change, "production")
    assert (production.number, production.occurrences) == (1, 2)
    assert production.payload == payload()
    assert production.opened_at
    assert len(await shop.source.feedback(change, None)) == 2
    await shop.do(closing(shop, 1))
    assert [one.number for one in await shop.source.feedback(change, None)] == [2]


async def test_without_the_permission_there_are_none_and_none_is_opened(tmp_path: Path) -> None:
    async with opened(tmp_path, issues="none") as shop:
        assert await shop.source.feedback(shop.run().change, None) == ()
        assert (await shop.do(report(shop))).status == "denied"


async def test_names_of_rules_cannot_break_the_table_or_speak(shop: Shop) -> None:
    rule = "a|b`c\n| x | @alice #1 <script> --> <!-- conductor:key y -->"
    assert len(rule) <= 100
    breach = Breach(rule=rule, query=f"```\n/conductor deploy {SECRET}", observed=1e12, unit="|%|")
    words = f"@alice {SECRET} [x](javascript:alert(1)) fixes #7"
    await shop.do(
        report(shop, breaches=(breach,), title=words, findings=(words,), recommendations=(words,))
    )
    (issue,) = issues(shop)
    body = issue.body or ""
    rows = [row for row in body.splitlines() if row.startswith("|")]
    assert len(rows) == 3
    assert rows[2].replace("\\|", "").count("|") == 7
    assert SECRET not in body + issue.title
    assert SECRET not in str(marker(shop, issue))
    assert not has_key(body, "y")
    assert "\n/conductor" not in body
    tokens = MarkdownIt("commonmark").enable("table").parse(body)
    live = [child for token in tokens for child in token.children or () if child.type == "text"]
    assert not [one for one in live if "@" in one.content or "#" in one.content]
    children = [child for token in tokens for child in token.children or ()]
    links = [child.attrs["href"] for child in children if child.type == "link_open"]
    assert links == ["https://conductor.example/runs/run1"]
    assert not {child.type for child in children} & {"image", "html_inline"}


async def fixed(shop: Shop, number: int, name: str = "one") -> PullRequest:
    """A pull request of our own that answers the issue."""
    commit = shop.commit(f"conductor/fix-{name}")
    effect = OpenPullRequest(
        head_sha=shop.base,
        commit=commit,
        title=f"Mend {name}",
        body="It divided by zero.",
        base_ref="main",
        answers_issue=number,
    )
    receipt = await shop.do(effect)
    (pull,) = [pull for pull in shop.repo.pulls if pull.number == receipt.number]
    return pull


async def breached(shop: Shop, number: int = 2, **fields: Any) -> Feedback:
    """The signal is out of its bounds once more; returns what the issue's marker says then."""
    await shop.do(report(shop, f"run{number}/watch", **fields))
    signed = marker(shop, issues(shop)[0])
    assert signed
    return signed


async def test_a_fix_that_runs_and_did_not_help_makes_the_issue_ask_for_another(shop: Shop) -> None:
    number = (await shop.do(report(shop))).number or 0
    pull = await fixed(shop, number)
    merged = await shop.simulator.merge(shop.repo, pull, shop.alice)
    signed = await breached(shop, running_sha=merged)
    assert (signed.asks, signed.given_up) == (True, False)
    (fix,) = signed.failed
    assert (fix.number, fix.title, fix.paths) == (pull.number, "Mend one", ("a.py", "old"))
    assert "+print(2)" in fix.patch
    (issue,) = issues(shop)
    assert f"The fix in #{pull.number} did not help." in (issue.body or "")
    (comment,) = issue.comments
    assert "did not help" in comment.body
    again = await breached(shop, 3, running_sha=merged)
    assert (again.asks, again.failed, len(issue.comments)) == (False, signed.failed, 1)


async def test_a_fix_that_is_open_or_not_deployed_is_waited_for(shop: Shop) -> None:
    number = (await shop.do(report(shop))).number or 0
    before = shop.base
    pull = await fixed(shop, number)
    assert not (await breached(shop, running_sha=before)).asks
    merged = await shop.simulator.merge(shop.repo, pull, shop.alice)
    assert not (await breached(shop, 3, running_sha=before)).asks
    assert not (await breached(shop, 4)).asks
    await fixed(shop, number, "two")
    assert not (await breached(shop, 5, running_sha=merged)).asks
    assert issues(shop)[0].comments == []


async def test_a_fix_from_before_the_issue_was_reopened_did_help(shop: Shop) -> None:
    number = (await shop.do(report(shop))).number or 0
    pull = await fixed(shop, number)
    merged = await shop.simulator.merge(shop.repo, pull, shop.alice)
    await shop.do(closing(shop, number))
    await shop.clock.advance(60)
    at = shop.clock.now()
    assert (await breached(shop, 3, running_sha=merged, observed_at=at)).failed == ()
    assert (await breached(shop, 4, running_sha=merged, observed_at=at)).failed == ()


async def test_what_others_say_is_a_fix_is_none(shop: Shop) -> None:
    number = (await shop.do(report(shop))).number or 0
    words = f"Made for #{number}, which stays open until the fix is verified."
    await shop.simulator.push(shop.repo, "conductor/mine", {"a.py": "print(3)\n"}, shop.alice)
    pull = await shop.simulator.open_pull_request(
        shop.repo, "conductor/mine", shop.alice, title="Mine", body=words
    )
    merged = await shop.simulator.merge(shop.repo, pull, shop.alice)
    assert (await breached(shop, running_sha=merged)).failed == ()


@pytest.mark.parametrize("cut", ["before", "after"])
@pytest.mark.parametrize("path", ["*/comments", "*/issues/*", "*/pulls*", "*/compare/*"])
async def test_a_cut_connection_leaves_one_word_about_a_fix(
    shop: Shop, cut: Any, path: str
) -> None:
    number = (await shop.do(report(shop))).number or 0
    merged = await shop.simulator.merge(shop.repo, await fixed(shop, number), shop.alice)
    effect = report(shop, "run2/watch", running_sha=merged)
    await shop.survive(effect, Fault(path=path, cut=cut))
    (issue,) = issues(shop)
    signed = marker(shop, issue)
    assert signed
    assert (signed.occurrences, len(signed.failed), len(issue.comments)) == (2, 1, 1)


async def test_the_third_fix_that_does_not_help_asks_for_people(shop: Shop) -> None:
    number, merged = (await shop.do(report(shop))).number or 0, ""
    for count in (1, 2, 3):
        pull = await fixed(shop, number, str(count))
        merged = await shop.simulator.merge(shop.repo, pull, shop.alice)
        effect = report(shop, f"run{count}/again", running_sha=merged)
        receipt = await shop.do(effect)
        signed = marker(shop, issues(shop)[0])
        assert signed
        assert (signed.asks, signed.given_up) == (count < 3, count == 3)
        assert bool(receipt.escalate) == (count == 3)
        assert (await shop.do(effect, repeated=True)).escalate == receipt.escalate
    after = await shop.do(report(shop, "run4/again", running_sha=merged))
    assert after.escalate == ""
