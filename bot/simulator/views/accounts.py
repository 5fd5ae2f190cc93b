"""Accounts, Apps and installations as GitHub shows them."""

from bot.simulator.state import Account, App, Installation
from bot.simulator.world import Json, World, node_id, stamp

_LINKS = {
    "followers": "/followers",
    "following": "/following{/other_user}",
    "gists": "/gists{/gist_id}",
    "starred": "/starred{/owner}{/repo}",
    "subscriptions": "/subscriptions",
    "organizations": "/orgs",
    "repos": "/repos",
    "events": "/events{/privacy}",
    "received_events": "/received_events",
}


def user(world: World, account: Account) -> Json:
    """A simple user, as embedded everywhere."""
    api = f"{world.base_url}/users/{account.login}"
    prefix = {"User": "U", "Organization": "O", "Bot": "BOT"}[account.kind]
    return {
        "login": account.login,
        "id": account.id,
        "node_id": node_id(prefix, account.id),
        "avatar_url": f"{world.base_url}/-/avatars/{account.id}",
        "gravatar_id": "",
        "url": api,
        "html_url": f"{world.base_url}/{account.login}",
        **{f"{name}_url": api + tail for name, tail in _LINKS.items()},
        "type": account.kind,
        "site_admin": False,
        "user_view_type": "public",
    }


def profile(world: World, account: Account) -> Json:
    """A user's own page."""
    return {
        **user(world, account),
        "name": account.name,
        "company": None,
        "blog": "",
        "location": None,
        "email": None,
        "hireable": None,
        "bio": None,
        "twitter_username": None,
        "public_repos": 0,
        "public_gists": 0,
        "followers": 0,
        "following": 0,
        "created_at": stamp(account.created_at),
        "updated_at": stamp(account.created_at),
    }


def organization(world: World, account: Account) -> Json:
    """An organisation as webhooks carry it."""
    api = f"{world.base_url}/orgs/{account.login}"
    return {
        "login": account.login,
        "id": account.id,
        "node_id": node_id("O", account.id),
        "url": api,
        "repos_url": f"{api}/repos",
        "events_url": f"{api}/events",
        "hooks_url": f"{api}/hooks",
        "issues_url": f"{api}/issues",
        "members_url": f"{api}/members{{/member}}",
        "public_members_url": f"{api}/public_members{{/member}}",
        "avatar_url": f"{world.base_url}/-/avatars/{account.id}",
        "description": None,
    }


def app(world: World, record: App) -> Json:
    """An App, embedded in checks and comments."""
    return {
        "id": record.id,
        "slug": record.slug,
        "node_id": node_id("A", record.id),
        "client_id": record.client_id,
        "owner": user(world, record.owner),
        "name": record.name,
        "description": None,
        "external_url": f"{world.base_url}/apps/{record.slug}",
        "html_url": f"{world.base_url}/apps/{record.slug}",
        "created_at": stamp(record.created_at),
        "updated_at": stamp(record.created_at),
        "permissions": dict(record.permissions),
        "events": list(record.events),
    }


def own_app(world: World, record: App) -> Json:
    """``GET /app``: also says how often it is installed."""
    count = sum(i.app is record for i in world.state.installations.values())
    return {**app(world, record), "installations_count": count}


def installation(world: World, record: Installation) -> Json:
    """An installation."""
    kind = "Organization" if record.account.kind == "Organization" else "User"
    owner = record.app.owner if record.suspended_at else None
    return {
        "id": record.id,
        "client_id": record.app.client_id,
        "account": user(world, record.account),
        "repository_selection": "all" if record.repositories is None else "selected",
        "access_tokens_url": f"{world.base_url}/app/installations/{record.id}/access_tokens",
        "repositories_url": f"{world.base_url}/installation/repositories",
        "html_url": f"{world.base_url}/settings/installations/{record.id}",
        "app_id": record.app.id,
        "app_slug": record.app.slug,
        "target_id": record.account.id,
        "target_type": kind,
        "permissions": dict(record.permissions),
        "events": list(record.app.events),
        "created_at": stamp(record.created_at),
        "updated_at": stamp(record.created_at),
        "single_file_name": None,
        "has_multiple_single_files": False,
        "single_file_paths": [],
        "suspended_by": user(world, owner) if owner else None,
        "suspended_at": stamp(record.suspended_at),
    }
