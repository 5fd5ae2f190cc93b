"""Repositories, labels and git objects as GitHub shows them."""

import base64

from bot.simulator.git import CommitRecord, Signature
from bot.simulator.state import Account, Label, Repository
from bot.simulator.views import accounts
from bot.simulator.world import Json, World, node_id, stamp

_TEMPLATES = {
    "archive": "/{archive_format}{/ref}",
    "assignees": "/assignees{/user}",
    "blobs": "/git/blobs{/sha}",
    "branches": "/branches{/branch}",
    "collaborators": "/collaborators{/collaborator}",
    "comments": "/comments{/number}",
    "commits": "/commits{/sha}",
    "compare": "/compare/{base}...{head}",
    "contents": "/contents/{+path}",
    "contributors": "/contributors",
    "deployments": "/deployments",
    "downloads": "/downloads",
    "events": "/events",
    "forks": "/forks",
    "git_commits": "/git/commits{/sha}",
    "git_refs": "/git/refs{/sha}",
    "git_tags": "/git/tags{/sha}",
    "hooks": "/hooks",
    "issue_comment": "/issues/comments{/number}",
    "issue_events": "/issues/events{/number}",
    "issues": "/issues{/number}",
    "keys": "/keys{/key_id}",
    "labels": "/labels{/name}",
    "languages": "/languages",
    "merges": "/merges",
    "milestones": "/milestones{/number}",
    "notifications": "/notifications{?since,all,participating}",
    "pulls": "/pulls{/number}",
    "releases": "/releases{/id}",
    "stargazers": "/stargazers",
    "statuses": "/statuses/{sha}",
    "subscribers": "/subscribers",
    "subscription": "/subscription",
    "tags": "/tags",
    "teams": "/teams",
    "trees": "/git/trees{/sha}",
}
_COUNTS = ("forks", "forks_count", "stargazers_count", "watchers", "watchers_count", "size")


def api_url(world: World, repository: Repository) -> str:
    """The repository's REST address."""
    return f"{world.base_url}/repos/{repository.full_name}"


def html_url(world: World, repository: Repository) -> str:
    """The repository's page."""
    return f"{world.base_url}/{repository.full_name}"


def repository(world: World, repo: Repository) -> Json:
    """A repository, with what every place that embeds one has in common."""
    api, page = api_url(world, repo), html_url(world, repo)
    open_issues = sum(issue.state == "open" for issue in repo.issues.values())
    return {
        "id": repo.id,
        "node_id": node_id("R", repo.id),
        "name": repo.name,
        "full_name": repo.full_name,
        "private": repo.private,
        "owner": accounts.user(world, repo.owner),
        "html_url": page,
        "description": None,
        "fork": repo.fork_of is not None,
        "url": api,
        **{f"{name}_url": api + tail for name, tail in _TEMPLATES.items()},
        "created_at": stamp(repo.created_at),
        "updated_at": stamp(repo.pushed_at or repo.created_at),
        "pushed_at": stamp(repo.pushed_at or repo.created_at),
        "git_url": f"git://{page.partition('://')[2]}.git",
        "ssh_url": f"ssh://git@{page.partition('://')[2]}.git",
        "clone_url": f"{page}.git",
        "svn_url": page,
        "mirror_url": None,
        "homepage": None,
        "language": None,
        "license": None,
        **dict.fromkeys(_COUNTS, 0),
        "open_issues": open_issues,
        "open_issues_count": open_issues,
        "has_issues": True,
        "has_projects": False,
        "has_wiki": False,
        "has_pages": False,
        "has_discussions": False,
        "archived": False,
        "disabled": False,
        "allow_forking": True,
        "is_template": False,
        "web_commit_signoff_required": False,
        "topics": [],
        "visibility": "private" if repo.private else "public",
        "default_branch": repo.default_branch,
    }


def full(world: World, repo: Repository) -> Json:
    """``GET /repos/{owner}/{repo}``."""
    return {**repository(world, repo), "subscribers_count": 0, "network_count": 0}


