"""Pull requests of our own: one a branch, explained, labelled, signed, never merged by us."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from bot.github.markers import read_provenance
from bot.simulator.faults import Fault
from pipelines.model import FileEdit, OpenPullRequest, Provenance
from tests.unit.reporting.shop import KEY, SECRET, Shop, opened


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Shop]:
    async with opened(tmp_path) as shop:
        yield shop


def wish(shop: Shop, **fields: Any) -> OpenPullRequest:
    values: dict[str, Any] = {
        "head_sha": shop.base,
        "commit": shop.commit(),
        "base_ref": "main",
        "title": "Fix the sum",
        "body": "The sum was **wrong**.\n\n| before | after |\n|---|---|\n| 1 | 2 |",
    }
    return OpenPullRequest(**{**values, **fields})


async def test_it_explains_itself_and_says_where_it_came_from(shop: Shop) -> None:
    issue = shop.simulator.open_issue(shop.repo, shop.alice, "Broken")
    receipt = await shop.do(wish(shop, answers_issue=issue.number))
    (pull,) = shop.repo.pulls
    assert (receipt.status, receipt.number) == ("done", pull.number)
    assert receipt.sha == pull.head_sha == await shop.tip("conductor/fix-1")
    assert receipt.url
    assert receipt.url.endswith(f"/pull/{pull.number}")
    assert (pull.head_ref, pull.base_ref, pull.issue.title) == (
        "conductor/fix-1",
        "main",
        "Fix the sum",
    )
    assert [label.name for label in pull.issue.labels] == ["conductor"]
    body = pull.issue.body or ""
    assert "The sum was **wrong**." in body
    assert f"Made for #{issue.number}" in body
    assert "2 files changed" in body
    assert "https://conductor.example/runs/run1" in body
    signed = read_provenance(
        (KEY,), repository_id=shop.repo.id, branch="conductor/fix-1", body=body
    )
    assert signed == Provenance(root_run="root", depth=2)
    await shop.simulator.merge(shop.repo, pull, shop.alice)
    assert issue.state == "open", "merging alone must not close what it was made for"


async def test_a_repeat_finds_it_also_when_it_is_closed(shop: Shop) -> None:
    effect = wish(shop)
    first = await shop.do(effect)
    again = await shop.do(effect, repeated=True)
    assert (again.status, again.number, again.sha) == ("found", first.number, first.sha)
    (pull,) = shop.repo.pulls
    await shop.simulator.close_pull_request(shop.repo, pull, shop.alice)
    assert (await shop.do(effect, repeated=True)).number == first.number
    assert shop.repo.pulls == [pull]


@pytest.mark.parametrize("cut", ["before", "after"])
@pytest.mark.parametrize("path", ["*/git/refs", "/graphql", "*/pulls", "*/labels"])
async def test_a_cut_connection_leaves_exactly_one_pull_request(
    shop: Shop, cut: Any, path: str
) -> None:
    receipt = await shop.survive(wish(shop), Fault(path=path, cut=cut))
    (pull,) = shop.repo.pulls
    assert receipt.number == pull.number
    assert [label.name for label in pull.issue.labels] == ["conductor"]
    assert await shop.repo.git.log(shop.base, "conductor/fix-1") == [pull.head_sha]


async def test_a_person_who_used_the_branch_before_is_not_overruled(shop: Shop) -> None:
    await shop.simulator.push(shop.repo, "conductor/fix-1", {"a.py": "9\n"}, shop.alice)
    tip = await shop.tip("conductor/fix-1")
    receipt = await shop.do(wish(shop))
    assert (receipt.status, receipt.key) == ("moved", wish(shop).key)
    assert await shop.tip("conductor/fix-1") == tip
    assert not shop.repo.pulls


@pytest.mark.parametrize("branch", ["main", "topic", "fix/conductor/1"])
async def test_it_comes_from_a_branch_of_conductors_own_or_not_at_all(
    shop: Shop, branch: str
) -> None:
    receipt = await shop.do(wish(shop, commit=shop.commit(branch)))
    assert receipt.status == "denied"
    assert not shop.repo.pulls


async def test_what_the_model_wrote_mentions_and_closes_nothing(shop: Shop) -> None:
    body = f"Hello @alice, this fixes #1 and {SECRET} <img src=x> <!-- conductor:key x -->"
    await shop.do(wish(shop, title=f"Use {SECRET}\n@alice", body=body))
    (pull,) = shop.repo.pulls
    assert pull.issue.title == "Use [redacted] (at)alice"
    text = (pull.issue.body or "").partition("2 files changed")[0]
    assert "`@alice,`" in text
    assert "`#1`" in text
    assert SECRET not in text
    assert "<!--" not in text
    assert "<img" not in text.replace("\\<img", "")


async def test_an_unknown_base_is_said_and_the_commit_stands(shop: Shop) -> None:
    receipt = await shop.do(wish(shop, base_ref="nowhere"))
    assert receipt.status == "denied"
    assert receipt.sha == await shop.tip("conductor/fix-1")


async def test_nobody_is_approved_and_nothing_merged(shop: Shop) -> None:
    await shop.do(wish(shop))
    writes = [
        (one.method, one.path.removeprefix("/repos/acme/shop"))
        for one in shop.wire.exchanges
        if one.method != "GET" and "/access_tokens" not in one.path
    ]
    assert writes == [
        ("POST", "/git/refs"),
        ("POST", "/graphql"),
        ("POST", "/pulls"),
        ("POST", "/issues/1/labels"),
    ]
    assert {tuple(sorted(one.items())) for one in shop.permissions_minted()} == {
        (("contents", "write"), ("metadata", "read")),
        (("contents", "read"), ("metadata", "read"), ("pull_requests", "write")),
    }


SERIES = "conductor/package-into-main-"


def proposal(shop: Shop, text: str, run: str = "1", **fields: Any) -> OpenPullRequest:
    """One of a series, as the devops agent names them."""
    edits = (FileEdit(path="a.py", content=text),)
    bare = shop.commit(f"{SERIES}new", edits=edits)
    branch = f"{SERIES}{bare.digest[:10]}-{run}"
    commit = bare.model_copy(update={"branch": branch})
    return wish(shop, commit=commit, **{"series": SERIES, **fields})


def states(shop: Shop) -> list[str]:
    return [pull.issue.state for pull in shop.repo.pulls]


async def test_a_newer_one_of_a_series_takes_over_and_says_so(shop: Shop) -> None:
    first = await shop.do(proposal(shop, "2\n"))
    second = await shop.do(proposal(shop, "3\n"))
    assert (first.status, second.status) == ("done", "done")
    assert states(shop) == ["closed", "open"]
    (comment,) = shop.repo.pulls[0].issue.comments
    assert f"Superseded by pull request {second.number}" in comment.body


async def test_the_same_is_not_proposed_twice(shop: Shop) -> None:
    first = await shop.do(proposal(shop, "2\n"))
    again = await shop.do(proposal(shop, "2\n", run="2"))
    assert (again.status, again.number, again.url) == ("found", first.number, first.url)
    assert states(shop) == ["open"]
    assert await shop.tip(f"{proposal(shop, '2', run='2').commit.branch}") is None


async def test_what_others_have_worked_on_stays_open(shop: Shop) -> None:
    effect = proposal(shop, "2\n")
    first = await shop.do(effect)
    await shop.simulator.push(shop.repo, effect.commit.branch, {"b.py": "1\n"}, shop.alice)
    second = await shop.do(proposal(shop, "3\n"))
    assert states(shop) == ["open", "open"]
    assert f"Others have worked on #{first.number}" in second.message


async def test_a_series_takes_over_from_nothing_else(shop: Shop) -> None:
    await shop.do(wish(shop))
    await shop.simulator.push(shop.repo, f"{SERIES}mine", {"b.py": "1\n"}, shop.alice)
    await shop.simulator.open_pull_request(shop.repo, f"{SERIES}mine", shop.alice)
    await shop.do(proposal(shop, "3\n"))
    assert states(shop) == ["open", "open", "open"]


@pytest.mark.parametrize("cut", ["before", "after"])
@pytest.mark.parametrize("path", ["*/comments", "*/pulls/*", "*/pulls"])
async def test_a_cut_connection_leaves_one_open_and_one_word_about_it(
    shop: Shop, cut: Any, path: str
) -> None:
    await shop.do(proposal(shop, "2\n"))
    await shop.survive(proposal(shop, "3\n"), Fault(path=path, cut=cut))
    assert states(shop) == ["closed", "open"]
    assert len(shop.repo.pulls[0].issue.comments) == 1
