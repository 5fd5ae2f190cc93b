"""GitHub's rules for reviews: where a comment may stand, who may say what, what threads do."""

from dataclasses import dataclass

from bot.simulator import events
from bot.simulator.branches import carry_comments
from bot.simulator.diff import FileDiff, Row, Side, between
from bot.simulator.errors import Refused, invalid, not_found
from bot.simulator.state import (
    Account,
    PullRequest,
    Repository,
    Review,
    ReviewComment,
    ReviewState,
    Thread,
)
from bot.simulator.world import World

UNPROCESSABLE = "Unprocessable Entity"
EVENTS: dict[str, ReviewState] = {
    "APPROVE": "APPROVED",
    "REQUEST_CHANGES": "CHANGES_REQUESTED",
    "COMMENT": "COMMENTED",
}


@dataclass(frozen=True, slots=True)
class Place:
    """Where a comment shall stand: a line of one side, or the first and last of several."""

    path: str
    line: int
    side: Side = "RIGHT"
    start_line: int | None = None
    start_side: Side | None = None


async def files_at(
    world: World, repo: Repository, pull: PullRequest, commit: str
) -> dict[str, FileDiff]:
    """The diff that a comment on a commit is checked against; 422 for a foreign commit."""
    known = {*pull.heads, *await repo.git.log(pull.base_sha, pull.head_sha)}
    if commit not in known:
        raise invalid(UNPROCESSABLE, "commit_id is not part of the pull request")
    base = await repo.git.merge_base(pull.base_sha, commit) or pull.base_sha
    return {file.path: file for file in await between(repo.git, base, commit)}


def _rows(file: FileDiff | None, place: Place) -> tuple[Row, Row | None]:
    if file is None:
        raise invalid(UNPROCESSABLE, "Path could not be resolved")
    last = file.find(place.side, place.line)
    if last is None:
        raise invalid(UNPROCESSABLE, "Pull request review thread line must be part of the diff")
    if place.start_line is None:
        return last, None
    start_side = place.start_side or place.side
    first = file.find(start_side, place.start_line)
    if first is None:
        words = "Pull request review thread start line must be part of the same hunk as the line."
        raise invalid(UNPROCESSABLE, words)
    if first.position >= last.position:
        words = "Pull request review thread start line must precede the end line."
        raise invalid(UNPROCESSABLE, words)
    if first.hunk != last.hunk:
        words = "Pull request review thread start line must be part of the same hunk as the line."
        raise invalid(UNPROCESSABLE, words)
    return last, first


def placed(
    world: World, review: Review, body: str, place: Place, file: FileDiff | None
) -> ReviewComment:
    """A comment on a line of the diff; raises Refused (422) where the diff does not show it."""
    if not body.strip():
        raise invalid(UNPROCESSABLE, "Body can't be blank")
    last, first = _rows(file, place)
    assert file is not None
    now = world.now()
    return ReviewComment(
        id=world.next_id(),
        review_id=review.id,
        user=review.user,
        body=body,
        path=place.path,
        side=place.side,
        start_side=(place.start_side or place.side) if first else None,
        original_line=place.line,
        original_start_line=place.start_line,
        original_position=last.position,
        original_commit=review.commit,
        diff_hunk=file.hunk_until(last),
        created_at=now,
        updated_at=now,
        line=place.line,
        start_line=place.start_line,
        position=last.position,
        commit=review.commit,
    )


def check_event(pull: PullRequest, author: Account, event: str, body: str, comments: int) -> None:
    """Refuse what GitHub refuses: judging one's own work, and a review without a word."""
    own = author is pull.issue.user
    if own and event == "APPROVE":
        raise invalid(UNPROCESSABLE, "Review Can not approve your own pull request")
    if own and event == "REQUEST_CHANGES":
        raise invalid(UNPROCESSABLE, "Review Can not request changes on your own pull request")
    if not body.strip() and (event == "REQUEST_CHANGES" or (event == "COMMENT" and not comments)):
        raise invalid(UNPROCESSABLE, "Review body can't be blank")


async def publish(world: World, repo: Repository, pull: PullRequest, review: Review) -> None:
    """Make a review and its comments visible, and announce them."""
    review.submitted_at = world.now()
    drafts, review.drafts = review.drafts, []
    pull.threads += [Thread(world.next_id(), [comment]) for comment in drafts]
    if review.commit != pull.head_sha:
        await carry_comments(
            world, repo, pull, drafts, old_head=review.commit, old_base_tip=pull.base_sha
        )
    pull.issue.updated_at = world.now()
    events.review(world, repo, pull, review, review.user)
    for comment in drafts:
        events.review_comment(world, repo, pull, comment, review.user)


def thread_of(pull: PullRequest, comment_id: int) -> Thread:
    """The thread of a comment; 404 if there is none."""
    for thread in pull.threads:
        if any(comment.id == comment_id for comment in thread.comments):
            return thread
    raise not_found()


async def reply(
    world: World, repo: Repository, pull: PullRequest, thread: Thread, *, author: Account, body: str
) -> ReviewComment:
    """Add to a thread; GitHub wraps each reply in a review of its own."""
    if not body.strip():
        raise invalid("Validation Failed", "body can't be blank")
    now, first = world.now(), thread.first
    review = Review(world.next_id(), author, "", "COMMENTED", pull.head_sha, now, now)
    comment = ReviewComment(
        id=world.next_id(),
        review_id=review.id,
        user=author,
        body=body,
        path=first.path,
        side=first.side,
        start_side=first.start_side,
        original_line=first.original_line,
        original_start_line=first.original_start_line,
        original_position=first.original_position,
        original_commit=first.original_commit,
        diff_hunk=first.diff_hunk,
        created_at=now,
        updated_at=now,
        line=first.line,
        start_line=first.start_line,
        position=first.position,
        commit=first.commit,
        in_reply_to=first.id,
    )
    pull.reviews.append(review)
    thread.comments.append(comment)
    pull.issue.updated_at = now
    events.review(world, repo, pull, review, author)
    events.review_comment(world, repo, pull, comment, author)
    return comment


def set_resolved(
    world: World,
    repo: Repository,
    pull: PullRequest,
    thread: Thread,
    by: Account,
    *,
    resolved: bool,
) -> None:
    """Resolve or reopen a thread; doing it twice changes nothing."""
    if (thread.resolved_by is not None) == resolved:
        return
    thread.resolved_by = by if resolved else None
    action = "resolved" if resolved else "unresolved"
    events.thread(world, repo, pull, thread, action=action, sender=by)


def pending_of(pull: PullRequest, author: Account) -> Review | None:
    """An author's review that is not submitted yet."""
    mine = (r for r in pull.reviews if r.user is author and r.state == "PENDING")
    return next(mine, None)


def own_review(pull: PullRequest, review_id: int, actor: Account) -> Review:
    """A review in the path that the caller may see."""
    for review in pull.reviews:
        if review.id == review_id and (review.state != "PENDING" or review.user is actor):
            return review
    raise Refused(404, "Not Found")