def short(world: World, repo: Repository) -> Json:
    """The five fields that installation events carry."""
    return {
        "id": repo.id,
        "node_id": node_id("R", repo.id),
        "name": repo.name,
        "full_name": repo.full_name,
        "private": repo.private,
    }


def label(world: World, repo: Repository, record: Label) -> Json:
    """A label."""
    return {
        "id": record.id,
        "node_id": node_id("LA", record.id),
        "url": f"{api_url(world, repo)}/labels/{record.name}",
        "name": record.name,
        "description": record.description,
        "color": record.color,
        "default": record.name in ("bug", "enhancement"),
        "archived_at": None,
        "archived_by": None,
    }


def _person(signature: Signature) -> Json:
    return {"name": signature.name, "email": signature.email, "date": stamp(signature.at)}


def verification(world: World, record: CommitRecord) -> Json:
    """Signed only if GitHub itself made the commit for an App's bot."""
    bot = any(a.kind == "Bot" and a.email == record.author.email for a in _all(world))
    signed = bot and record.committer.email == WEB_FLOW[1]
    return {
        "verified": signed,
        "reason": "valid" if signed else "unsigned",
        "signature": "-----BEGIN PGP SIGNATURE-----" if signed else None,
        "payload": f"tree {record.tree}" if signed else None,
        "verified_at": stamp(record.committer.at) if signed else None,
    }


WEB_FLOW = ("GitHub", "noreply@github.com")
"""The committer of what GitHub commits for others."""


def _all(world: World) -> list[Account]:
    return list(world.state.accounts.values())


def git_commit(world: World, repo: Repository, record: CommitRecord) -> Json:
    """A commit as the git database shows it."""
    api, page = api_url(world, repo), html_url(world, repo)
    return {
        "sha": record.sha,
        "node_id": f"C_{record.sha}",
        "url": f"{api}/git/commits/{record.sha}",
        "html_url": f"{page}/commit/{record.sha}",
        "author": _person(record.author),
        "committer": _person(record.committer),
        "message": record.message,
        "tree": {"sha": record.tree, "url": f"{api}/git/trees/{record.tree}"},
        "parents": [
            {
                "sha": parent,
                "url": f"{api}/git/commits/{parent}",
                "html_url": f"{page}/commit/{parent}",
            }
            for parent in record.parents
        ],
        "verification": verification(world, record),
    }


def commit(world: World, repo: Repository, record: CommitRecord) -> Json:
    """A commit as the repository shows it, with the accounts behind the addresses."""
    api, page = api_url(world, repo), html_url(world, repo)
    return {
        "sha": record.sha,
        "node_id": f"C_{record.sha}",
        "commit": {
            "author": _person(record.author),
            "committer": _person(record.committer),
            "message": record.message,
            "tree": {"sha": record.tree, "url": f"{api}/git/trees/{record.tree}"},
            "url": f"{api}/git/commits/{record.sha}",
            "comment_count": 0,
            "verification": verification(world, record),
        },
        "url": f"{api}/commits/{record.sha}",
        "html_url": f"{page}/commit/{record.sha}",
        "comments_url": f"{api}/commits/{record.sha}/comments",
        "author": _account(world, record.author),
        "committer": _account(world, record.committer),
        "parents": [
            {"sha": p, "url": f"{api}/commits/{p}", "html_url": f"{page}/commit/{p}"}
            for p in record.parents
        ],
    }


def _account(world: World, signature: Signature) -> Json | None:
    found = next((a for a in _all(world) if a.email == signature.email), None)
    return accounts.user(world, found) if found else None


def ref(world: World, repo: Repository, name: str, sha: str, kind: str = "commit") -> Json:
    """A git reference."""
    api = api_url(world, repo)
    return {
        "ref": name,
        "node_id": f"REF_{base64.urlsafe_b64encode(name.encode()).decode().rstrip('=')}",
        "url": f"{api}/git/{name}",
        "object": {"sha": sha, "type": kind, "url": f"{api}/git/{kind}s/{sha}"},
    }
