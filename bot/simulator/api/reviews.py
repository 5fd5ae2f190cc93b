"""Reviews and review comments."""

from typing import Literal

from pydantic import Field

from bot.simulator.diff import FileDiff
from bot.simulator.errors import invalid, not_found
from bot.simulator.protocol import Answer, Body, Call, Operation
from bot.simulator.reviewing import (
    EVENTS,
    UNPROCESSABLE,
    Place,
    check_event,
    files_at,
    own_review,
    pending_of,
    placed,
    publish,
    reply,
    thread_of,
)
from bot.simulator.state import Account, PullRequest, Repository, Review, ReviewComment, Thread
from bot.simulator.views import pulls
from bot.simulator.world import World

ReviewEvent = Literal["APPROVE", "REQUEST_CHANGES", "COMMENT"]
SideWord = Literal["LEFT", "RIGHT"]


class DraftComment(Body):
    """A comment of a new review: by line and side, or by the old position."""

    path: str
    body: str
    position: int | None = None
    line: int | None = None
    side: SideWord = "RIGHT"
    start_line: int | None = None
    start_side: SideWord | None = None


class NewReview(Body):
    """A new review; without ``event`` it stays pending."""

    commit_id: str | None = None
    body: str = ""
    event: ReviewEvent | None = None
    comments: list[DraftComment] = Field(default_factory=list[DraftComment])


class Submission(Body):
    """How a pending review is submitted."""

    event: ReviewEvent
    body: str | None = None


class NewComment(DraftComment):
    """A single comment, or a reply."""

    path: str = ""
    commit_id: str = ""
    in_reply_to: int | None = None


class Words(Body):
    """A text."""

    body: str


def _place(comment: DraftComment, file: FileDiff | None) -> Place:
    if comment.line is not None:
        return Place(
            comment.path, comment.line, comment.side, comment.start_line, comment.start_side
        )
    rows = file.rows if file else []
    row = next((row for row in rows if row.position == comment.position), None)
    if row is None:
        raise invalid(UNPROCESSABLE, "Position could not be resolved")
    if row.right is not None:
        return Place(comment.path, row.right)
    assert row.left is not None
    return Place(comment.path, row.left, "LEFT")


async def make_review(
    world: World, repo: Repository, pull: PullRequest, new: NewReview, author: Account
) -> Review:
    """Store a review with its comments, all or nothing; raises Refused (422)."""
    if pending_of(pull, author):
        raise invalid(UNPROCESSABLE, "User can only have one pending review per pull request")
    if new.event:
        check_event(pull, author, new.event, new.body, len(new.comments))
    commit = new.commit_id or pull.head_sha
    files = await files_at(world, repo, pull, commit)
    state = EVENTS[new.event] if new.event else "PENDING"
    review = Review(world.next_id(), author, new.body, state, commit, world.now(), None)
    for one in new.comments:
        file = files.get(one.path)
        place = _place(one, file)
        review.drafts.append(placed(world, review, one.body, place, file))
    pull.reviews.append(review)
    if new.event:
        await publish(world, repo, pull, review)
    return review


async def create_review(call: Call) -> Answer:
    """A review of one commit."""
    review = await make_review(call.world, call.repo, call.pull, call.read(NewReview), call.actor)
    return _answer(call, review)


def _answer(call: Call, review: Review) -> Answer:
    return Answer(pulls.review(call.world, call.repo, call.pull, review))


async def list_reviews(call: Call) -> Answer:
    """Reviews in order of creation; pending ones only for their author."""
    pull = call.pull
    visible = [r for r in pull.reviews if r.state != "PENDING" or r.user is call.actor]
    return call.page(visible, lambda one: pulls.review(call.world, call.repo, pull, one))


async def get_review(call: Call) -> Answer:
    """One review."""
    return _answer(call, own_review(call.pull, call.number("review_id"), call.actor))


async def submit_review(call: Call) -> Answer:
    """Submit a pending review."""
    body, pull = call.read(Submission), call.pull
    review = own_review(pull, call.number("review_id"), call.actor)
    if review.state != "PENDING":
        raise invalid(UNPROCESSABLE, "Can not submit a review that is not pending")
    words = review.body if body.body is None else body.body
    check_event(pull, call.actor, body.event, words, len(review.drafts))
    review.body, review.state = words, EVENTS[body.event]
    await publish(call.world, call.repo, pull, review)
    return _answer(call, review)


