"""Deployments on GitHub: made once a key, and moved forward only."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlsplit

from pydantic import Field

from bot.github.answer import as_object
from bot.github.errors import Forbidden, Invalid, NotFound
from bot.github.tokens import DEPLOY
from bot.github.wire import Wire, parse, parse_all
from bot.reporting.outlet import Outlet
from bot.reporting.render import plain
from pipelines.model import CreateDeployment, SetDeploymentStatus
from pipelines.ports import Receipt

MAX_DESCRIPTION = 140
_RANK = {
    "pending": -1,
    "queued": 0,
    "in_progress": 1,
    "success": 2,
    "failure": 2,
    "error": 2,
    "inactive": 3,
}
"""A status of a higher rank may follow one of a lower; of two ends the first one stays."""


class _User(Wire):
    id: int


class _Deployment(Wire):
    id: int = Field(ge=1)
    payload: Any = None
    creator: _User | None = None


class _Status(Wire):
    state: str


async def create(outlet: Outlet, effect: CreateDeployment, *, repeated: bool) -> Receipt:
    """Create the deployment, or with ``repeated`` find the one with our key.

    GitHub must neither merge anything for it nor wait for checks: what may be deployed is the
    policy's to say.
    """
    way = outlet.with_permissions(DEPLOY)
    try:
        earlier = await _earlier(way, effect) if repeated else None
        if earlier is not None:
            return Receipt(key=effect.key, status="found", number=earlier.id)
        made = parse(_Deployment, await way.post("/deployments", _wish(way, effect)), "deployment")
    except (Forbidden, Invalid) as error:
        return Receipt(key=effect.key, status="denied", message=str(error))
    return Receipt(key=effect.key, status="done", number=made.id)


def _wish(outlet: Outlet, effect: CreateDeployment) -> Mapping[str, Any]:
    word = "Roll back to" if effect.rollback else "Deploy"
    return {
        "ref": effect.sha,
        "task": "rollback" if effect.rollback else "deploy",
        "auto_merge": False,
        "required_contexts": [],
        "environment": effect.environment,
        "production_environment": effect.production,
        "transient_environment": False,
        "description": f"{word} {effect.sha[:12]}",
        "payload": {"key": effect.key, "run": outlet.run_id},
    }


async def _earlier(outlet: Outlet, effect: CreateDeployment) -> _Deployment | None:
    environment = quote(effect.environment, safe="")
    url = f"/deployments?sha={effect.sha}&environment={environment}&per_page=100"
    bot_id = await outlet.bot_id()
    for found in parse_all(_Deployment, await outlet.get(url), "deployments"):
        own = found.creator is not None and found.creator.id == bot_id
        if own and as_object(found.payload).get("key") == outlet.redacted(effect.key):
            return found
    return None


async def set_status(outlet: Outlet, effect: SetDeploymentStatus) -> Receipt:
    """Move the deployment on; what it says already, or has gone beyond, is not said again."""
    way, path = outlet.with_permissions(DEPLOY), f"/deployments/{effect.deployment_id}/statuses"
    try:
        newest = parse_all(_Status, await way.get(f"{path}?per_page=1"), "deployment statuses")
        state = newest[0].state if newest else None
        if state is not None and _RANK[effect.state] <= _RANK.get(state, 0):
            return _receipt(effect, "found", f"It is {state} already.")
        await way.post(path, _status(way, effect))
    except NotFound:
        return _receipt(effect, "found", "The deployment is gone.")
    except (Forbidden, Invalid) as error:
        return _receipt(effect, "denied", str(error))
    return _receipt(effect, "done")


def _receipt(effect: SetDeploymentStatus, status: str, message: str = "") -> Receipt:
    number = effect.deployment_id
    return Receipt.model_validate(
        {"key": effect.key, "status": status, "message": message, "number": number}
    )


def _status(outlet: Outlet, effect: SetDeploymentStatus) -> Mapping[str, Any]:
    links = {"environment_url": effect.environment_url, "log_url": effect.log_url}
    links["log_url"] = links["log_url"] or outlet.run_url()
    return {
        "state": effect.state,
        "description": plain(outlet.redacted(effect.description), MAX_DESCRIPTION),
        **{name: url for name, url in links.items() if url and _is_web(url)},
    }


def _is_web(url: str) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname) and not parts.username
