"""``POST /webhooks/alertmanager``: a bearer token instead of a signature, and the same inbox.

https://prometheus.io/docs/alerting/latest/configuration/#webhook_config
"""

import asyncio
import hashlib
import hmac

import structlog
from aiohttp import web
from pydantic import SecretStr

from bot.deliveries.delivery import ALERTS
from bot.deliveries.inbox import Accepted, Inbox, Verdict
from bot.telemetry import Metrics
from bot.web.body import BodyReader
from bot.web.refusal import Refused, check_media, headers_of, status_of
from pipelines.errors import ConductorError, NotStored

STORE_SECONDS = 2.0
MAX_BODY_BYTES = 1024 * 1024

_log = structlog.stdlib.get_logger("bot.web.alerts")


class AlertmanagerWebhook:
    """The handler of Alertmanager's calls; without a token there is no such page.

    A call has no number of its own, so its content is its identity: when Alertmanager repeats what
    it has said, it is answered as a duplicate.
    """

    def __init__(
        self,
        token: SecretStr | None,
        inbox: Inbox,
        metrics: Metrics,
        bodies: BodyReader | None = None,
    ) -> None:
        self._token = token
        self._inbox = inbox
        self._metrics = metrics
        self._bodies = bodies or BodyReader(max_body=MAX_BODY_BYTES)

    async def receive(self, request: web.Request) -> web.Response:
        """Answer 202 stored, 200 duplicate or ignored, 400, 401, 404, 413, 415, or 503."""
        if self._token is None:
            raise web.HTTPNotFound
        headers: dict[str, str] = {}
        try:
            accepted = await self._accept(request, self._token)
            status = 202 if accepted.verdict is Verdict.STORED else 200
            result, reason = str(accepted.verdict), accepted.reason
        except ConductorError as error:
            status, reason, headers = status_of(error), str(error), headers_of(error)
            result = "refused" if status != 503 else "not_stored"
        self._metrics.deliveries.labels(ALERTS, result).inc()
        _log.info("alerts_answered", status=status, result=result, reason=reason)
        return web.json_response(
            {"result": result, "reason": reason}, status=status, headers=headers
        )

    async def _accept(self, request: web.Request, token: SecretStr) -> Accepted:
        given = request.headers.getall("Authorization", [])
        wanted = f"Bearer {token.get_secret_value()}".encode()
        if len(given) != 1 or not hmac.compare_digest(given[0].encode("utf-8", "replace"), wanted):
            raise Refused(401, "The bearer token is missing or wrong; set CONDUCTOR_ALERTS_TOKEN.")
        check_media(request)
        body = await self._bodies.read(request)
        guid = f"alerts-{hashlib.sha256(body).hexdigest()[:40]}"
        structlog.contextvars.bind_contextvars(github_delivery_id=guid, github_event_type=ALERTS)
        try:
            async with asyncio.timeout(STORE_SECONDS):
                return await self._inbox.accept(guid, ALERTS, body)
        except TimeoutError as error:
            raise NotStored("Storing took longer than 2 seconds; send it again.") from error