async def delete_review(call: Call) -> Answer:
    """Discard a pending review."""
    review = own_review(call.pull, call.number("review_id"), call.actor)
    if review.state != "PENDING":
        raise invalid(UNPROCESSABLE, "Can not delete a non-pending pull request review")
    call.pull.reviews.remove(review)
    return _answer(call, review)


async def update_review(call: Call) -> Answer:
    """Change a review's summary."""
    review = own_review(call.pull, call.number("review_id"), call.actor)
    if review.user is not call.actor:
        raise not_found()
    review.body = call.read(Words).body
    return _answer(call, review)


async def list_comments(call: Call) -> Answer:
    """Every comment on the diff, oldest first."""
    pull = call.pull
    return call.page(pull.comments(), lambda one: pulls.comment(call.world, call.repo, pull, one))


async def create_comment(call: Call) -> Answer:
    """One comment on the diff, or with ``in_reply_to`` a reply."""
    body, pull, repo, world = call.read(NewComment), call.pull, call.repo, call.world
    if body.in_reply_to is not None:
        thread = thread_of(pull, body.in_reply_to)
        made = await reply(world, repo, pull, thread, author=call.actor, body=body.body)
        return Answer(pulls.comment(world, repo, pull, made), status=201)
    file = (await files_at(world, repo, pull, body.commit_id)).get(body.path)
    now, actor = world.now(), call.actor
    review = Review(world.next_id(), actor, "", "COMMENTED", body.commit_id, now, None)
    made = placed(world, review, body.body, _place(body, file), file)
    review.drafts.append(made)
    pull.reviews.append(review)
    await publish(world, repo, pull, review)
    return Answer(pulls.comment(world, repo, pull, made), status=201)


async def create_reply(call: Call) -> Answer:
    """A reply to a thread's first comment."""
    pull = call.pull
    thread = thread_of(pull, call.number("comment_id"))
    body = call.read(Words).body
    made = await reply(call.world, call.repo, pull, thread, author=call.actor, body=body)
    return Answer(pulls.comment(call.world, call.repo, pull, made), status=201)


def find_comment(call: Call) -> tuple[PullRequest, Thread, ReviewComment]:
    """The comment in the path, wherever in the repository it is."""
    wanted = call.number("comment_id")
    for pull in call.repo.pulls:
        for thread in pull.threads:
            for comment in thread.comments:
                if comment.id == wanted:
                    return pull, thread, comment
    raise not_found()


async def get_comment(call: Call) -> Answer:
    """One comment on the diff."""
    pull, _, comment = find_comment(call)
    return Answer(pulls.comment(call.world, call.repo, pull, comment))


async def update_comment(call: Call) -> Answer:
    """Change a comment; only its author's App may."""
    pull, _, comment = find_comment(call)
    if comment.user is not call.actor:
        raise not_found()
    comment.body = call.read(Words).body
    comment.updated_at = comment.edited_at = call.world.now()
    return Answer(pulls.comment(call.world, call.repo, pull, comment))


async def delete_comment(call: Call) -> Answer:
    """Remove a comment; a thread without comments is gone."""
    pull, thread, comment = find_comment(call)
    if comment.user is not call.actor:
        raise not_found()
    thread.comments.remove(comment)
    if not thread.comments:
        pull.threads.remove(thread)
    return Answer(status=204)


_READ, _WRITE = ("pull_requests=read",), ("pull_requests=write",)
_PULL = "/repos/{owner}/{repo}/pulls/{number}"
_COMMENT = "/repos/{owner}/{repo}/pulls/comments/{comment_id}"

OPERATIONS = (
    Operation("GET", f"{_PULL}/reviews", list_reviews, _READ),
    Operation("POST", f"{_PULL}/reviews", create_review, _WRITE, creates=True),
    Operation("GET", f"{_PULL}/reviews/{{review_id}}", get_review, _READ),
    Operation("PUT", f"{_PULL}/reviews/{{review_id}}", update_review, _WRITE),
    Operation("DELETE", f"{_PULL}/reviews/{{review_id}}", delete_review, _WRITE),
    Operation("POST", f"{_PULL}/reviews/{{review_id}}/events", submit_review, _WRITE),
    Operation("GET", f"{_PULL}/comments", list_comments, _READ),
    Operation("POST", f"{_PULL}/comments", create_comment, _WRITE, creates=True),
    Operation(
        "POST", f"{_PULL}/comments/{{comment_id}}/replies", create_reply, _WRITE, creates=True
    ),
    Operation("GET", _COMMENT, get_comment, _READ),
    Operation("PATCH", _COMMENT, update_comment, _WRITE),
    Operation("DELETE", _COMMENT, delete_comment, _WRITE),
)
