"""The processes that serve, from their start to their last lease: receive, work, or both."""

import asyncio
import random
import signal
import sys
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import structlog
import uvloop
from aiohttp import web

from bot.deliveries.inbox import Inbox, Triaged
from bot.deliveries.pressure import Pressure
from bot.deliveries.signature import SignatureVerifier
from bot.events.decoding import decode
from bot.events.filters import AppIdentity, Ignored
from bot.events.triggers import trigger_of
from bot.github.gateway import GitHub
from bot.redactor import Redactor
from bot.settings import ConductorConfig, load_settings
from bot.telemetry import Metrics, logging_to
from bot.web.alerts import AlertmanagerWebhook
from bot.web.app import create_app, create_health_app
from bot.web.edge import Address, serving
from bot.web.health import Health
from bot.web.webhooks import GitHubWebhook
from bot.wiring import Frontage, Services, frontage, services
from bot.worker import Worker, check_heartbeat
from pipelines.errors import NotStored, Parked, Retryable, UserError
from pipelines.integrations.observability.alerts import parse as parse_alerts
from pipelines.orchestration.bus.base import MessageBus
from pipelines.orchestration.news import ENDINGS
from pipelines.orchestration.state import BusJournal
from pipelines.ports import Clock
from pipelines.system import SortableIds, SystemClock

LONGEST_RETRY_SECONDS = 30.0

_log = structlog.stdlib.get_logger("bot.cli.serving")


@dataclass(frozen=True, slots=True)
class Process:
    """What a process is given to run with."""

    settings: ConductorConfig
    redactor: Redactor
    metrics: Metrics
    clock: Clock
    stopping: asyncio.Event
    """Set when somebody asked it to end."""


Role = Callable[[Process], Coroutine[Any, Any, None]]
"""What a process does from its start until it is told to stop."""


def run_forever(role: Role) -> None:
    """Run until SIGTERM or Ctrl-C, then finish or give back what is under way."""
    settings = load_settings()
    redactor, metrics = Redactor(settings.secrets()), Metrics()
    interactive = sys.stderr.isatty()

    async def run() -> None:
        await role(Process(settings, redactor, metrics, SystemClock(), _signalled()))

    with logging_to(
        sys.stderr,
        level=settings.conductor_log_level,
        log_format=settings.conductor_log_format or ("console" if interactive else "json"),
        redactor=redactor,
        metrics=metrics,
    ):
        try:
            uvloop.run(run())
        except asyncio.CancelledError:
            _log.warning("stopped_at_once", consequence="what was under way starts again")
            sys.exit(1)


async def serve(process: Process) -> None:
    """Receive deliveries and work on them, in one process."""
    async with _services(process) as parts:
        triage, pressure = Triage(), _pressure(process, parts)
        app = application(
            process.settings, parts, process.metrics, triage, process.clock, pressure=pressure
        )
        async with _counting(parts.bus, process.metrics):
            async with pressure.watching(), _listening(app, process.settings.port, process):
                working = asyncio.create_task(_work(process, parts, triage))
                await _first(working, process.stopping)
            await working


async def receive(process: Process) -> None:
    """Receive deliveries, on which workers in other processes work."""
    settings, clock = process.settings, process.clock
    _shared(settings)
    async with frontage(
        settings,
        clock=clock,
        ids=SortableIds(clock),
        redactor=process.redactor,
        metrics=process.metrics,
    ) as parts:
        triage, pressure = Triage(), _pressure(process, parts)
        app = application(settings, parts, process.metrics, triage, clock, pressure=pressure)
        async with pressure.watching(), _listening(app, settings.port, process):
            triage.identity = await _introduced(process, parts.github)
            await process.stopping.wait()


async def work(process: Process) -> None:
    """Work on what other processes receive."""
    _shared(process.settings)
    async with (
        _services(process) as parts,
        _counting(parts.bus, process.metrics),
        _probed(process, parts),
    ):
        await _work(process, parts, Triage())


def _shared(settings: ConductorConfig) -> None:
    """Raise UserError unless several processes can use the store at a time."""
    scheme = settings.conductor_storage_url.partition("://")[0]
    if scheme in ("memory", "sqlite"):
        raise UserError(
            "Separate web and worker processes need a Redis that they share: set REDIS_URL, "
            "or start `conductor serve`, which is both in one process."
        )


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


