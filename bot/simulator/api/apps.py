"""Apps, installations and their tokens, and users."""

from bot.simulator import auth
from bot.simulator.errors import not_found
from bot.simulator.protocol import Answer, Body, Call, Operation
from bot.simulator.state import App
from bot.simulator.views import accounts, repositories
from bot.simulator.world import Json


class TokenBody(Body):
    """What a token is narrowed to."""

    repositories: list[str] | None = None
    repository_ids: list[int] | None = None
    permissions: dict[str, str] | None = None


def _app(call: Call) -> App:
    assert call.app, "the operation is for the App itself"
    return call.app


async def get_app(call: Call) -> Answer:
    """The App that the JWT stands for."""
    return Answer(accounts.own_app(call.world, _app(call)))


async def get_user(call: Call) -> Answer:
    """A user, also a bot's."""
    found = call.world.state.account(call.path["login"])
    if not found:
        raise not_found()
    return Answer(accounts.profile(call.world, found))


async def list_installations(call: Call) -> Answer:
    """The App's installations."""
    found = [i for i in call.world.state.installations.values() if i.app is call.app]
    return call.page(found, lambda one: accounts.installation(call.world, one))


async def get_installation(call: Call) -> Answer:
    """One of the App's installations."""
    found = call.world.state.installations.get(call.number("installation_id"))
    if not found or found.app is not call.app:
        raise not_found()
    return Answer(accounts.installation(call.world, found))


async def repository_installation(call: Call) -> Answer:
    """The installation through which the App reaches a repository."""
    repo = call.world.state.repository(call.path["owner"], call.path["repo"])
    found = call.world.installation_for(_app(call), repo) if repo else None
    if not found:
        raise not_found()
    return Answer(accounts.installation(call.world, found))


async def create_token(call: Call) -> Answer:
    """A token for an installation, narrowed as asked."""
    found = call.world.state.installations.get(call.number("installation_id"))
    if not found or found.app is not call.app:
        raise not_found()
    body = call.read(TokenBody)
    scope = auth.Scope(body.repository_ids, body.repositories, body.permissions)
    token = auth.mint(call.world, found, scope)
    selected = token.repositories is not None or found.repositories is not None
    document: Json = {
        "token": token.value,
        "expires_at": auth.expiry(token),
        "permissions": token.permissions,
        "repository_selection": "selected" if selected else "all",
    }
    if token.repositories is not None:
        document["repositories"] = [
            repositories.repository(call.world, repo) for repo in token.repositories
        ]
    return Answer(document, status=201)


async def installation_repositories(call: Call) -> Answer:
    """The repositories a token reaches."""
    token = call.token
    assert token, "the operation is for installation tokens"
    found = [r for r in call.world.state.repositories.values() if token.reaches(r)]
    window, headers = call.window(len(found))
    rows = [repositories.repository(call.world, repo) for repo in found[window]]
    return Answer({"total_count": len(found), "repositories": rows}, headers=headers)


OPERATIONS = (
    Operation("GET", "/app", get_app, as_app=True),
    Operation("GET", "/app/installations", list_installations, as_app=True),
    Operation("GET", "/app/installations/{installation_id}", get_installation, as_app=True),
    Operation(
        "POST", "/app/installations/{installation_id}/access_tokens", create_token, as_app=True
    ),
    Operation("GET", "/repos/{owner}/{repo}/installation", repository_installation, as_app=True),
    Operation("GET", "/installation/repositories", installation_repositories),
    Operation("GET", "/users/{login}", get_user),
)
