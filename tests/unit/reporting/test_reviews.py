from typing import Any

import pytest

from bot.github.errors import Invalid, NotFound
from bot.reporting.publisher import GitHubReporter
from pipelines.errors import Ambiguous
from pipelines.model import Coverage, Severity, Unseen
from tests.support.github_stub import GitHubStub, Reply, Seen, graphql_data
from tests.unit.reporting.samples import BOT, HEAD, PERSON, answer, finding, review, run

REVIEWS = "/repos/octo/shop/pulls/5/reviews"
REPLIES = "/repos/octo/shop/pulls/5/comments/900/replies"


def pull(*reviews: Any, **fields: Any) -> Reply:
    found = {"headRefOid": HEAD, "state": "OPEN", "reviews": {"nodes": reviews}, **fields}
    return graphql_data({"repository": {"pullRequest": found}})


@pytest.fixture(autouse=True)
def routes(stub: GitHubStub) -> None:
    stub.on_graphql("OwnReviews", pull())
    stub.on("POST", REVIEWS, Reply({"id": 1, "html_url": "https://github.example/r1"}))
    stub.on("POST", REPLIES, Reply({"id": 2, "html_url": "https://github.example/c2"}, 201))
    stub.on_graphql("Resolve", graphql_data({"resolveReviewThread": {"thread": {"id": "x"}}}))


def posted(stub: GitHubStub) -> Any:
    (seen,) = stub.calls("POST", REVIEWS)
    return seen.json


async def test_a_review_is_one_comment_review_pinned_to_the_head(
    stub: GitHubStub, reporter: GitHubReporter
) -> None:
    receipt = await reporter.carry_out(run(), review(finding()), repeated=False)
    assert (receipt.status, receipt.url) == ("done", "https://github.example/r1")
    body = posted(stub)
    assert (body["commit_id"], body["event"]) == (HEAD, "COMMENT")
    (comment,) = body["comments"]
    assert (comment["path"], comment["line"], comment["side"]) == ("src/a.py", 3, "RIGHT")
    assert "start_line" not in comment
    assert comment["body"].startswith("**Off by one**\n\n`high` · correctness\n\nThe loop")
    assert comment["body"].endswith("<!-- conductor:finding f00dfeed high.1a2b3c4d -->")
    assert f"<!-- conductor:key review/5/{HEAD} -->" in body["body"]
    assert "[run](https://conductor.example/runs/run1)" in body["body"]


async def test_a_finding_over_several_lines_names_both_ends(
    stub: GitHubStub, reporter: GitHubReporter
) -> None:
    old = finding(start_line=3, line=7, side="LEFT")
    await reporter.carry_out(run(), review(old), repeated=False)
    (comment,) = posted(stub)["comments"]
    assert (comment["start_line"], comment["line"]) == (3, 7)
    assert (comment["start_side"], comment["side"]) == ("LEFT", "LEFT")


async def test_a_suggestion_is_offered_behind_a_fence_it_cannot_close(
    stub: GitHubStub, reporter: GitHubReporter
) -> None:
    one = finding(suggestion="x = '''\n````\n'''")
    await reporter.carry_out(run(), review(one), repeated=False)
    (comment,) = posted(stub)["comments"]
    assert "`````suggestion\nx = '''\n````\n'''\n`````" in comment["body"]


@pytest.mark.parametrize(
    "unfit",
    [
        {"suggestion": "password = 'hunter_2'"},
        {"suggestion": "x = 1", "side": "LEFT"},
        {"suggestion": "/approve\nx = 1"},
        {"suggestion": "x\u202e = 1"},
    ],
)
async def test_a_suggestion_that_cannot_be_shown_as_it_is_is_not_offered(
    stub: GitHubStub, reporter: GitHubReporter, unfit: dict[str, Any]
) -> None:
    await reporter.carry_out(run(), review(finding(**unfit)), repeated=False)
    (comment,) = posted(stub)["comments"]
    assert "suggestion" not in comment["body"]


async def test_what_the_diff_cannot_carry_goes_in_the_body_with_its_evidence(
    stub: GitHubStub, reporter: GitHubReporter
) -> None:
    outside = finding(in_diff=False, fingerprint="beef0001", path="src/b c.py", line=9)
    await reporter.carry_out(run(), review(finding(), outside), repeated=False)
    body = posted(stub)
    assert len(body["comments"]) == 1
    assert "`src/b c.py` lines 3 to 9" in body["body"]
    assert "```py\nfor i in range(n - 1):\n```" in body["body"]
    marker = "<!-- conductor:finding beef0001 high.1a2b3c4d in src/b%20c.py -->"
    assert marker in body["body"]


