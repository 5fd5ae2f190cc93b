"""Pull requests, their files, reviews and review comments as GitHub shows them."""

from urllib.parse import quote

from bot.simulator.diff import FileDiff, between
from bot.simulator.state import PullRequest, Repository, Review, ReviewComment
from bot.simulator.views import accounts
from bot.simulator.views.issues import association, reactions
from bot.simulator.views.repositories import api_url, html_url, label, repository
from bot.simulator.world import Json, World, node_id, stamp


def simple(world: World, repo: Repository, pull: PullRequest) -> Json:
    """A pull request as lists show it."""
    issue = pull.issue
    api, page = api_url(world, repo), html_url(world, repo)
    url, html = f"{api}/pulls/{pull.number}", f"{page}/pull/{pull.number}"
    links = _links(api, url, html, pull)
    return {
        "id": pull.id,
        "node_id": node_id("PR", pull.id),
        "url": url,
        "html_url": html,
        "diff_url": f"{html}.diff",
        "patch_url": f"{html}.patch",
        **{f"{name}_url": link for name, link in links.items() if name not in ("self", "html")},
        "number": pull.number,
        "state": issue.state,
        "locked": False,
        "title": issue.title,
        "user": accounts.user(world, issue.user),
        "body": issue.body,
        "labels": [label(world, repo, one) for one in issue.labels],
        "milestone": None,
        "active_lock_reason": None,
        "created_at": stamp(issue.created_at),
        "updated_at": stamp(issue.updated_at),
        "closed_at": stamp(issue.closed_at),
        "merged_at": stamp(pull.merged_at),
        "assignees": [],
        "requested_reviewers": [],
        "requested_teams": [],
        "head": _side(world, pull.head, pull.head_ref, pull.head_sha),
        "base": _side(world, repo, pull.base_ref, pull.base_sha),
        "_links": {name: {"href": link} for name, link in links.items()},
        "author_association": association(repo, issue.user),
        "auto_merge": None,
        "draft": pull.draft,
    }


async def full(world: World, repo: Repository, pull: PullRequest) -> Json:
    """A pull request on its own, with the size of its diff."""
    base = await world.diff_base(repo, pull)
    files = await between(repo.git, base, pull.head_sha)
    merged = pull.merged_at is not None
    return {
        **simple(world, repo, pull),
        "merged": merged,
        "mergeable": None,
        "rebaseable": None,
        "mergeable_state": "unknown",
        "merged_by": accounts.user(world, pull.merged_by) if pull.merged_by else None,
        "comments": len(pull.issue.comments),
        "review_comments": len(pull.comments()),
        "maintainer_can_modify": False,
        "commits": len(await repo.git.log(pull.base_sha, pull.head_sha)),
        "additions": sum(file.additions for file in files),
        "deletions": sum(file.deletions for file in files),
        "changed_files": len(files),
    }


def minimal(world: World, repo: Repository, pull: PullRequest) -> Json:
    """A pull request as check runs name it."""
    head = pull.head or repo
    sides = ((pull.head_ref, pull.head_sha, head), (pull.base_ref, pull.base_sha, repo))
    head_json, base_json = (
        {"ref": ref, "sha": sha, "repo": {"id": r.id, "url": api_url(world, r), "name": r.name}}
        for ref, sha, r in sides
    )
    url = f"{api_url(world, repo)}/pulls/{pull.number}"
    return {"id": pull.id, "number": pull.number, "url": url, "head": head_json, "base": base_json}


def _links(api: str, url: str, html: str, pull: PullRequest) -> dict[str, str]:
    return {
        "self": url,
        "html": html,
        "issue": f"{api}/issues/{pull.number}",
        "comments": f"{api}/issues/{pull.number}/comments",
        "review_comments": f"{url}/comments",
        "review_comment": f"{api}/pulls/comments{{/number}}",
        "commits": f"{url}/commits",
        "statuses": f"{api}/statuses/{pull.head_sha}",
    }


def _side(world: World, repo: Repository | None, ref: str, sha: str) -> Json:
    owner = repo.owner if repo else None
    return {
        "label": f"{owner.login if owner else 'unknown repository'}:{ref}",
        "ref": ref,
        "sha": sha,
        "user": accounts.user(world, owner) if owner else None,
        "repo": repository(world, repo) if repo else None,
    }


def diff_entry(world: World, repo: Repository, head: str, file: FileDiff) -> Json:
    """A changed file; without ``patch`` if it is binary, unchanged in content or too large."""
    where = quote(file.path)
    page = html_url(world, repo)
    entry: Json = {
        "sha": file.sha,
        "filename": file.path,
        "status": file.status,
        "additions": file.additions,
        "deletions": file.deletions,
        "changes": file.additions + file.deletions,
        "blob_url": f"{page}/blob/{head}/{where}",
        "raw_url": f"{page}/raw/{head}/{where}",
        "contents_url": f"{api_url(world, repo)}/contents/{where}?ref={head}",
    }
    if file.patch is not None:
        entry["patch"] = file.patch
    if file.previous is not None:
        entry["previous_filename"] = file.previous
    return entry


def review(world: World, repo: Repository, pull: PullRequest, record: Review) -> Json:
    """A review; ``submitted_at`` is absent while it is pending."""
    html = f"{html_url(world, repo)}/pull/{pull.number}#pullrequestreview-{record.id}"
    url = f"{api_url(world, repo)}/pulls/{pull.number}"
    document: Json = {
        "id": record.id,
        "node_id": node_id("PRR", record.id),
        "user": accounts.user(world, record.user),
        "body": record.body,
        "state": record.state,
        "html_url": html,
        "pull_request_url": url,
        "author_association": association(repo, record.user),
        "_links": {"html": {"href": html}, "pull_request": {"href": url}},
        "commit_id": record.commit,
    }
    if record.submitted_at:
        document["submitted_at"] = stamp(record.submitted_at)
    return document


def comment(world: World, repo: Repository, pull: PullRequest, record: ReviewComment) -> Json:
    """A comment on the diff; ``line`` and ``position`` are null once it is outdated."""
    api = api_url(world, repo)
    url = f"{api}/pulls/comments/{record.id}"
    html = f"{html_url(world, repo)}/pull/{pull.number}#discussion_r{record.id}"
    pull_url = f"{api}/pulls/{pull.number}"
    document: Json = {
        "id": record.id,
        "node_id": node_id("PRRC", record.id),
        "url": url,
        "html_url": html,
        "pull_request_url": pull_url,
        "pull_request_review_id": record.review_id,
        "diff_hunk": record.diff_hunk,
        "path": record.path,
        "commit_id": record.commit,
        "original_commit_id": record.original_commit,
        "user": accounts.user(world, record.user),
        "body": record.body,
        "created_at": stamp(record.created_at),
        "updated_at": stamp(record.updated_at),
        "author_association": association(repo, record.user),
        "_links": {
            "self": {"href": url},
            "html": {"href": html},
            "pull_request": {"href": pull_url},
        },
        "reactions": reactions(url, record.reactions),
        "position": record.position,
        "original_position": record.original_position,
        "line": record.line,
        "original_line": record.original_line,
        "start_line": record.start_line,
        "original_start_line": record.original_start_line,
        "side": record.side,
        "start_side": record.start_side,
        "subject_type": "line",
    }
    if record.in_reply_to is not None:
        document["in_reply_to_id"] = record.in_reply_to
    return document
