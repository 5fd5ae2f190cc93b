"""Notifications as signed JSON, for anything that speaks HTTP."""

import hashlib
import hmac
import json

from pipelines.errors import UserError
from pipelines.integrations.notifications.answers import judge
from pipelines.integrations.notifications.base import Notifier
from pipelines.integrations.notifications.words import link, plain
from pipelines.model import Notify
from pipelines.net import GuardedClient
from pipelines.ports import Clock

SIGNATURE = "X-Conductor-Signature-256"
TIMESTAMP = "X-Conductor-Timestamp"
MIN_SECRET = 32
_MAX_TITLE, _MAX_TEXT = 200, 4_000


class WebhookNotifier(Notifier):
    """Posts to an address on an allowed host; retries are the caller's.

    The signature is ``sha256=`` and the HMAC-SHA256 of timestamp, a dot and the body, in
    hexadecimal. ``key`` in the body is the same for a repeat.
    """

    name = "webhook"

    def __init__(self, web: GuardedClient, url: str, secret: str, clock: Clock) -> None:
        """The client belongs to whoever made it."""
        if len(secret) < MIN_SECRET:
            raise UserError(f"The webhook's secret is shorter than {MIN_SECRET} characters.")
        self._web = web
        self._url = url
        self._secret = secret.encode()
        self._clock = clock

    async def send(self, notification: Notify) -> None:
        """Post it once."""
        body = json.dumps(
            {
                "version": 1,
                "key": notification.key,
                "level": notification.level,
                "title": plain(notification.title, _MAX_TITLE),
                "text": plain(notification.text, _MAX_TEXT),
                "url": link(notification) or None,
                "head_sha": notification.head_sha,
            }
        ).encode()
        moment = str(int(self._clock.now().timestamp()))
        headers = {
            "content-type": "application/json",
            TIMESTAMP: moment,
            SIGNATURE: signature(self._secret, moment, body),
        }
        answer = await self._web.post(self._url, body, headers)
        judge("Webhook", answer.status, answer.retry_after)

    async def close(self) -> None:
        """Hold nothing."""


def signature(secret: bytes, moment: str, body: bytes) -> str:
    """Return what a receiver compares the header with."""
    signed = hmac.new(secret, moment.encode() + b"." + body, hashlib.sha256)
    return f"sha256={signed.hexdigest()}"
