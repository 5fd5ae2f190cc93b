"""Pull requests, issues, reviews and threads as GraphQL nodes."""

from collections.abc import Callable
from typing import Any

from bot.simulator.diff import FileDiff, between
from bot.simulator.graph.objects import actor, commit, demand, find_ref
from bot.simulator.graph.paging import Info, connection
from bot.simulator.protocol import Call
from bot.simulator.state import (
    Comment,
    Issue,
    PullRequest,
    Reaction,
    Renaming,
    Repository,
    Review,
    ReviewComment,
    Thread,
)
from bot.simulator.views import repositories
from bot.simulator.world import Json, node_id, stamp

CONTENTS = {
    "+1": "THUMBS_UP",
    "-1": "THUMBS_DOWN",
    "laugh": "LAUGH",
    "confused": "CONFUSED",
    "heart": "HEART",
    "hooray": "HOORAY",
    "rocket": "ROCKET",
    "eyes": "EYES",
}
_CHANGES = {"removed": "DELETED"}


def _page(call: Call, repo: Repository, kind: str, number: int, anchor: str = "") -> str:
    return f"{repositories.html_url(call.world, repo)}/{kind}/{number}{anchor}"


def _numbered(prefix: str, number: int) -> Json:
    """The three identifiers; BigInt is sent as a string."""
    return {"id": node_id(prefix, number), "databaseId": number, "fullDatabaseId": str(number)}


def _labels(issue: Issue) -> Callable[..., Json]:
    return connection(
        issue.labels,
        lambda one: {"id": node_id("LA", one.id), "name": one.name, "color": one.color},
    )


def issue_comment(call: Call, repo: Repository, issue: Issue, record: Comment) -> Json:
    """A comment in a conversation."""
    edited = record.updated_at if record.updated_at != record.created_at else None
    kind = "pull" if issue.pull else "issues"
    return {
        "__typename": "IssueComment",
        **_numbered("IC", record.id),
        "author": actor(call, record.user),
        "body": record.body,
        "createdAt": stamp(record.created_at),
        "lastEditedAt": stamp(edited),
        "url": _page(call, repo, kind, issue.number, f"#issuecomment-{record.id}"),
    }


def _conversation(call: Call, repo: Repository, issue: Issue) -> Json:
    return {
        "number": issue.number,
        "title": issue.title,
        "body": issue.body or "",
        "author": actor(call, issue.user),
        "createdAt": stamp(issue.created_at),
        "labels": _labels(issue),
        "comments": connection(issue.comments, lambda one: issue_comment(call, repo, issue, one)),
    }


def issue_node(call: Call, repo: Repository, issue: Issue) -> Json:
    """An issue."""
    return {
        "__typename": "Issue",
        **_numbered("I", issue.id),
        **_conversation(call, repo, issue),
        "lastEditedAt": stamp(issue.edited_at),
        "timelineItems": connection(issue.renamings, lambda one: _renaming(call, one)),
        "state": issue.state.upper(),
        "url": _page(call, repo, "issues", issue.number),
    }


def _renaming(call: Call, record: Renaming) -> Json:
    return {
        "__typename": "RenamedTitleEvent",
        "id": node_id("RTE", record.id),
        "actor": actor(call, record.by),
        "createdAt": stamp(record.at),
        "previousTitle": record.before,
        "currentTitle": record.after,
    }


