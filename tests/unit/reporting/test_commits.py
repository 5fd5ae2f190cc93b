"""Commits: on the expected head, to our own branches or the pull request's, once."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from bot.reporting.messages import commit_text, headline
from bot.simulator.faults import Fault
from pipelines.model import FileEdit
from tests.unit.reporting.shop import SECRET, Shop, opened


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Shop]:
    async with opened(tmp_path) as shop:
        yield shop


async def test_a_commit_is_made_on_a_new_branch_and_signed(shop: Shop) -> None:
    effect = shop.commit(body="Because it was wrong.")
    receipt = await shop.do(effect)
    assert receipt.status == "done"
    assert receipt.sha == await shop.tip("conductor/fix-1")
    record = await shop.repo.git.commit(receipt.sha or "")
    assert record.parents == (shop.base,)
    subject, _, rest = record.message.partition("\n\n")
    assert (subject, rest.partition("\n\n")[0]) == ("Fix the sum", "Because it was wrong.")
    assert "Conductor-Run: run1" in record.message.splitlines()
    assert record.committer.email == "noreply@github.com"
    paths = {row.path for row in await shop.repo.git.tree(record.sha, recursive=True)}
    assert paths == {"a.py"}
    assert await shop.tip("main") == shop.base


async def test_a_repeat_finds_it_by_its_trailer_also_below_later_commits(shop: Shop) -> None:
    effect = shop.commit()
    first = await shop.do(effect)
    again = await shop.do(effect, repeated=True)
    assert (again.status, again.sha, again.url) == ("found", first.sha, first.url)
    await shop.simulator.push(shop.repo, effect.branch, {"more": "1\n"}, shop.alice)
    later = await shop.do(effect, repeated=True)
    assert (later.status, later.sha) == ("found", first.sha)


async def test_a_trailer_that_somebody_else_wrote_is_not_ours(shop: Shop) -> None:
    effect = shop.commit()
    made = await shop.do(effect)
    message = (await shop.repo.git.commit(made.sha or "")).message
    await shop.repo.git.move_ref(f"refs/heads/{effect.branch}", shop.base)
    await shop.simulator.push(
        shop.repo, effect.branch, {"a.py": "evil\n"}, shop.alice, message=message
    )
    assert (await shop.do(effect, repeated=True)).status == "moved"


async def test_a_head_that_moved_stays_as_it_is(shop: Shop) -> None:
    await shop.simulator.push(shop.repo, "topic", {"a.py": "3\n"}, shop.alice)
    head = await shop.tip("topic") or ""
    pull: dict[str, Any] = {"number": 1, "head_ref": "topic", "head_repository_id": shop.repo.id}
    effect = shop.commit("topic", head_sha=head)
    await shop.simulator.push(shop.repo, "topic", {"a.py": "4\n"}, shop.alice)
    moved = await shop.tip("topic")
    receipt = await shop.do(effect, head_sha=head, **pull)
    assert receipt.status == "moved"
    assert await shop.tip("topic") == moved


async def test_the_pull_requests_own_branch_takes_a_commit_and_is_never_made_anew(
    shop: Shop,
) -> None:
    await shop.simulator.push(shop.repo, "topic", {"a.py": "3\n"}, shop.alice)
    head = await shop.tip("topic") or ""
    pull: dict[str, Any] = {"number": 1, "head_ref": "topic", "head_repository_id": shop.repo.id}
    effect = shop.commit("topic", head_sha=head)
    receipt = await shop.do(effect, head_sha=head, **pull)
    assert (receipt.status, receipt.sha) == ("done", await shop.tip("topic"))
    await shop.repo.git.move_ref("refs/heads/topic", None)
    gone = await shop.do(effect, head_sha=head, **pull)
    assert gone.status == "moved"
    assert await shop.tip("topic") is None


@pytest.mark.parametrize("branch", ["main", "release", "refs/heads/main", "topic"])
async def test_no_other_branch_is_ever_pushed_to(shop: Shop, branch: str) -> None:
    for name in ("release", "topic"):
        await shop.repo.git.move_ref(f"refs/heads/{name}", shop.base)
    before = await shop.repo.git.refs()
    receipt = await shop.do(shop.commit(branch))
    assert receipt.status == "denied"
    assert await shop.repo.git.refs() == before


async def test_a_forks_branch_is_not_pushed_to(shop: Shop) -> None:
    await shop.repo.git.move_ref("refs/heads/topic", shop.base)
    fork: dict[str, Any] = {"number": 1, "head_ref": "topic", "head_repository_id": 5}
    assert (await shop.do(shop.commit("topic"), **fork)).status == "denied"
    assert await shop.tip("topic") == shop.base


async def test_a_default_branch_of_our_own_prefix_is_still_the_default_branch(shop: Shop) -> None:
    receipt = await shop.do(shop.commit("conductor/main"), base_ref="conductor/main")
    assert receipt.status == "denied"
    assert await shop.tip("conductor/main") is None


@pytest.mark.parametrize("cut", ["before", "after"])
@pytest.mark.parametrize("path", ["*/git/refs", "/graphql", "*/git/ref/heads/*"])
async def test_a_cut_connection_leaves_exactly_one_commit(shop: Shop, cut: Any, path: str) -> None:
    effect = shop.commit()
    receipt = await shop.survive(effect, Fault(path=path, cut=cut))
    assert receipt.status in ("done", "found")
    assert await shop.tip(effect.branch) == receipt.sha
    log = await shop.repo.git.log(shop.base, effect.branch)
    assert log == [receipt.sha]


async def test_a_token_holds_what_the_commit_needs_and_nothing_more(shop: Shop) -> None:
    await shop.do(shop.commit())
    asked = shop.permissions_minted()
    assert asked == [{"contents": "write", "metadata": "read"}]
    workflow = FileEdit(path=".github/workflows/ci.yml", content="on: push\n")
    receipt = await shop.do(shop.commit("conductor/ci", edits=(workflow,)))
    assert receipt.status == "done"
    assert shop.permissions_minted()[-1] == {**asked[0], "workflows": "write"}


async def test_a_missing_permission_is_said_not_raised(tmp_path: Path) -> None:
    async with opened(tmp_path, contents="read") as shop:
        receipt = await shop.do(shop.commit())
        assert receipt.status == "denied"
        assert "contents" in receipt.message
        assert await shop.tip("conductor/fix-1") is None


async def test_what_github_refuses_is_said(shop: Shop) -> None:
    gone = FileEdit(path="never-there", content=None)
    receipt = await shop.do(shop.commit(edits=(gone,)))
    assert receipt.status == "denied"
    assert "never-there" in receipt.message


async def test_the_executable_bit_cannot_be_set_and_that_is_said(shop: Shop) -> None:
    script = FileEdit(path="run.sh", content="#!/bin/sh\n", executable=True)
    receipt = await shop.do(shop.commit(edits=(script,)))
    assert receipt.status == "done"
    assert "run.sh" in receipt.message


async def test_a_secret_in_a_file_stays_here(shop: Shop) -> None:
    leak = FileEdit(path="a.py", content=f"PASSWORD = '{SECRET}'\n")
    receipt = await shop.do(shop.commit(edits=(leak,)))
    assert receipt.status == "denied"
    assert SECRET not in receipt.message
    assert await shop.tip("conductor/fix-1") is None
    named = await shop.do(shop.commit(f"conductor/{SECRET}"))
    assert named.status == "denied"
    assert all(SECRET.encode() not in one.request_body for one in shop.wire.exchanges)


async def test_a_secret_in_the_message_is_taken_out(shop: Shop) -> None:
    receipt = await shop.do(shop.commit(headline=f"Use {SECRET}", body=f"It is {SECRET}."))
    message = (await shop.repo.git.commit(receipt.sha or "")).message
    assert message.startswith("Use [redacted]\n\nIt is [redacted].\n\nConductor-Run: run1\n")


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        ("Fixes #12 and closes: acme/shop#3", "Fixes issue #12 and closes: issue acme/shop#3"),
        (
            "resolved https://github.com/a/b/issues/1",
            "resolved issue https://github.com/a/b/issues/1",
        ),
        ("Thanks @alice", "Thanks (at)alice"),
        ("Quick [skip ci] change [ci skip]", "Quick change"),
        ("a\u202eb\u200bc", "abc"),
        ("", "Change files"),
    ],
)
def test_a_headline_says_it_and_does_nothing(typed: str, kept: str) -> None:
    assert headline(typed) == kept


def test_a_message_brings_no_trailers_of_its_own() -> None:
    typed = "Why.\n\nConductor-Run: other\nCo-authored-by: Eve <eve@example.org>\nskip-checks: true"
    assert commit_text(typed) == "Why."
