"""The only place that builds concrete clients, stores and agents, and puts them together."""

import os
import socket
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import structlog
from httpx2 import AsyncClient

from bot import __version__
from bot.deliveries.delivery import QUEUE as DELIVERIES
from bot.events.filters import AppIdentity
from bot.github.gateway import GitHub
from bot.github.permissions import PermissionChecker
from bot.github.source import GitHubSource
from bot.github.throttle import Ledger
from bot.github.transport import http_client
from bot.intake import build_intake
from bot.intake.recovery import RECOVERIES
from bot.intake.schedules import Schedules
from bot.redactor import Redactor
from bot.reporting.publisher import GitHubReporter
from bot.settings import ConductorConfig
from bot.telemetry import Metrics
from bot.wiring.deployments import targets
from bot.wiring.instruments import (
    Surroundings,
    bubblewrap,
    docker,
    notifier,
    observatories,
    sandboxes,
)
from bot.wiring.recovery import recoveries
from bot.wiring.sharing import fleet_caps, shared_ledger
from bot.worker import FleetCaps, Lane, Sweep, Worker
from pipelines.agents.process import ProcessRunner
from pipelines.errors import UserError
from pipelines.integrations.llm.chain import CallRecord
from pipelines.integrations.llm.factory import ProviderSettings
from pipelines.orchestration.assembly import Orchestration, Outside, orchestrate
from pipelines.orchestration.bus.base import MessageBus
from pipelines.orchestration.bus.open import open_bus
from pipelines.orchestration.dispatch import Dispatcher
from pipelines.orchestration.roster import TOLD_SECONDS
from pipelines.orchestration.work import EFFECTS, REPORTS, TIMERS
from pipelines.ports import AgentRunner, Clock, Ids, Rng
from pipelines.replay.tape import Tape
from pipelines.stores.archive import Archive
from pipelines.stores.backend import StorageBackend
from pipelines.stores.open import open_backend

_log = structlog.stdlib.get_logger("bot.wiring")

SWEEP_SECONDS = 60.0
PRUNE_SECONDS = 3600.0
"""Between looks at what repositories have too much of, which reads all that they have."""
WAITING = frozenset({"agent.deploy", "agent.monitor"})
WATCHES = 100
"""How many deployments and watches go on at the same time in one process."""


@dataclass(frozen=True, slots=True)
class Frontage:
    """What a process needs that receives deliveries, ready to be used."""

    store: StorageBackend
    bus: MessageBus
    github: GitHub
    """For asking who we are; a process that only receives writes nothing to GitHub."""
    name: str
    """Of this process, and of no other that runs at the same time."""


@dataclass(frozen=True, slots=True)
class Services(Frontage):
    """What a process needs that works too, ready to be used."""

    orchestration: Orchestration
    worker: Callable[[AppIdentity], Worker]
    """Makes the worker once GitHub has said who the App is."""


@dataclass(frozen=True, slots=True)
class Doorway:
    """What taking deliveries in asks of GitHub, shared with whoever else asks it."""

    github: GitHub
    permissions: PermissionChecker
    source: GitHubSource


@asynccontextmanager
async def frontage(
    settings: ConductorConfig, *, clock: Clock, ids: Ids, redactor: Redactor, metrics: Metrics
) -> AsyncGenerator[Frontage]:
    """Open what a process needs that only receives, and close it again in order."""
    _app(settings)  # what is missing is said before anything is opened
    name = f"{socket.gethostname()}/{os.getpid()}/{ids()[-8:]}"
    async with AsyncExitStack() as opened:
        store = open_backend(settings.conductor_storage_url, clock)
        opened.push_async_callback(store.close)
        ledger = await shared_ledger(store)
        http = http_client()
        opened.push_async_callback(http.aclose)
        bus = open_bus(store, clock, name)
        opened.push_async_callback(bus.close)
        await bus.start()
        yield Frontage(
            store, bus, _github(settings, http, clock, redactor, metrics, ledger=ledger), name
        )