async def test_the_most_severe_finding_comes_first(
    stub: GitHubStub, reporter: GitHubReporter
) -> None:
    mild = finding(severity=Severity.LOW, title="Mild")
    await reporter.carry_out(run(), review(mild, finding(title="Grave")), repeated=False)
    first, second = posted(stub)["comments"]
    assert "Grave" in first["body"]
    assert "Mild" in second["body"]


async def test_what_was_not_seen_is_named(stub: GitHubStub, reporter: GitHubReporter) -> None:
    coverage = Coverage(
        seen=("a", "b"),
        partial=(Unseen(path="c", reason="too long"),),
        unseen=(Unseen(path="d|`x`", reason="budget spent @ada"),),
        ignored=(Unseen(path="e.lock", reason="ignored"),),
    )
    await reporter.carry_out(run(), review(coverage=coverage, dropped=2), repeated=False)
    body = posted(stub)["body"]
    assert "Looked at 2 of 4 files." in body
    assert "- `c`: too long" in body
    assert "- `` d|`x` ``: budget spent `@ada`" in body
    assert "<summary>Left out by configuration: 1</summary>" in body
    assert "2 further remarks of the model did not survive verification." in body


async def test_secrets_are_gone_before_and_after_rendering(
    stub: GitHubStub, reporter: GitHubReporter
) -> None:
    leak = finding(
        title="uses hunter_2", explanation="it is hunter_2", quote="hunter_2", in_diff=False
    )
    effect = review(leak, finding(path="hunter_2.py"), summary="key hunter_2")
    await reporter.carry_out(run(), effect, repeated=False)
    text = stub.calls("POST", REVIEWS)[0].body.decode()
    assert "hunter" not in text
    assert "redacted" in text


async def test_a_comment_that_github_refuses_moves_everything_to_the_body_once(
    stub: GitHubStub, reporter: GitHubReporter
) -> None:
    refusal = Reply({"message": "Unprocessable Entity", "errors": ["Line must be in diff"]}, 422)
    stub.on("POST", REVIEWS, refusal, Reply({"html_url": "https://github.example/r2"}))
    receipt = await reporter.carry_out(run(), review(finding()), repeated=False)
    first, second = stub.calls("POST", REVIEWS)
    assert len(first.json["comments"]) == 1
    assert second.json["comments"] == []
    assert "Off by one" in second.json["body"]
    assert receipt.status == "done"
    assert "in the review's text" in receipt.message


async def test_a_review_refused_for_good_is_not_tried_for_ever(
    stub: GitHubStub, reporter: GitHubReporter
) -> None:
    stub.on("POST", REVIEWS, Reply({"message": "Validation Failed"}, 422))
    with pytest.raises(Invalid):
        await reporter.carry_out(run(), review(finding()), repeated=False)
    assert len(stub.calls("POST", REVIEWS)) == 2


@pytest.mark.parametrize(
    ("fields", "message"),
    [({"headRefOid": "c" * 40}, "The head is cccccccccc now."), ({"state": "MERGED"}, "closed")],
)
async def test_nothing_is_written_once_the_head_has_moved(
    stub: GitHubStub, reporter: GitHubReporter, fields: dict[str, str], message: str
) -> None:
    stub.on_graphql("OwnReviews", pull(**fields))
    receipt = await reporter.carry_out(run(), review(finding()), repeated=False)
    assert receipt.status == "moved"
    assert message in receipt.message
    assert stub.calls("POST", REVIEWS) == []


async def test_a_review_is_found_again_by_its_marker_and_our_own_id(
    stub: GitHubStub, reporter: GitHubReporter
) -> None:
    stub.on("POST", REVIEWS, Reply(cut=True))
    with pytest.raises(Ambiguous):
        await reporter.carry_out(run(), review(finding()), repeated=False)
    text = posted(stub)["body"]
    stub.on_graphql("OwnReviews", pull({"author": BOT, "body": text, "url": "https://x/r9"}))
    receipt = await reporter.carry_out(run(), review(finding()), repeated=True)
    assert (receipt.status, receipt.url) == ("found", "https://x/r9")
    assert len(stub.calls("POST", REVIEWS)) == 1


