from typing import Any, Literal

import pytest

from bot.reporting.publisher import GitHubReporter
from pipelines.model import PostComment, React
from tests.support.github_stub import GitHubStub, Reply, graphql_data
from tests.unit.reporting.samples import BOT, PERSON, run

COMMENTS = "/repos/octo/shop/issues/5/comments"
MINT = "/app/installations/9/access_tokens"


def comment(body: str = "@ada: done.", number: int = 5) -> PostComment:
    return PostComment(number=number, body=body, reason="command/1234")


@pytest.fixture(autouse=True)
def routes(stub: GitHubStub) -> None:
    stub.on("POST", COMMENTS, Reply({"html_url": "https://x/c1"}, 201))


def posted(stub: GitHubStub) -> str:
    (seen,) = stub.calls("POST", COMMENTS)
    return seen.json["body"]


async def test_a_comment_carries_its_key_and_addresses_who_asked(
    stub: GitHubStub, reporter: GitHubReporter
) -> None:
    receipt = await reporter.carry_out(run(), comment(), repeated=False)
    assert posted(stub) == "@ada: done.\n\n<!-- conductor:key comment/5/command/1234 -->"
    assert (receipt.status, receipt.url) == ("done", "https://x/c1")


async def test_nobody_else_is_mentioned_and_nobody_twice(
    stub: GitHubStub, reporter: GitHubReporter
) -> None:
    await reporter.carry_out(run(), comment("@ada and @bob, @ada!"), repeated=False)
    assert posted(stub).startswith("@ada and `@bob,` `@ada!`")


async def test_our_own_tables_stay_tables(stub: GitHubStub, reporter: GitHubReporter) -> None:
    table = "| a | b |\n| --- | --- |\n| `x` | **y** https://evil.example |"
    await reporter.carry_out(run(), comment(table), repeated=False)
    assert posted(stub).startswith(
        "| a | b |\n| --- | --- |\n| `x` | **y** `https://evil.example` |"
    )


async def test_an_indented_quotation_becomes_a_block_it_cannot_leave(
    stub: GitHubStub, reporter: GitHubReporter
) -> None:
    await reporter.carry_out(
        run(), comment("It reads:\n\n    @bob\n    ```\n\nEnd."), repeated=False
    )
    assert "````\n@bob\n```\n````" in posted(stub)


@pytest.mark.parametrize(("author", "posts"), [(BOT, 0), (PERSON, 1), (None, 1)])
async def test_a_repeated_comment_is_looked_up_by_key_and_author(
    stub: GitHubStub, reporter: GitHubReporter, author: Any, posts: int
) -> None:
    body = "x <!-- conductor:key comment/5/command/1234 -->"
    nodes = [{"author": author, "body": body, "url": "https://x/c0"}, None]
    found = {"issueOrPullRequest": {"comments": {"nodes": nodes}}}
    stub.on_graphql("Conversation", graphql_data({"repository": found}))
    receipt = await reporter.carry_out(run(), comment(), repeated=True)
    assert len(stub.calls("POST", COMMENTS)) == posts
    assert receipt.status == ("done" if posts else "found")


async def test_an_issue_is_written_to_with_the_permission_for_issues(
    stub: GitHubStub, reporter: GitHubReporter
) -> None:
    stub.on("POST", "/repos/octo/shop/issues/6/comments", Reply({}, 201))
    await reporter.carry_out(run(), comment(number=6), repeated=False)
    (mint,) = stub.calls("POST", MINT)
    assert mint.json["permissions"] == {"issues": "write", "metadata": "read"}


@pytest.mark.parametrize(
    ("kind", "path"), [("issue", "issues/comments/3"), ("review", "pulls/comments/3")]
)
async def test_a_reaction_goes_to_its_comment(
    stub: GitHubStub, reporter: GitHubReporter, kind: Literal["issue", "review"], path: str
) -> None:
    stub.on("POST", f"/repos/octo/shop/{path}/reactions", Reply({"id": 1}))
    effect = React(comment_id=3, comment_kind=kind, content="eyes")
    receipt = await reporter.carry_out(run(), effect, repeated=True)
    assert receipt.status == "done"


@pytest.mark.parametrize(("status", "became"), [(404, "found"), (403, "denied")])
async def test_a_reaction_that_is_impossible_is_no_failure(
    stub: GitHubStub, reporter: GitHubReporter, status: int, became: str
) -> None:
    reply = Reply({"message": "Resource not accessible by integration"}, status)
    stub.on("POST", "/repos/octo/shop/issues/comments/3/reactions", reply)
    receipt = await reporter.carry_out(run(), React(comment_id=3, content="rocket"), repeated=False)
    assert receipt.status == became
