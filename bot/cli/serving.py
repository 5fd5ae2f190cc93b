"""One process that receives webhooks and works on them, from its start to its last lease."""

import asyncio
import random
import signal
import sys
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, cast

import structlog
import uvloop
from aiohttp import web

from bot.deliveries.inbox import Inbox, Triaged
from bot.deliveries.signature import SignatureVerifier
from bot.events.decoding import decode
from bot.events.filters import AppIdentity, Ignored
from bot.events.triggers import trigger_of
from bot.github.gateway import GitHub
from bot.redactor import Redactor
from bot.settings import ConductorConfig, load_settings
from bot.telemetry import Metrics, logging_to
from bot.web.alerts import AlertmanagerWebhook
from bot.web.app import create_app
from bot.web.edge import Address, serving
from bot.web.health import Health
from bot.web.webhooks import GitHubWebhook
from bot.wiring import Services, services
from bot.worker import Worker, check_heartbeat
from pipelines.errors import Parked, Retryable, UserError
from pipelines.integrations.observability.alerts import parse as parse_alerts
from pipelines.orchestration.bus.base import MessageBus
from pipelines.orchestration.news import ENDINGS
from pipelines.orchestration.state import BusJournal
from pipelines.ports import Clock
from pipelines.system import SortableIds, SystemClock

LONGEST_RETRY_SECONDS = 30.0

_log = structlog.stdlib.get_logger("bot.cli.serving")


def serve_forever() -> None:
    """Serve until SIGTERM or Ctrl-C, then finish or give back what is under way."""
    settings = load_settings()
    redactor, metrics = Redactor(settings.secrets()), Metrics()
    interactive = sys.stderr.isatty()
    with logging_to(
        sys.stderr,
        level=settings.conductor_log_level,
        log_format=settings.conductor_log_format or ("console" if interactive else "json"),
        redactor=redactor,
        metrics=metrics,
    ):
        try:
            uvloop.run(_serve(settings, redactor, metrics))
        except asyncio.CancelledError:
            _log.warning("stopped_at_once", consequence="what was under way starts again")
            sys.exit(1)


class Triage:
    """Judges a delivery by itself before it is stored; knows our own events once we know us."""

    def __init__(self) -> None:
        self.identity: AppIdentity | None = None

    def __call__(self, event: str, guid: str, body: bytes) -> Triaged:
        """Return whose turn the delivery takes and why it needs no work; raises Malformed."""
        payload = decode(body)
        tenant = _tenant(payload)
        if self.identity is None:
            return Triaged(tenant)
        meaning = trigger_of(event, guid, payload, self.identity)
        return Triaged(tenant, meaning.reason if isinstance(meaning, Ignored) else None)


def triage_alerts(event: str, guid: str, body: bytes) -> Triaged:
    """Judge a call of Alertmanager before it is stored; raises UserError if it is none."""
    del event, guid
    called = parse_alerts(body)
    if isinstance(called, str):
        raise UserError(called)
    reason = None if called.alerts else " ".join(called.left_out) or "It carries no alert."
    return Triaged("0/0", reason)


def _tenant(payload: Mapping[str, Any]) -> str:
    """Return installation and repository, for taking turns only; 0 where a payload has none."""
    return "/".join(_id(payload.get(part)) for part in ("installation", "repository"))


def _id(part: object) -> str:
    number = cast("dict[str, Any]", part).get("id") if isinstance(part, dict) else None
    return str(number) if type(number) is int and 0 <= number < 1 << 63 else "0"


async def _serve(settings: ConductorConfig, redactor: Redactor, metrics: Metrics) -> None:
    clock = SystemClock()
    stopping = _signalled()
    async with services(
        settings,
        clock=clock,
        ids=SortableIds(clock),
        rng=random.SystemRandom(),
        redactor=redactor,
        metrics=metrics,
    ) as parts:
        triage = Triage()
        app = application(settings, parts, metrics, triage, clock)
        listen = Address(settings.listen_host, settings.port)
        async with _counting(parts.bus, metrics):
            async with serving(app, listen) as address:
                print(f"Listening on http://{address.host}:{address.port}", flush=True)
                _log.info("listening", host=address.host, port=address.port)
                working = asyncio.create_task(_work(settings, parts, triage, clock, stopping))
                await _first(working, stopping)
            await working


@asynccontextmanager
async def _counting(bus: MessageBus, metrics: Metrics) -> AsyncGenerator[None]:
    """Feed the metrics with what ends, while the context is open."""
    async with bus.subscribe(ENDINGS) as news:
        counting = asyncio.create_task(metrics.follow(news))
        try:
            yield
        finally:
            counting.cancel()
            await asyncio.gather(counting, return_exceptions=True)


async def _first(working: "asyncio.Task[None]", stopping: asyncio.Event) -> None:
    """Return when the work has ended by itself or was told to."""
    told = asyncio.create_task(stopping.wait())
    try:
        await asyncio.wait({working, told}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        told.cancel()


def application(
    settings: ConductorConfig, parts: Services, metrics: Metrics, triage: Triage, clock: Clock
) -> web.Application:
    """Return the web application over these services."""
    secret = settings.github_webhook_secret
    assert secret is not None, "services() has checked that it is set"
    verifier = SignatureVerifier(secret, settings.github_webhook_secret_previous)
    journal = BusJournal(parts.store, parts.bus)
    webhook = GitHubWebhook(verifier, Inbox(journal, clock, triage), metrics, clock)
    alerts = AlertmanagerWebhook(
        settings.conductor_alerts_token, Inbox(journal, clock, triage_alerts), metrics
    )
    checks = {"storage": parts.store.ping, "worker": partial(check_heartbeat, parts.store)}
    return create_app(webhook, alerts, Health(checks, metrics, parts.bus.depth))


async def _work(
    settings: ConductorConfig,
    parts: Services,
    triage: Triage,
    clock: Clock,
    stopping: asyncio.Event,
) -> None:
    """Learn who we are, then work until told to stop; deliveries are stored meanwhile."""
    asking = asyncio.create_task(_identity(settings, parts.github, clock))
    told = asyncio.create_task(stopping.wait())
    await asyncio.wait({asking, told}, return_when=asyncio.FIRST_COMPLETED)
    if not asking.done():
        asking.cancel()
        return
    triage.identity = asking.result()
    worker = parts.worker(triage.identity)
    told.add_done_callback(partial(_stop, worker))
    await worker.run()


def _stop(worker: Worker, told: "asyncio.Task[object]") -> None:
    del told
    worker.stop()


async def _identity(settings: ConductorConfig, github: GitHub, clock: Clock) -> AppIdentity:
    """Ask GitHub who the App is until it answers; raises UserError if it refuses the App."""
    wait = 1.0
    while True:
        try:
            identity = await github.identity()
        except (Retryable, Parked) as error:
            _log.warning("github_not_reached", error=str(error), retry_in_seconds=wait)
            await clock.sleep(wait)
            wait = min(2 * wait, LONGEST_RETRY_SECONDS)
            continue
        if not identity.bot_id:
            raise UserError("GitHub did not say which account the App acts as.")
        return AppIdentity(
            app_id=identity.app_id,
            bot_user_id=identity.bot_id,
            slug=identity.slug,
            marker_keys=settings.marker_keys,
        )


def _signalled() -> asyncio.Event:
    """Return an event that SIGTERM and Ctrl-C set; a second one ends the process at once."""
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()
    assert task is not None
    cancel: Callable[[], object] = task.cancel

    def asked() -> None:
        _log.info("asked_to_stop", at_once=stopping.is_set())
        (cancel if stopping.is_set() else stopping.set)()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, asked)
    return stopping