async def test_a_marker_that_somebody_else_wrote_stops_no_review(
    stub: GitHubStub, reporter: GitHubReporter
) -> None:
    body = f"<!-- conductor:key review/5/{HEAD} -->"
    forged = [{"author": PERSON, "body": body, "url": "u"}, {"author": None, "body": body}]
    stub.on_graphql("OwnReviews", pull(*forged))
    receipt = await reporter.carry_out(run(), review(finding()), repeated=True)
    assert receipt.status == "done"


async def test_a_pull_request_that_is_gone_is_said_to_be(
    stub: GitHubStub, reporter: GitHubReporter
) -> None:
    stub.on_graphql("OwnReviews", graphql_data({"repository": {"pullRequest": None}}))
    with pytest.raises(NotFound):
        await reporter.carry_out(run(), review(finding()), repeated=False)


async def test_a_review_too_long_for_github_is_cut_at_a_whole_finding(
    stub: GitHubStub, reporter: GitHubReporter
) -> None:
    many = [
        finding(in_diff=False, fingerprint=f"f{n:07d}", explanation="é" * 3900) for n in range(40)
    ]
    await reporter.carry_out(run(), review(*many), repeated=False)
    body = posted(stub)["body"]
    assert len(body.encode()) <= 65_535
    assert "more parts did not fit here" in body
    assert f"<!-- conductor:key review/5/{HEAD} -->" in body


# --- answers ---------------------------------------------------------------------------------


async def test_a_fixed_finding_is_answered_and_its_thread_resolved(
    stub: GitHubStub, reporter: GitHubReporter
) -> None:
    receipt = await reporter.carry_out(run(), answer(), repeated=False)
    (reply,) = stub.calls("POST", REPLIES)
    assert reply.json["body"] == f"Fixed in {HEAD}.\n\n<!-- conductor:fixed f00dfeed -->"
    assert stub.operations("Resolve")[0].json["variables"] == {"thread": "PRRT_1"}
    assert (receipt.status, receipt.message) == ("done", "")


async def test_without_the_permission_the_answer_alone_is_fine_and_said(
    stub: GitHubStub, reporter: GitHubReporter
) -> None:
    def mint(seen: Seen) -> Reply:
        if seen.json["permissions"].get("contents") == "write":
            return Reply({"message": "The permissions requested are not granted"}, 422)
        return stub.mint(seen)

    stub.on("POST", "/app/installations/9/access_tokens", mint)
    stub.on(
        "GET",
        "/app/installations/9",
        Reply({"permissions": {"contents": "read", "metadata": "read", "pull_requests": "write"}}),
    )
    receipt = await reporter.carry_out(run(), answer(), repeated=False)
    assert receipt.status == "done"
    assert "Contents: write" in receipt.message
    assert stub.operations("Resolve") == []


async def test_a_thread_that_cannot_be_resolved_now_stays_answered(
    stub: GitHubStub, reporter: GitHubReporter
) -> None:
    stub.on_graphql("Resolve", Reply({"message": "oops"}, 502))
    receipt = await reporter.carry_out(run(), answer(), repeated=False)
    assert receipt.status == "done"
    assert "not resolved" in receipt.message


@pytest.mark.parametrize(("who", "replies"), [(BOT, 0), (PERSON, 1)])
async def test_a_repeated_answer_looks_for_the_first_one(
    stub: GitHubStub, reporter: GitHubReporter, who: Any, replies: int
) -> None:
    comments = [{"author": who, "body": "<!-- conductor:fixed f00dfeed -->"}]
    stub.on_graphql("Thread", graphql_data({"node": {"comments": {"nodes": comments}}}))
    await reporter.carry_out(run(), answer(), repeated=True)
    assert len(stub.calls("POST", REPLIES)) == replies
    assert len(stub.operations("Resolve")) == 1


async def test_a_comment_that_was_deleted_needs_no_answer(
    stub: GitHubStub, reporter: GitHubReporter
) -> None:
    stub.on("POST", REPLIES, Reply({"message": "Not Found"}, 404))
    receipt = await reporter.carry_out(run(), answer(), repeated=False)
    assert (receipt.status, receipt.message) == ("found", "The comment is gone.")


async def test_a_finding_without_a_thread_is_answered_nowhere(
    stub: GitHubStub, reporter: GitHubReporter
) -> None:
    effect = answer(thread_id="review:f00dfeed", comment_id=0)
    receipt = await reporter.carry_out(run(), effect, repeated=False)
    assert receipt.status == "found"
    assert stub.seen == []