def _pressure(process: Process, parts: Frontage) -> Pressure:
    settings = process.settings
    return Pressure(
        parts.bus.depth,
        parts.store.fullness,
        process.clock,
        limit=settings.conductor_backlog,
        limit_bytes=settings.conductor_backlog_mib << 20,
    )


def _services(process: Process) -> AbstractAsyncContextManager[Services]:
    return services(
        process.settings,
        clock=process.clock,
        ids=SortableIds(process.clock),
        rng=random.SystemRandom(),
        redactor=process.redactor,
        metrics=process.metrics,
    )


@asynccontextmanager
async def _listening(app: web.Application, port: int, process: Process) -> AsyncGenerator[None]:
    """Serve the application while the context is open, and say where."""
    async with serving(app, Address(process.settings.listen_host, port)) as address:
        print(f"Listening on http://{address.host}:{address.port}", flush=True)
        _log.info("listening", host=address.host, port=address.port)
        yield


@asynccontextmanager
async def _probed(process: Process, parts: Frontage) -> AsyncGenerator[None]:
    """Answer probes and Prometheus while the context is open, where the operator wants it."""
    port = process.settings.conductor_health_port
    if port is None:
        yield
        return
    app = create_health_app(health(parts, process.metrics))
    async with _listening(app, port, process):
        yield


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


async def _first(working: "asyncio.Task[Any]", stopping: asyncio.Event) -> None:
    """Return when the work has ended by itself or was told to."""
    told = asyncio.create_task(stopping.wait())
    try:
        await asyncio.wait({working, told}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        told.cancel()


def application(
    settings: ConductorConfig,
    parts: Frontage,
    metrics: Metrics,
    triage: Triage,
    clock: Clock,
    *,
    pressure: Pressure | None = None,
) -> web.Application:
    """Return the web application over these services, which takes in what ``pressure`` allows."""
    secret = settings.github_webhook_secret
    assert secret is not None, "frontage() has checked that it is set"
    verifier = SignatureVerifier(secret, settings.github_webhook_secret_previous)
    journal = BusJournal(parts.store, parts.bus)
    webhook = GitHubWebhook(verifier, Inbox(journal, clock, triage, pressure), metrics, clock)
    alerts = AlertmanagerWebhook(
        settings.conductor_alerts_token,
        Inbox(journal, clock, triage_alerts, pressure),
        metrics,
    )
    return create_app(webhook, alerts, health(parts, metrics))


def health(parts: Frontage, metrics: Metrics) -> Health:
    """Return what says whether the process is alive and ready."""
    checks = {"storage": parts.store.ping, "worker": partial(check_heartbeat, parts.store)}
    return Health(checks, metrics, parts.bus.depth)


async def _work(process: Process, parts: Services, triage: Triage) -> None:
    """Learn who we are, then work until told to stop; deliveries are stored meanwhile."""
    triage.identity = await _introduced(process, parts.github)
    if triage.identity is None:
        return
    worker = parts.worker(triage.identity)
    told = asyncio.create_task(process.stopping.wait())
    told.add_done_callback(partial(_stop, worker))
    try:
        await worker.run()
    finally:
        told.cancel()


async def _introduced(process: Process, github: GitHub) -> AppIdentity | None:
    """Return who the App is, or None if the process was told to stop before GitHub answered."""
    asking = asyncio.create_task(_identity(process.settings, github, process.clock))
    try:
        await _first(asking, process.stopping)
        return asking.result() if asking.done() else None
    finally:
        asking.cancel()


def _stop(worker: Worker, told: "asyncio.Task[object]") -> None:
    if not told.cancelled():
        worker.stop()


async def _identity(settings: ConductorConfig, github: GitHub, clock: Clock) -> AppIdentity:
    """Ask GitHub who the App is until it answers; raises UserError if it refuses the App.

    NotStored is what a store out of reach looks like in which requests to GitHub are counted.
    """
    wait = 1.0
    while True:
        try:
            identity = await github.identity()
        except (Retryable, Parked, NotStored) as error:
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
