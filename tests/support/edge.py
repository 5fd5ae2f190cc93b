"""The real web application on a loopback port, over a store in memory."""

import hashlib
import hmac
import json
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import httpx2
from pydantic import SecretStr

from bot.cli.serving import triage_alerts
from bot.deliveries.inbox import Inbox, Triage, Triaged
from bot.deliveries.pressure import Pressure
from bot.deliveries.signature import SignatureVerifier
from bot.telemetry import Metrics
from bot.web.alerts import AlertmanagerWebhook
from bot.web.app import create_app
from bot.web.body import BodyReader
from bot.web.edge import Address, Limits, serving
from bot.web.health import Check, Health
from bot.web.webhooks import GitHubWebhook
from pipelines.errors import UserError
from pipelines.ports import Journal
from pipelines.stores.memory import MemoryBackend
from pipelines.system import SystemClock

SECRET = "0123456789abcdef0123456789abcdef-current"
ALERTS_TOKEN = "0123456789abcdef0123456789abcdef-alerts"
DEFAULTS = Limits()
PREVIOUS = "0123456789abcdef0123456789abcdef-previous"
GUID = "72d3162e-cc78-11e3-81ab-4c9367dc0958"


def sign(body: bytes, secret: str = SECRET) -> str:
    """Computed here and not by the code under test."""
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def headers(body: bytes, **changes: str | None) -> dict[str, str]:
    """A correct delivery's headers; ``X_GitHub_Event="push"`` replaces one, None leaves it out."""
    complete: dict[str, str | None] = {
        "Content-Type": "application/json",
        "X-GitHub-Event": "pull_request",
        "X-GitHub-Delivery": GUID,
        "X-Hub-Signature-256": sign(body),
    }
    complete |= {name.replace("_", "-"): value for name, value in changes.items()}
    return {name: value for name, value in complete.items() if value is not None}


def triage(event: str, guid: str, body: bytes) -> Triaged:
    """Ignores what says so, refuses what is not a JSON object."""
    try:
        payload = json.loads(body)
    except ValueError as error:
        raise UserError("The body is not JSON.") from error
    if not isinstance(payload, dict):
        raise UserError("The body is not a JSON object.")
    idle = event == "ping" or "ignore" in payload
    return Triaged("7/42", "nothing is to be done" if idle else None)


@dataclass
class Edge:
    """A running web application."""

    address: Address
    store: MemoryBackend
    metrics: Metrics
    client: httpx2.AsyncClient
    checks: dict[str, Check] = field(default_factory=dict[str, Check])
    pressure: Pressure | None = None

    async def alert(self, body: bytes) -> httpx2.Response:
        """Call as Alertmanager does."""
        sent = {"Content-Type": "application/json", "Authorization": f"Bearer {ALERTS_TOKEN}"}
        return await self.client.post("/webhooks/alertmanager", content=body, headers=sent)

    async def deliver(self, body: bytes, **changes: str | None) -> httpx2.Response:
        return await self.client.post(
            "/webhooks/github", content=body, headers=headers(body, **changes)
        )


@asynccontextmanager
async def running_edge(
    *,
    journal: Journal | None = None,
    bodies: BodyReader | None = None,
    limits: Limits = DEFAULTS,
    triage: Triage = triage,
    alerts_token: SecretStr | None = None,
    pressure: Callable[[MemoryBackend], Pressure] | None = None,
) -> AsyncGenerator[Edge]:
    clock = SystemClock()
    store, metrics = MemoryBackend(clock), Metrics()
    checks: dict[str, Check] = {}
    felt = pressure(store) if pressure else None
    if felt is not None:
        alerts_token = SecretStr(ALERTS_TOKEN)
    webhook = GitHubWebhook(
        SignatureVerifier(SecretStr(SECRET), SecretStr(PREVIOUS)),
        Inbox(journal or store, clock, triage, felt),
        metrics,
        clock,
        bodies,
    )
    alerts = AlertmanagerWebhook(
        alerts_token, Inbox(journal or store, clock, triage_alerts, felt), metrics
    )
    app = create_app(webhook, alerts, Health(checks, metrics))
    async with serving(app, Address("127.0.0.1", 0), limits) as address:
        base = f"http://{address.host}:{address.port}"
        async with httpx2.AsyncClient(base_url=base, trust_env=False, timeout=20) as client:
            yield Edge(address, store, metrics, client, checks, felt)