@asynccontextmanager
async def services(
    settings: ConductorConfig,
    *,
    clock: Clock,
    ids: Ids,
    rng: Rng,
    redactor: Redactor,
    metrics: Metrics,
    runner: AgentRunner | None = None,
) -> AsyncGenerator[Services]:
    """Open everything that a process needs that works, and close it again in order.

    Agents run in a process of their own, or in ``runner`` if one is given; it is closed too.
    """
    async with AsyncExitStack() as opened:
        front = await opened.enter_async_context(
            frontage(settings, clock=clock, ids=ids, redactor=redactor, metrics=metrics)
        )
        store, bus, github = front.store, front.bus, front.github
        agents = runner or _agent_process(settings, clock, redactor, metrics)
        opened.push_async_callback(agents.close)
        permissions = PermissionChecker(github, clock)
        keys, page = settings.marker_keys, base_url(settings)
        source = GitHubSource(github, permissions, clock, marker_keys=keys)
        around = Surroundings(settings, clock, ids, opened)
        engine, bubbles = docker(around), bubblewrap(around)
        isolated = settings.conductor_local_target and (await bubbles.available()).usable
        choice = sandboxes(around, engine, bubbles)
        outside = Outside(
            store=store,
            bus=bus,
            source=source,
            reporter=GitHubReporter(github, redact=redactor, base_url=page, marker_keys=keys),
            runner=agents,
            clock=clock,
            ids=ids,
            rng=rng,
            worker=front.name,
            day_budget_usd=settings.conductor_budget_usd_per_day,
            sandboxes=choice.strongest,
            builders=choice.builder,
            targets=targets(around, engine, github, source, isolated=isolated),
            observatories=observatories(around, store),
            notifier=notifier(around),
            memory=Archive(store, clock),
            tape=Tape(store),
        )
        parts, doorway = orchestrate(outside), Doorway(github, permissions, source)
        yield Services(
            store=store,
            bus=bus,
            github=github,
            name=front.name,
            orchestration=parts,
            worker=lambda me: _worker(settings, outside, parts, doorway, me),
        )


def _github(
    settings: ConductorConfig,
    http: AsyncClient,
    clock: Clock,
    redactor: Redactor,
    metrics: Metrics,
    *,
    ledger: Ledger | None,
) -> GitHub:
    app_id, key = _app(settings)
    return GitHub(
        http,
        app_id=str(app_id),
        private_key=key,
        api_url=str(settings.github_api_url),
        clock=clock,
        version=__version__,
        register_secret=redactor.add,
        on_request=_github_metrics(metrics),
        ledger=ledger,
    )


def _agent_process(
    settings: ConductorConfig, clock: Clock, redactor: Redactor, metrics: Metrics
) -> AgentRunner:
    return ProcessRunner(
        provider_settings(settings),
        clock,
        environ=os.environ,
        log=_agent_log,
        redact=redactor,
        recorder=model_metrics(metrics),
    )


def _worker(
    settings: ConductorConfig,
    outside: Outside,
    parts: Orchestration,
    doorway: Doorway,
    identity: AppIdentity,
) -> Worker:
    intake = build_intake(
        coordinator=parts.coordinator,
        state=parts.state,
        standing=parts.standing,
        source=doorway.source,
        permissions=doorway.permissions,
        store=outside.store,
        bus=outside.bus,
        clock=outside.clock,
        identity=identity,
        repositories=doorway.github.repository,
    )
    rescue = recoveries(
        parts,
        doorway.github,
        doorway.source,
        identity,
        store=outside.store,
        bus=outside.bus,
        clock=outside.clock,
    )
    dispatcher = Dispatcher(
        {**parts.handlers, DELIVERIES: intake, RECOVERIES: rescue.handler},
        bus=outside.bus,
        errors=parts.errors,
        clock=outside.clock,
    )
    return Worker(
        name=outside.worker,
        lanes=(
            Lane("deliveries", (DELIVERIES,), 4),
            Lane("publishing", (EFFECTS, REPORTS, TIMERS), 8),
            rescue.lane,
            *agent_lanes(
                parts.coordinator.queues, settings.conductor_concurrency, fleet_caps(settings)
            ),
        ),
        dispatcher=dispatcher,
        bus=outside.bus,
        store=outside.store,
        clock=outside.clock,
        sweeps=(*rescue.sweeps, *_sweeps(outside, parts)),
        listener=parts.execution.listening,
        lease_seconds=settings.conductor_lease_seconds,
    )