def pull_request(call: Call, repo: Repository, pull: PullRequest) -> Json:
    """A pull request; the size of its diff is computed when it is asked for."""
    head = pull.head
    merged = pull.merged_at is not None

    async def files() -> list[FileDiff]:
        return await between(repo.git, await call.world.diff_base(repo, pull), pull.head_sha)

    async def file_connection(info: Info, **window: Any) -> Json:
        return connection(await files(), _file)(info, **window)

    async def additions(_: Info) -> int:
        return sum(file.additions for file in await files())

    async def deletions(_: Info) -> int:
        return sum(file.deletions for file in await files())

    async def changed(_: Info) -> int:
        return len(await files())

    async def base_ref(_: Info) -> Json | None:
        return await find_ref(call, repo, f"refs/heads/{pull.base_ref}")

    async def head_ref(_: Info) -> Json | None:
        return await find_ref(call, head, f"refs/heads/{pull.head_ref}") if head else None

    async def merge_commit(_: Info) -> Json | None:
        demand(call, repo, "contents=read")
        return await commit(call, repo, pull.merge_commit) if pull.merge_commit else None

    return {
        "__typename": "PullRequest",
        **_numbered("PR", pull.id),
        **_conversation(call, repo, pull.issue),
        "state": "MERGED" if merged else pull.issue.state.upper(),
        "closed": pull.issue.state == "closed",
        "lastEditedAt": stamp(pull.issue.edited_at),
        "timelineItems": connection(pull.issue.renamings, lambda one: _renaming(call, one)),
        "isDraft": pull.draft,
        "merged": merged,
        "mergeCommit": merge_commit,
        "updatedAt": stamp(pull.issue.updated_at),
        "url": _page(call, repo, "pull", pull.number),
        "headRefOid": pull.head_sha,
        "headRefName": pull.head_ref,
        "headRef": head_ref,
        "headRepositoryOwner": actor(call, head.owner) if head else None,
        "isCrossRepository": head is not repo,
        "baseRefOid": pull.base_sha,
        "baseRefName": pull.base_ref,
        "baseRef": base_ref,
        "origin": (repo, head),
        "additions": additions,
        "deletions": deletions,
        "changedFiles": changed,
        "files": file_connection,
        "reviews": _reviews(call, repo, pull),
        "reviewThreads": connection(pull.threads, lambda one: thread(call, repo, pull, one)),
    }


def _file(file: FileDiff) -> Json:
    return {
        "path": file.path,
        "additions": file.additions,
        "deletions": file.deletions,
        "changeType": _CHANGES.get(file.status, file.status.upper()),
    }


def _reviews(call: Call, repo: Repository, pull: PullRequest) -> Callable[..., Json]:
    def resolve(
        info: Info,
        author: str | None = None,
        states: list[str] | None = None,
        **window: Any,
    ) -> Json:
        found = [
            one
            for one in pull.reviews
            if (one.state != "PENDING" or one.user is call.actor)
            and (not author or one.user.login.removesuffix("[bot]") == author.removesuffix("[bot]"))
            and (states is None or one.state in states)
        ]
        return connection(found, lambda one: review(call, repo, pull, one))(info, **window)

    return resolve


def review(call: Call, repo: Repository, pull: PullRequest, record: Review) -> Json:
    """A review."""

    async def at(_: Info) -> Json:
        demand(call, repo, "contents=read")
        return await commit(call, repo, record.commit)

    return {
        "__typename": "PullRequestReview",
        **_numbered("PRR", record.id),
        "author": actor(call, record.user),
        "body": record.body,
        "state": record.state,
        "submittedAt": stamp(record.submitted_at),
        "url": _page(call, repo, "pull", pull.number, f"#pullrequestreview-{record.id}"),
        "commit": at,
    }


def thread(call: Call, repo: Repository, pull: PullRequest, record: Thread) -> Json:
    """A conversation on lines of the diff."""
    first = record.first
    resolver = record.resolved_by
    return {
        "__typename": "PullRequestReviewThread",
        "id": node_id("PRRT", record.id),
        "isResolved": resolver is not None,
        "isCollapsed": resolver is not None,
        "isOutdated": first.line is None,
        "resolvedBy": {**actor(call, resolver), "__typename": "User"} if resolver else None,
        "path": first.path,
        "line": first.line,
        "startLine": first.start_line,
        "originalLine": first.original_line,
        "originalStartLine": first.original_start_line,
        "diffSide": first.side,
        "startDiffSide": first.start_side,
        "comments": connection(record.comments, lambda one: review_comment(call, repo, pull, one)),
    }


def review_comment(call: Call, repo: Repository, pull: PullRequest, record: ReviewComment) -> Json:
    """A comment on the diff."""
    return {
        "__typename": "PullRequestReviewComment",
        **_numbered("PRRC", record.id),
        "author": actor(call, record.user),
        "body": record.body,
        "createdAt": stamp(record.created_at),
        "lastEditedAt": stamp(record.edited_at),
        "path": record.path,
        "line": record.line,
        "originalLine": record.original_line,
        "outdated": record.line is None,
        "url": _page(call, repo, "pull", pull.number, f"#discussion_r{record.id}"),
    }


def reaction(record: Reaction) -> Json:
    """An emoji."""
    return {
        "id": node_id("REA", record.id),
        "databaseId": record.id,
        "content": CONTENTS[record.content],
        "createdAt": stamp(record.created_at),
    }
