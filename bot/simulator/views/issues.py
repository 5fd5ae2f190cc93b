"""Issues, comments and reactions as GitHub shows them."""

from collections.abc import Sequence

from bot.simulator.state import Account, Comment, Issue, Reaction, Repository
from bot.simulator.views import accounts
from bot.simulator.views.repositories import api_url, html_url, label
from bot.simulator.world import Json, World, node_id, stamp

CONTENTS = ("+1", "-1", "laugh", "confused", "heart", "hooray", "rocket", "eyes")


def association(repo: Repository, account: Account) -> str:
    """How an author belongs to a repository, in GitHub's enumeration."""
    if account is repo.owner:
        return "OWNER"
    if repo.role(account):
        return "MEMBER" if repo.owner.kind == "Organization" else "COLLABORATOR"
    return "NONE" if account.kind != "Bot" else "CONTRIBUTOR"


def reactions(url: str, records: Sequence[Reaction]) -> Json:
    """How often each emoji was given."""
    counts = {name: sum(r.content == name for r in records) for name in CONTENTS}
    return {"url": f"{url}/reactions", "total_count": len(records), **counts}


def reaction(world: World, record: Reaction) -> Json:
    """One reaction."""
    return {
        "id": record.id,
        "node_id": node_id("REA", record.id),
        "user": accounts.user(world, record.user),
        "content": record.content,
        "created_at": stamp(record.created_at),
    }


def comment(world: World, repo: Repository, issue: Issue, record: Comment) -> Json:
    """A comment in a conversation."""
    url = f"{api_url(world, repo)}/issues/comments/{record.id}"
    kind = "pull" if issue.pull else "issues"
    page = f"{html_url(world, repo)}/{kind}/{issue.number}#issuecomment-{record.id}"
    app = world.state.apps.get(record.app_id) if record.app_id else None
    return {
        "id": record.id,
        "node_id": node_id("IC", record.id),
        "url": url,
        "html_url": page,
        "issue_url": f"{api_url(world, repo)}/issues/{issue.number}",
        "user": accounts.user(world, record.user),
        "body": record.body,
        "created_at": stamp(record.created_at),
        "updated_at": stamp(record.updated_at),
        "author_association": association(repo, record.user),
        "reactions": reactions(url, record.reactions),
        "performed_via_github_app": accounts.app(world, app) if app else None,
    }


def issue(world: World, repo: Repository, record: Issue) -> Json:
    """An issue; for a pull request with the links that say so."""
    api = api_url(world, repo)
    url = f"{api}/issues/{record.number}"
    kind = "pull" if record.pull else "issues"
    page = f"{html_url(world, repo)}/{kind}/{record.number}"
    app = world.state.apps.get(record.app_id) if record.app_id else None
    document: Json = {
        "id": record.id,
        "node_id": node_id("I", record.id),
        "url": url,
        "repository_url": api,
        "labels_url": f"{url}/labels{{/name}}",
        "comments_url": f"{url}/comments",
        "events_url": f"{url}/events",
        "html_url": page,
        "number": record.number,
        "state": record.state,
        "state_reason": record.state_reason,
        "title": record.title,
        "body": record.body,
        "user": accounts.user(world, record.user),
        "labels": [label(world, repo, one) for one in record.labels],
        "assignees": [],
        "milestone": None,
        "locked": False,
        "active_lock_reason": None,
        "comments": len(record.comments),
        "created_at": stamp(record.created_at),
        "updated_at": stamp(record.updated_at),
        "closed_at": stamp(record.closed_at),
        "author_association": association(repo, record.user),
        "reactions": reactions(url, record.reactions),
        "performed_via_github_app": accounts.app(world, app) if app else None,
    }
    if record.pull:
        document["pull_request"] = _pull_links(api, page, record)
    return document


def _pull_links(api: str, page: str, record: Issue) -> Json:
    merged = record.pull.merged_at if record.pull else None
    return {
        "url": f"{api}/pulls/{record.number}",
        "html_url": page,
        "diff_url": f"{page}.diff",
        "patch_url": f"{page}.patch",
        "merged_at": stamp(merged),
    }
