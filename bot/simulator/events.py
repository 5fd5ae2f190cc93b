"""What GitHub tells about each change: the payload of every event the simulator announces."""

from typing import Any

from bot.simulator.git import ZERO, CommitRecord
from bot.simulator.state import (
    Account,
    App,
    CheckRun,
    Comment,
    Deployment,
    DeploymentStatus,
    Installation,
    Issue,
    PullRequest,
    Repository,
    Review,
    ReviewComment,
    Thread,
)
from bot.simulator.views import accounts, checks, deployments, issues, pulls, repositories
from bot.simulator.world import Announcement, Json, World, node_id, stamp

MAX_PUSH_COMMITS = 2048
_SUITE_KEYS = (
    *("id", "node_id", "head_branch", "head_sha", "status", "conclusion", "url", "before"),
    *("after", "pull_requests", "app", "created_at", "updated_at"),
)


def _tell(
    world: World, event: str, repo: Repository, sender: Account, app: App | None = None, **rest: Any
) -> None:
    payload: Json = {**rest, "repository": repositories.repository(world, repo)}
    if repo.owner.kind == "Organization":
        payload["organization"] = accounts.organization(world, repo.owner)
    payload["sender"] = accounts.user(world, sender)
    world.announce(Announcement(event, payload, repo, app))


def _with_assignee(document: Json) -> Json:
    """Webhooks keep the single ``assignee`` that the REST version 2026-03-10 dropped."""
    return {**document, "assignee": None}


async def pull_request(
    world: World, repo: Repository, pull: PullRequest, action: str, sender: Account, **rest: Any
) -> None:
    """``pull_request``: opened, synchronize, edited, closed, reopened, labeled, …."""
    document = _with_assignee(await pulls.full(world, repo, pull))
    head = {"action": action, "number": pull.number, "pull_request": document}
    _tell(world, "pull_request", repo, sender, **head, **rest)


def review(
    world: World, repo: Repository, pull: PullRequest, record: Review, sender: Account
) -> None:
    """``pull_request_review.submitted``; the state is in lower case here."""
    document = pulls.review(world, repo, pull, record)
    document["state"] = record.state.lower()
    document["body"] = record.body or None
    document["updated_at"] = stamp(record.submitted_at)
    _tell(
        world,
        "pull_request_review",
        repo,
        sender,
        action="submitted",
        review=document,
        pull_request=_with_assignee(pulls.simple(world, repo, pull)),
    )


def review_comment(
    world: World, repo: Repository, pull: PullRequest, record: ReviewComment, sender: Account
) -> None:
    """``pull_request_review_comment.created``."""
    _tell(
        world,
        "pull_request_review_comment",
        repo,
        sender,
        action="created",
        comment=pulls.comment(world, repo, pull, record),
        pull_request=_with_assignee(pulls.simple(world, repo, pull)),
    )


def thread(
    world: World,
    repo: Repository,
    pull: PullRequest,
    record: Thread,
    *,
    action: str,
    sender: Account,
) -> None:
    """``pull_request_review_thread``: resolved, unresolved."""
    comments = [pulls.comment(world, repo, pull, one) for one in record.comments]
    _tell(
        world,
        "pull_request_review_thread",
        repo,
        sender,
        action=action,
        thread={"node_id": node_id("PRRT", record.id), "comments": comments},
        pull_request=_with_assignee(pulls.simple(world, repo, pull)),
        updated_at=stamp(world.now()),
    )


def issue(
    world: World, repo: Repository, record: Issue, action: str, sender: Account, **rest: Any
) -> None:
    """``issues``: opened, closed, reopened, edited, labeled, unlabeled."""
    document = _with_assignee(issues.issue(world, repo, record))
    _tell(world, "issues", repo, sender, action=action, issue=document, **rest)


def issue_comment(
    world: World, repo: Repository, record: Issue, comment: Comment, sender: Account
) -> None:
    """``issue_comment.created``, for issues and pull requests alike."""
    _tell(
        world,
        "issue_comment",
        repo,
        sender,
        action="created",
        issue=_with_assignee(issues.issue(world, repo, record)),
        comment=issues.comment(world, repo, record, comment),
    )


