"""Webhooks really sent: signed, recorded with their answer, never repeated unless asked.

https://docs.github.com/en/webhooks/webhook-events-and-payloads#delivery-headers
"""

import asyncio
import hashlib
import hmac
import json
from dataclasses import dataclass, field, replace

import aiohttp

from bot.simulator.record import Observer
from bot.simulator.state import App, Delivery, Installation
from bot.simulator.world import Announcement, Json, World, node_id, stamp

TIMEOUT = 10.0
"""Seconds that a receiver has to answer."""
MAX_PAYLOAD = 25 * 1024 * 1024
"""Bytes; GitHub does not deliver larger ones."""
MAX_ANSWER = 64 * 1024
ALWAYS = frozenset({"installation", "installation_repositories", "ping"})
"""Events that an App gets without subscribing."""

_Scope = tuple[int | None, int | None]
"""The installation and the repository that a delivery is about."""


@dataclass
class Deliveries:
    """Sends each announcement to the Apps it concerns, several at a time."""

    world: World
    session: aiohttp.ClientSession
    observer: Observer
    at_once: int = 20
    _tasks: set[asyncio.Task[None]] = field(default_factory=set[asyncio.Task[None]])
    _slots: asyncio.Semaphore = field(init=False)

    def __post_init__(self) -> None:
        self._slots = asyncio.Semaphore(self.at_once)

    def announce(self, announcement: Announcement) -> None:
        """Queue a delivery for every App that is to hear of it."""
        for app, installation in self._receivers(announcement):
            payload = dict(announcement.payload)
            if installation and "installation" not in payload:
                node = node_id("MDIzO", installation.id)
                payload["installation"] = {"id": installation.id, "node_id": node}
            repo = announcement.repository
            scope = (installation.id if installation else None, repo.id if repo else None)
            self._queue(app, announcement.event, payload, scope)

    def _receivers(self, told: Announcement) -> list[tuple[App, Installation | None]]:
        if told.repository is None:
            assert told.app, "an announcement is about a repository or for an App"
            found = self.world.state.installations.values()
            mine = (i for i in found if i.app is told.app and i.account is told.account)
            return [(told.app, next(mine, None))]
        return [
            (i.app, i)
            for i in self.world.state.covering(told.repository)
            if not i.suspended_at
            and told.app in (None, i.app)
            and (told.app or told.event in i.app.events or told.event in ALWAYS)
        ]

    def _queue(self, app: App, event: str, payload: Json, scope: _Scope) -> None:
        body = json.dumps(payload, separators=(",", ":"), ensure_ascii=False).encode()
        if app.webhook_url is None or len(body) > MAX_PAYLOAD:
            return
        self.observer.delivery(event, body)
        guid = self.world.guid()
        delivery = Delivery(
            id=self.world.next_id(wide=True),
            guid=guid,
            app=app,
            event=event,
            action=payload.get("action"),
            installation_id=scope[0],
            repository_id=scope[1],
            redelivery=False,
            delivered_at=self.world.now(),
            request_headers=_headers(app, event, guid, body),
            request_body=body,
        )
        self._start(delivery)

    def ping(self, app: App) -> None:
        """Say hello, as GitHub does when a webhook is set up."""
        hook: Json = {
            "type": "App",
            "id": app.hook_id,
            "name": "web",
            "active": True,
            "events": list(app.events),
            "config": {"content_type": "json", "insecure_ssl": "0", "url": app.webhook_url},
            "updated_at": stamp(self.world.now()),
            "created_at": stamp(app.created_at),
            "app_id": app.id,
            "deliveries_url": f"{self.world.base_url}/app/hook/deliveries",
        }
        payload = {"zen": "Keep it logically awesome.", "hook_id": app.hook_id, "hook": hook}
        self._queue(app, "ping", payload, (None, None))

    def redeliver(self, old: Delivery) -> None:
        """Send the same body under the same GUID again, as a new delivery."""
        number, now = self.world.next_id(wide=True), self.world.now()
        again = replace(
            old, id=number, redelivery=True, delivered_at=now, status="pending", status_code=0
        )
        self._start(again)

    def _start(self, delivery: Delivery) -> None:
        self.world.state.deliveries[delivery.id] = delivery
        task = asyncio.create_task(self._send(delivery), name=f"delivery-{delivery.id}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _send(self, delivery: Delivery) -> None:
        assert delivery.app.webhook_url
        async with self._slots:
            started = self.world.clock.monotonic()
            try:
                async with self.session.post(
                    delivery.app.webhook_url,
                    data=delivery.request_body,
                    headers=delivery.request_headers,
                    allow_redirects=False,
                    timeout=aiohttp.ClientTimeout(total=TIMEOUT),
                ) as answer:
                    delivery.status_code = answer.status
                    delivery.status = (
                        "OK" if answer.ok else f"Invalid HTTP Response: {answer.status}"
                    )
                    delivery.response_headers = dict(answer.headers)
                    content = await answer.content.read(MAX_ANSWER)
                    delivery.response_body = content.decode(errors="replace")
            except TimeoutError:
                delivery.status = "timed out"
                delivery.status_code = 504
            except (aiohttp.ClientError, OSError) as error:
                delivery.status = f"failed to connect to host ({type(error).__name__})"
                delivery.status_code = 502
            delivery.duration = round(self.world.clock.monotonic() - started, 2)

    async def settled(self) -> None:
        """Return when every delivery has its answer, those that answers cause included."""
        while self._tasks:
            await asyncio.gather(*self._tasks)

    async def close(self) -> None:
        """Give up on what is still under way."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _headers(app: App, event: str, guid: str, body: bytes) -> dict[str, str]:
    signature = hmac.new(app.webhook_secret.encode(), body, hashlib.sha256).hexdigest()
    old = hmac.new(app.webhook_secret.encode(), body, hashlib.sha1).hexdigest()
    return {
        "Accept": "*/*",
        "Content-Type": "application/json",
        "User-Agent": f"GitHub-Hookshot/{app.hook_id % 0xFFFFFFF:07x}",
        "X-GitHub-Delivery": guid,
        "X-GitHub-Event": event,
        "X-GitHub-Hook-ID": str(app.hook_id),
        "X-GitHub-Hook-Installation-Target-ID": str(app.id),
        "X-GitHub-Hook-Installation-Target-Type": "integration",
        "X-Hub-Signature": f"sha1={old}",
        "X-Hub-Signature-256": f"sha256={signature}",
    }
