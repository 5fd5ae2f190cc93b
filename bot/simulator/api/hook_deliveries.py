"""The App's webhook deliveries: listed, looked at, sent again.

https://docs.github.com/en/rest/apps/webhooks
"""

import json
from datetime import timedelta
from typing import Any

from bot.simulator.errors import Refused, not_found
from bot.simulator.protocol import Answer, Call, Operation
from bot.simulator.state import Delivery
from bot.simulator.world import Json, stamp

KEPT = timedelta(days=3)
"""GitHub shows and repeats deliveries of the last three days:
https://docs.github.com/webhooks/testing-and-troubleshooting-webhooks/redelivering-webhooks"""


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
    found = [d for d in call.world.state.deliveries.values() if _kept(call, d)]
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
    if not record or not _kept(call, record):
        raise not_found()
    return record


def _kept(call: Call, record: Delivery) -> bool:
    """Whether the App is still shown the delivery: its own, answered, and young enough."""
    young = call.world.now() - record.delivered_at <= KEPT
    return record.app is call.app and record.status != "pending" and young


async def redeliver(call: Call) -> Answer:
    """Send a delivery again under the same GUID."""
    call.world.redeliver(_delivery(call))
    return Answer({}, status=202)


OPERATIONS = (
    Operation("GET", "/app/hook/deliveries", list_deliveries, as_app=True),
    Operation("GET", "/app/hook/deliveries/{delivery_id}", get_delivery, as_app=True),
    Operation("POST", "/app/hook/deliveries/{delivery_id}/attempts", redeliver, as_app=True),
)