def _sweeps(outside: Outside, parts: Orchestration) -> tuple[Sweep, ...]:
    store, clock = outside.store, outside.clock
    schedules = Schedules(store, outside.bus, clock)
    return (
        Sweep("agents", TOLD_SECONDS, parts.roster.tell, everywhere=True),
        Sweep("schedules", SWEEP_SECONDS, schedules.sweep),
        Sweep("deadlines", SWEEP_SECONDS, parts.coordinator.tick_all),
        Sweep("deployments left", SWEEP_SECONDS, parts.tidying.sweep),
        Sweep("expired records", SWEEP_SECONDS, store.sweep),
        Sweep("surplus of tenants", PRUNE_SECONDS, Archive(store, clock).prune),
        Sweep("surplus of recordings", PRUNE_SECONDS, Tape(store).prune),
    )


def agent_lanes(
    queues: Sequence[str], concurrency: int, caps: FleetCaps | None = None
) -> tuple[Lane, ...]:
    """Return the lanes of the agents: one for those that work, one for those that mostly wait.

    A deployment and its watch last for minutes in which they only look from time to time, so they
    would keep the others from working.
    """
    waiting = tuple(queue for queue in queues if queue in WAITING)
    working = tuple(queue for queue in queues if queue not in WAITING)
    return (
        Lane("agents", working, concurrency, caps, early=True),
        Lane("waiting", waiting, WATCHES, early=True),
    )


def local_worker(outside: Outside, parts: Orchestration, *, concurrency: int = 8) -> Worker:
    """Return a worker for a run that no delivery started."""
    dispatcher = Dispatcher(
        parts.handlers, bus=outside.bus, errors=parts.errors, clock=outside.clock
    )
    return Worker(
        name=outside.worker,
        lanes=(
            Lane("publishing", (EFFECTS, REPORTS, TIMERS), 4),
            *agent_lanes(parts.coordinator.queues, concurrency),
        ),
        dispatcher=dispatcher,
        bus=outside.bus,
        store=outside.store,
        clock=outside.clock,
        listener=parts.execution.listening,
    )


def provider_settings(settings: ConductorConfig) -> ProviderSettings:
    """Return the model providers' keys and addresses."""
    return ProviderSettings(
        anthropic_key=settings.anthropic_api_key,
        anthropic_url=_url(settings.anthropic_base_url),
        openai_key=settings.openai_api_key,
        openai_url=_url(settings.openai_base_url),
        models=settings.conductor_models,
    )


def base_url(settings: ConductorConfig) -> str:
    """Return Conductor's public address without a slash at its end; empty if there is none."""
    return _url(settings.conductor_base_url) or ""


def _url(value: object) -> str | None:
    return str(value).rstrip("/") if value else None


def _app(settings: ConductorConfig) -> tuple[int, str]:
    """Return App id and key; raises UserError that names every variable that is missing."""
    key = settings.private_key()
    missing = [
        name
        for name, value in (
            ("GITHUB_APP_ID", settings.github_app_id),
            ("GITHUB_PRIVATE_KEY or GITHUB_PRIVATE_KEY_PATH", key),
            ("GITHUB_WEBHOOK_SECRET", settings.github_webhook_secret),
        )
        if not value
    ]
    if settings.github_app_id is None or key is None or missing:
        raise UserError(f"Set {', '.join(missing)} in the environment or in a .env file.")
    return settings.github_app_id, key.get_secret_value()


def _agent_log(line: str) -> None:
    _log.info("agent_process", line=line)


def _github_metrics(metrics: Metrics) -> Callable[[str, str, int, float], None]:
    def record(method: str, route: str, status: int, seconds: float) -> None:
        del route
        metrics.github_requests.labels(method, str(status)).inc()
        metrics.github_seconds.observe(seconds)

    return record


def model_metrics(metrics: Metrics) -> Callable[[CallRecord], None]:
    """Return what counts each model call's tokens and cost."""

    def record(call: CallRecord) -> None:
        # Repositories name models, so only a name that a provider answered to becomes a label.
        usage, model = call.usage, call.model if call.ok else "unanswered"
        for kind, count in (
            ("input", usage.input_tokens),
            ("output", usage.output_tokens),
            ("cache_read", usage.cache_read_tokens),
            ("cache_write", usage.cache_write_tokens),
        ):
            metrics.model_tokens.labels(model, kind).inc(count)
        metrics.model_cost.labels(model).inc(usage.cost_usd)

    return record
