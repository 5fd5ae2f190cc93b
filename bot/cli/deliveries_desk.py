"""What ``conductor deliveries`` does."""

import asyncio
import heapq

from bot.cli import dead_letters_desk
from bot.cli.opened import Opened, with_store
from bot.cli.words import as_table, in_short, to_json
from bot.deliveries.delivery import Delivery, DeliveryStatus, delivery_key
from bot.settings import ConductorConfig, load_settings
from bot.wiring.hook import hook_deliveries
from pipelines.errors import UserError

_AGAIN = (None, DeliveryStatus.DEAD)
"""What taking a delivery in once more changes: one that is not on record, or was given up."""


def listing(limit: int, status: DeliveryStatus | None, event: str, *, as_json: bool) -> str:
    """Return the newest deliveries as a table or as JSON."""
    found = with_store(lambda opened: _newest(opened, limit, status, event))
    if as_json:
        return to_json([delivery.model_dump(mode="json") for delivery in found])
    if not found:
        return "There are no such deliveries."
    return as_table(
        [(one.guid, one.event, one.status, in_short(one.received_at), one.reason) for one in found]
    )


async def _newest(
    opened: Opened, limit: int, status: DeliveryStatus | None, event: str
) -> list[Delivery]:
    """Return the newest that fit; their keys are in no order of time, so all are looked at."""
    fitting: list[tuple[float, str, Delivery]] = []
    async for _, record in opened.store.scan("delivery/"):
        one = Delivery.model_validate_json(record.value)
        if status in (None, one.status) and event in ("", one.event):
            entry = (one.received_at.timestamp(), one.guid, one)
            (heapq.heappush if len(fitting) < limit else heapq.heappushpop)(fitting, entry)
    return [one for _, _, one in sorted(fitting, key=lambda entry: entry[:2], reverse=True)]


def redelivered(guid: str, *, as_json: bool) -> str:
    """Have the delivery come again and say how; UserError where that would change nothing."""
    known = with_store(lambda opened: _known(opened, guid))
    if known is not None and known.status not in _AGAIN:
        raise UserError(
            f"Delivery {guid} has arrived and is {known.status}; a repeat would be answered as a "
            "duplicate. `conductor runs retry` starts a run again."
        )
    settings = load_settings()
    configured = settings.github_app_id is not None and settings.private_key() is not None
    if configured and asyncio.run(_asked(settings, guid)):
        if as_json:
            return to_json({"delivery": guid, "asked": "github"})
        return f"GitHub sends delivery {guid} again."
    if known is None:
        why = "no longer has it" if configured else "cannot be asked: no App is configured"
        raise UserError(f"Delivery {guid} is not on record here, and GitHub {why}.")
    return dead_letters_desk.requeued(delivery_key(guid), as_json=as_json)


async def _known(opened: Opened, guid: str) -> Delivery | None:
    record = await opened.store.get(delivery_key(guid))
    return Delivery.model_validate_json(record.value) if record else None


async def _asked(settings: ConductorConfig, guid: str) -> bool:
    """Whether GitHub has the delivery and was asked for it."""
    async with hook_deliveries(settings) as hook:
        newest = await hook.newest(guid)
        if newest is not None:
            await hook.redeliver(newest.id)
    return newest is not None
