"""Who brought in a commit, asked of GitHub in one query."""

from typing import Any

import pytest

from bot.github.gateway import GitHub
from bot.github.permissions import PermissionChecker
from bot.github.source import GitHubSource
from pipelines.errors import Ignorable, Retryable
from pipelines.model import Actor, BroughtBy, Contribution, PushTrigger
from tests.support.clock import VirtualClock
from tests.support.github_stub import BOT_ID, REPOSITORY, GitHubStub, Reply, graphql_data
from tests.unit.github.pull_request import BASE, BOT, HEAD

PUSH = PushTrigger(
    repository=REPOSITORY,
    actor=Actor(id=7, login="ada"),
    delivery_id="d-1",
    ref="refs/heads/main",
    before=BASE,
    after=HEAD,
)
FIX = "c" * 40
PULL = {
    "title": "Fix it",
    "merged": True,
    "headRefName": "conductor/fix",
    "isCrossRepository": False,
    "mergeCommit": {"oid": FIX},
    "author": BOT,
    "files": {"nodes": [{"path": "src/a.py"}, None]},
}
COMMIT = {
    "oid": FIX,
    "message": "Fix it\n",
    "author": {"user": {"databaseId": BOT_ID}},
    "associatedPullRequests": {"nodes": [PULL, None]},
}


@pytest.fixture
def source(gateway: GitHub, clock: VirtualClock) -> GitHubSource:
    return GitHubSource(gateway, PermissionChecker(gateway, clock), clock)


def answers(stub: GitHubStub, repository: dict[str, Any] | None) -> None:
    stub.on_graphql("Contributions", graphql_data({"repository": repository}))


async def test_several_commits_are_asked_about_in_one_query_for_the_delivery(
    stub: GitHubStub, source: GitHubSource
) -> None:
    bare = {"oid": HEAD, "message": "", "author": None, "associatedPullRequests": None}
    answers(stub, {"databaseId": 100, "c0": COMMIT, "c1": None, "c2": bare})
    assert await source.contributions(PUSH, (FIX, BASE, HEAD)) == [
        Contribution(
            sha=FIX,
            message="Fix it\n",
            author_id=BOT_ID,
            pulls=(
                BroughtBy(
                    title="Fix it",
                    author=Actor(id=BOT_ID, login=str(BOT["login"]), type="Bot"),
                    head_ref="conductor/fix",
                    from_fork=False,
                    merged=True,
                    merge_sha=FIX,
                    paths=("src/a.py",),
                ),
            ),
        ),
        Contribution(sha=HEAD, message=""),
    ]
    (seen,) = stub.operations("Contributions")
    assert seen.headers["x-github-delivery"] == "d-1"
    assert [seen.json["variables"][name] for name in ("o0", "o1", "o2")] == [FIX, BASE, HEAD]


async def test_an_id_that_is_no_commit_is_left_out(stub: GitHubStub, source: GitHubSource) -> None:
    answers(stub, {"databaseId": 100, "c0": {}})
    assert await source.contributions(PUSH, (FIX,)) == []


async def test_what_is_not_there_is_left_out_though_github_calls_it_an_error(
    stub: GitHubStub, source: GitHubSource
) -> None:
    error = {"type": "NOT_FOUND", "path": ["repository", "c0"], "message": "no"}
    data = {"repository": {"databaseId": 100, "c0": None, "c1": COMMIT}}
    stub.on_graphql("Contributions", Reply({"data": data, "errors": [error]}))
    (found,) = await source.contributions(PUSH, (BASE, FIX))
    assert found.sha == FIX


@pytest.mark.parametrize("repository", [None, {"databaseId": 101, "c0": COMMIT}])
async def test_a_repository_that_is_gone_or_another_one_tells_nothing(
    stub: GitHubStub, source: GitHubSource, repository: dict[str, Any] | None
) -> None:
    answers(stub, repository)
    with pytest.raises(Ignorable, match="is gone"):
        await source.contributions(PUSH, (FIX,))


async def test_an_impossible_answer_is_a_passing_fault(
    stub: GitHubStub, source: GitHubSource
) -> None:
    answers(stub, {"databaseId": 100, "c0": {**COMMIT, "message": 5}})
    with pytest.raises(Retryable, match="a commit does not fit at message"):
        await source.contributions(PUSH, (FIX,))