async def check_run(
    world: World, repo: Repository, run: CheckRun, action: str, sender: Account, **rest: Any
) -> None:
    """``check_run``: re-run and button go to the App that owns the check and to nobody else."""
    document = checks.run(world, repo, run)
    suite = checks.suite(world, repo, run.suite, await repo.git.commit(run.head_sha))
    document["check_suite"] = {key: suite[key] for key in _SUITE_KEYS}
    only = world.state.apps[run.suite.app_id]
    target = only if action in ("rerequested", "requested_action") else None
    _tell(world, "check_run", repo, sender, target, action=action, check_run=document, **rest)


def deployment(world: World, repo: Repository, record: Deployment, sender: Account) -> None:
    """``deployment.created``; no workflow of GitHub's own had a part in it."""
    _tell(
        world,
        "deployment",
        repo,
        sender,
        action="created",
        deployment=deployments.deployment(world, repo, record),
        workflow=None,
        workflow_run=None,
    )


def deployment_status(
    world: World,
    repo: Repository,
    record: Deployment,
    status: DeploymentStatus,
    sender: Account,
) -> None:
    """``deployment_status.created``."""
    _tell(
        world,
        "deployment_status",
        repo,
        sender,
        action="created",
        deployment_status=deployments.status(world, repo, record, status),
        deployment=deployments.deployment(world, repo, record),
        check_run=None,
        workflow=None,
        workflow_run=None,
    )


async def push(
    world: World, repo: Repository, ref: str, old: str | None, new: str | None, *, sender: Account
) -> None:
    """``push``, with at most 2,048 commits."""
    git = repo.git
    new_commits: list[str] = []
    if new:
        base = old or await git.resolve(repo.default_branch)
        new_commits = await git.log(base, new) if base and base != new else []
    rows = [await _pushed(world, repo, sha) for sha in new_commits[:MAX_PUSH_COMMITS]]
    head = await _pushed(world, repo, new) if new else None
    before, after = old or ZERO, new or ZERO
    page = repositories.html_url(world, repo)
    forced = bool(old and new and not await git.is_ancestor(old, new))
    payload: Json = {
        "ref": ref,
        "before": before,
        "after": after,
        "created": old is None,
        "deleted": new is None,
        "forced": forced,
        "base_ref": None,
        "compare": f"{page}/compare/{before[:12]}...{after[:12]}",
        "commits": rows,
        "head_commit": head,
        "pusher": {"name": sender.login, "email": sender.email},
    }
    _tell(world, "push", repo, sender, **payload)


async def _pushed(world: World, repo: Repository, sha: str) -> Json:
    record = await repo.git.commit(sha)
    touched = await _touched(repo, record)
    row = checks.simple_commit(record)
    return {
        **row,
        "distinct": True,
        "url": f"{repositories.html_url(world, repo)}/commit/{sha}",
        **touched,
    }


async def _touched(repo: Repository, record: CommitRecord) -> dict[str, list[str]]:
    parent = record.parents[:1] or ("--root",)
    out = await repo.git.text(
        "diff-tree", "-r", "--no-commit-id", "--name-status", "-z", *parent, record.sha
    )
    fields = out.split("\0")
    rows = list(zip(fields[0::2], fields[1::2], strict=False))
    kinds = {"added": "A", "removed": "D", "modified": "MT"}
    return {
        name: [path for state, path in rows if state and state in letters]
        for name, letters in kinds.items()
    }


def installation(world: World, record: Installation, action: str, sender: Account) -> None:
    """``installation``: created, suspend, unsuspend, deleted; only to its own App."""
    covered = [r for r in world.state.repositories.values() if record.covers(r)]
    payload: Json = {
        "action": action,
        "installation": accounts.installation(world, record),
        "repositories": [repositories.short(world, repo) for repo in covered],
        "sender": accounts.user(world, sender),
    }
    if action == "created":
        payload["requester"] = None
    world.announce(Announcement("installation", payload, None, record.app, record.account))
