"""A reaction on the comment that gave a command; GitHub treats a repeat as a no-op."""

from bot.github.errors import Forbidden, NotFound
from bot.reporting.outlet import Outlet
from pipelines.model import React
from pipelines.ports import Receipt


async def react(outlet: Outlet, effect: React) -> Receipt:
    """Add the reaction; a comment that is gone or may not be touched is no failure."""
    kind = "issues" if effect.comment_kind == "issue" else "pulls"
    path = f"/{kind}/comments/{effect.comment_id}/reactions"
    try:
        await outlet.post(path, {"content": effect.content})
    except NotFound:
        return Receipt(key=effect.key, status="found", message="The comment is gone.")
    except Forbidden as error:
        return Receipt(key=effect.key, status="denied", message=str(error))
    return Receipt(key=effect.key, status="done")
