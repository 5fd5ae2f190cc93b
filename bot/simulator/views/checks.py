"""Check runs, their annotations and check suites as GitHub shows them."""

from urllib.parse import quote

from bot.simulator.git import CommitRecord
from bot.simulator.state import CheckRun, CheckSuite, Repository
from bot.simulator.views import accounts, pulls
from bot.simulator.views.repositories import api_url, html_url, repository
from bot.simulator.world import Json, World, node_id, stamp


def _pull_requests(world: World, repo: Repository, sha: str) -> list[Json]:
    """Open pull requests of the repository's own branches at a commit; forks are never listed."""
    return [
        pulls.minimal(world, repo, pull)
        for pull in repo.pulls
        if pull.head_sha == sha and pull.head is repo and pull.issue.state == "open"
    ]


def run(world: World, repo: Repository, record: CheckRun) -> Json:
    """A check run."""
    url = f"{api_url(world, repo)}/check-runs/{record.id}"
    page = f"{html_url(world, repo)}/runs/{record.id}"
    return {
        "id": record.id,
        "name": record.name,
        "node_id": node_id("CR", record.id),
        "head_sha": record.head_sha,
        "external_id": record.external_id,
        "url": url,
        "html_url": page,
        "details_url": record.details_url or page,
        "status": record.status,
        "conclusion": record.conclusion,
        "started_at": stamp(record.started_at),
        "completed_at": stamp(record.completed_at),
        "output": {
            "title": record.title,
            "summary": record.summary,
            "text": record.text,
            "annotations_count": len(record.annotations),
            "annotations_url": f"{url}/annotations",
        },
        "check_suite": {"id": record.suite.id},
        "app": accounts.app(world, world.state.apps[record.suite.app_id]),
        "pull_requests": _pull_requests(world, repo, record.head_sha),
    }


def annotation(world: World, repo: Repository, record: CheckRun, given: Json) -> Json:
    """An annotation: what was given, with nulls for what was not."""
    return {
        "path": given["path"],
        "blob_href": f"{html_url(world, repo)}/blob/{record.head_sha}/{quote(given['path'])}",
        "start_line": given["start_line"],
        "end_line": given["end_line"],
        "start_column": given.get("start_column"),
        "end_column": given.get("end_column"),
        "annotation_level": given["annotation_level"],
        "title": given.get("title"),
        "message": given["message"],
        "raw_details": given.get("raw_details"),
    }


def suite_state(repo: Repository, suite: CheckSuite) -> tuple[str, str | None]:
    """A suite's status and conclusion: of its newest runs by name, the worst wins."""
    newest = {run.name: run for run in repo.checks.values() if run.suite is suite}
    runs = list(newest.values())
    if not runs:
        return "queued", None
    if any(run.status != "completed" for run in runs):
        return ("in_progress" if any(r.status == "in_progress" for r in runs) else "queued"), None
    order = (
        "failure",
        "timed_out",
        "action_required",
        "cancelled",
        "success",
        "neutral",
        "skipped",
    )
    return "completed", next(c for c in order if any(run.conclusion == c for run in runs))


def suite(world: World, repo: Repository, record: CheckSuite, head: CommitRecord) -> Json:
    """A check suite."""
    status, conclusion = suite_state(repo, record)
    url = f"{api_url(world, repo)}/check-suites/{record.id}"
    return {
        "id": record.id,
        "node_id": node_id("CS", record.id),
        "head_branch": record.head_branch,
        "head_sha": record.head_sha,
        "status": status,
        "conclusion": conclusion,
        "url": url,
        "before": head.parents[0] if head.parents else "0" * 40,
        "after": record.head_sha,
        "pull_requests": _pull_requests(world, repo, record.head_sha),
        "app": accounts.app(world, world.state.apps[record.app_id]),
        "repository": repository(world, repo),
        "created_at": stamp(record.created_at),
        "updated_at": stamp(record.updated_at),
        "head_commit": simple_commit(head),
        "latest_check_runs_count": sum(r.suite is record for r in repo.checks.values()),
        "check_runs_url": f"{url}/check-runs",
    }


def simple_commit(record: CommitRecord) -> Json:
    """A commit as suites and push events embed it."""
    author, committer = record.author, record.committer
    return {
        "id": record.sha,
        "tree_id": record.tree,
        "message": record.message,
        "timestamp": stamp(committer.at),
        "author": {"name": author.name, "email": author.email},
        "committer": {"name": committer.name, "email": committer.email},
    }
