"""``POST /webhooks/github``: verify, store, answer. Nothing else happens here."""

import asyncio
import re

import structlog
from aiohttp import web

from bot.deliveries.inbox import Accepted, Inbox, Verdict
from bot.deliveries.signature import SignatureVerifier
from bot.telemetry import Metrics, event_label
from bot.web.body import BodyReader
from bot.web.refusal import Refused, check_media, headers_of, status_of
from pipelines.errors import ConductorError, NotStored
from pipelines.ports import Clock

STORE_SECONDS = 2.0
"""How long storing may take before the sender is told to keep the delivery."""

_log = structlog.stdlib.get_logger("bot.web.webhooks")
_GUID = re.compile(r"[A-Za-z0-9-]{1,64}", re.ASCII)
_EVENT = re.compile(r"[a-z_]{1,64}", re.ASCII)
_STATUS = {Verdict.STORED: 202, Verdict.DUPLICATE: 200, Verdict.IGNORED: 200}


class GitHubWebhook:
    """The handler of GitHub's deliveries."""

    def __init__(
        self,
        verifier: SignatureVerifier,
        inbox: Inbox,
        metrics: Metrics,
        clock: Clock,
        bodies: BodyReader | None = None,
    ) -> None:
        self._verifier = verifier
        self._inbox = inbox
        self._metrics = metrics
        self._clock = clock
        self._bodies = bodies or BodyReader()

    async def receive(self, request: web.Request) -> web.Response:
        """Answer 202 stored, 200 duplicate or ignored, 400, 401, 413, 415, or 503 not stored."""
        started = self._clock.monotonic()
        event = request.headers.get("X-GitHub-Event", "")
        headers: dict[str, str] = {}
        try:
            accepted = await self._accept(request)
            status, result, reason = _STATUS[accepted.verdict], accepted.verdict, accepted.reason
        except ConductorError as error:
            status, reason, headers = status_of(error), str(error), headers_of(error)
            result = "refused" if status != 503 else "not_stored"
        self._metrics.deliveries.labels(event_label(event), str(result)).inc()
        self._metrics.acknowledgement.observe(self._clock.monotonic() - started)
        level = "info" if status < 500 else "error"
        getattr(_log, level)("delivery_answered", status=status, result=str(result), reason=reason)
        return web.json_response(
            {"result": str(result), "reason": reason}, status=status, headers=headers
        )

    async def _accept(self, request: web.Request) -> Accepted:
        signatures = request.headers.getall("X-Hub-Signature-256", [])
        if not self._verifier.well_formed(signatures):
            raise Refused(401, "The X-Hub-Signature-256 header is missing or malformed.")
        check_media(request)
        body = await self._bodies.read(request)
        if not self._verifier.verify(signatures[0], body):
            raise Refused(401, "The signature does not match; check the webhook secret.")
        guid = _header(request, "X-GitHub-Delivery", _GUID)
        event = _header(request, "X-GitHub-Event", _EVENT)
        structlog.contextvars.bind_contextvars(github_delivery_id=guid, github_event_type=event)
        try:
            async with asyncio.timeout(STORE_SECONDS):
                return await self._inbox.accept(guid, event, body)
        except TimeoutError as error:
            raise NotStored("Storing took longer than 2 seconds; redeliver it later.") from error


def _header(request: web.Request, name: str, form: re.Pattern[str]) -> str:
    values = request.headers.getall(name, [])
    if len(values) != 1 or not form.fullmatch(values[0]):
        raise Refused(400, f"The {name} header is missing or malformed.")
    return values[0]
