"""What Alertmanager's route answers, and what it stores before it does."""

import json
from typing import Any

import pytest
from pydantic import SecretStr

from bot.deliveries.delivery import ALERTS
from pipelines.errors import NotStored
from pipelines.ports import Batch, Versioned
from tests.support.edge import Edge, running_edge

TOKEN = "0123456789abcdef0123456789abcdef"
PATH = "/webhooks/alertmanager"
LABELS = {"alertname": "QueueDeep", "repository": "octo/demo", "severity": "page"}


def call(**labels: str) -> dict[str, Any]:
    alert = {
        "status": "firing",
        "labels": LABELS | labels,
        "startsAt": "2026-11-22T10:13:31.264Z",
        "endsAt": "0001-01-01T00:00:00Z",
        "fingerprint": "58b3a0d5b06b8a2a",
    }
    return {"version": "4", "status": "firing", "alerts": [alert]}


async def send(edge: Edge, body: bytes, **headers: str) -> tuple[int, dict[str, str]]:
    sent = {"Content-Type": "application/json", "Authorization": f"Bearer {TOKEN}", **headers}
    raw = [(name.encode(), value.encode("latin-1")) for name, value in sent.items()]
    answer = await edge.client.post(PATH, content=body, headers=raw)
    return answer.status_code, answer.json()


async def test_an_alert_is_stored_and_queued_before_it_is_answered() -> None:
    async with running_edge(alerts_token=SecretStr(TOKEN)) as edge:
        body = json.dumps(call()).encode()
        status, answer = await send(edge, body)
        assert (status, answer) == (202, {"result": "stored", "reason": ""})
        (message,) = await edge.store.messages()
        assert str(message.body["guid"]).startswith("alerts-")
        assert edge.metrics.deliveries.labels(ALERTS, "stored")._value.get() == 1


async def test_what_alertmanager_repeats_is_a_duplicate() -> None:
    async with running_edge(alerts_token=SecretStr(TOKEN)) as edge:
        body = json.dumps(call()).encode()
        await send(edge, body)
        assert (await send(edge, body))[0] == 200
        assert (await send(edge, json.dumps(call(severity="warn")).encode()))[0] == 202
        assert len(await edge.store.messages()) == 2


async def test_a_call_without_an_alert_for_us_needs_no_work() -> None:
    async with running_edge(alerts_token=SecretStr(TOKEN)) as edge:
        status, answer = await send(edge, json.dumps(call(repository="")).encode())
        assert (status, answer["result"]) == (200, "ignored")
        assert "repository" in answer["reason"]
        assert not await edge.store.messages()


@pytest.mark.parametrize(
    "authorization",
    ["", "Bearer", "Bearer wrong", f"bearer {TOKEN}", TOKEN, f"Bearer {TOKEN}x", "Bearer \xe9"],
)
async def test_without_the_token_nothing_is_stored(authorization: str) -> None:
    async with running_edge(alerts_token=SecretStr(TOKEN)) as edge:
        body = json.dumps(call()).encode()
        status, answer = await send(edge, body, Authorization=authorization)
        assert status == 401
        assert TOKEN not in str(answer)
        assert not await edge.store.messages()


async def test_without_a_token_there_is_no_such_page() -> None:
    async with running_edge() as edge:
        assert (await send(edge, json.dumps(call()).encode()))[0] == 404


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"{", {}, 400),
        (b"[]", {}, 400),
        (b'{"version": "3", "alerts": []}', {}, 400),
        (b"[" * 100_000, {}, 400),
        (b"\xff", {}, 400),
        (b"{}", {"Content-Type": "text/plain"}, 415),
        (b"{}", {"Content-Encoding": "gzip"}, 415),
        (b" " * (1024 * 1024 + 1), {}, 413),
    ],
)
async def test_what_is_no_call_of_alertmanager_is_refused(
    body: bytes, headers: dict[str, str], status: int
) -> None:
    async with running_edge(alerts_token=SecretStr(TOKEN)) as edge:
        assert (await send(edge, body, **headers))[0] == status
        assert not await edge.store.messages()


class FullJournal:
    """A journal whose disk is full."""

    async def commit(self, batch: Batch) -> None:
        raise NotStored("The disk is full.")

    async def get(self, key: str) -> Versioned | None:
        return None


async def test_what_cannot_be_stored_is_not_taken() -> None:
    async with running_edge(journal=FullJournal(), alerts_token=SecretStr(TOKEN)) as edge:
        assert (await send(edge, json.dumps(call()).encode()))[0] == 503
