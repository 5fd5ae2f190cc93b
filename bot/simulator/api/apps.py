"""Apps, installations, their tokens and deliveries, and users."""

import json
from typing import Any

from bot.simulator import auth
from bot.simulator.errors import Refused, not_found
from bot.simulator.protocol import Answer, Body, Call, Operation
from bot.simulator.state import App, Delivery
from bot.simulator.views import accounts, repositories
from bot.simulator.world import Json, stamp


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


def _summary(record: Delivery) -> Json:
    return {
        "id": record.id,
        "guid": record.guid,
        "delivered_at": stamp(record.delivered_at),
        "redelivery": record.redelivery,
        "duration": record.duration,
        "status": record.status,
        "status_code": record.status_code,
        "event": record.event,
        "action": record.action,
        "installation_id": record.installation_id,
        "repository_id": record.repository_id,
        "throttled_at": None,
    }


async def list_deliveries(call: Call) -> Answer:
    """The App's deliveries, newest first; ``cursor`` is the id to go on from."""
    records = call.world.state.deliveries.values()
    found = [d for d in records if d.app is call.app and d.status != "pending"]
    found.sort(key=lambda d: -d.id)
    status = call.query.get("status")
    if status in ("success", "failure"):
        found = [d for d in found if (200 <= d.status_code < 400) == (status == "success")]
    cursor = call.query.get("cursor", "").removeprefix("v1_")
    if cursor and not cursor.isdecimal():
        raise Refused(400, "Invalid cursor")
    found = [d for d in found if not cursor or d.id <= int(cursor)]
    size = call.per_page
    headers: dict[str, str] = {}
    if len(found) > size:
        target = f"{call.url}?per_page={size}&cursor=v1_{found[size].id}"
        headers["Link"] = f'<{target}>; rel="next"'
    return Answer([_summary(record) for record in found[:size]], headers=headers)


async def get_delivery(call: Call) -> Answer:
    """One delivery with what was sent and answered."""
    record = _delivery(call)
    payload: Any = json.loads(record.request_body)
    request = {"headers": record.request_headers, "payload": payload}
    response = {"headers": record.response_headers, "payload": record.response_body}
    url = record.app.webhook_url
    return Answer({**_summary(record), "url": url, "request": request, "response": response})


def _delivery(call: Call) -> Delivery:
    record = call.world.state.deliveries.get(call.number("delivery_id"))
    if not record or record.app is not call.app:
        raise not_found()
    return record


async def redeliver(call: Call) -> Answer:
    """Send a delivery again under the same GUID."""
    call.world.redeliver(_delivery(call))
    return Answer({}, status=202)


OPERATIONS = (
    Operation("GET", "/app", get_app, as_app=True),
    Operation("GET", "/app/installations", list_installations, as_app=True),
    Operation("GET", "/app/installations/{installation_id}", get_installation, as_app=True),
    Operation(
        "POST", "/app/installations/{installation_id}/access_tokens", create_token, as_app=True
    ),
    Operation("GET", "/app/hook/deliveries", list_deliveries, as_app=True),
    Operation("GET", "/app/hook/deliveries/{delivery_id}", get_delivery, as_app=True),
    Operation("POST", "/app/hook/deliveries/{delivery_id}/attempts", redeliver, as_app=True),
    Operation("GET", "/repos/{owner}/{repo}/installation", repository_installation, as_app=True),
    Operation("GET", "/installation/repositories", installation_repositories),
    Operation("GET", "/users/{login}", get_user),
)
