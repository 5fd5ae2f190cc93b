"""The orchestration layer put together: its components over one store and one outside."""

from dataclasses import dataclass

from pipelines.agents.registry import AGENTS
from pipelines.orchestration.bus.base import MessageBus
from pipelines.orchestration.coordinator import Coordinator, Timers
from pipelines.orchestration.dispatch import Handler
from pipelines.orchestration.engine import WorkflowEngine
from pipelines.orchestration.error_handler import ErrorHandler
from pipelines.orchestration.execution import Execution
from pipelines.orchestration.facts import FactFinder
from pipelines.orchestration.policy import PolicyEngine
from pipelines.orchestration.publication import Publication
from pipelines.orchestration.reports import Reports
from pipelines.orchestration.standing import Standing
from pipelines.orchestration.state import StateManager
from pipelines.orchestration.work import EFFECTS, REPORTS, TIMERS
from pipelines.ports import AgentRunner, Clock, Ids, Reporter, Rng, Source
from pipelines.stores.backend import StorageBackend


@dataclass(frozen=True, slots=True)
class Outside:
    """Everything that orchestration asks of the outside."""

    store: StorageBackend
    bus: MessageBus
    source: Source
    reporter: Reporter
    runner: AgentRunner
    clock: Clock
    ids: Ids
    rng: Rng
    agents: frozenset[str] = frozenset(AGENTS)
    """The agents that this installation has."""
    worker: str = "local"
    """The name that agents' records carry."""
    day_budget_usd: float | None = None


@dataclass(frozen=True, slots=True)
class Orchestration:
    """The components of the orchestration layer over one store."""

    state: StateManager
    coordinator: Coordinator
    standing: Standing
    errors: ErrorHandler
    execution: Execution
    handlers: dict[str, Handler]
    """By queue; the one of the deliveries is added by whoever takes deliveries in."""


def orchestrate(outside: Outside) -> Orchestration:
    """Put the components together; nothing is started yet."""
    clock, bus = outside.clock, outside.bus
    agents = outside.agents
    state = StateManager(outside.store, bus, clock)
    standing = Standing(outside.store)
    errors = ErrorHandler(clock=clock, rng=outside.rng)
    policy = PolicyEngine()
    coordinator = Coordinator(
        state=state, engine=WorkflowEngine(), bus=bus, clock=clock, ids=outside.ids, agents=agents
    )
    facts = FactFinder(
        state=state,
        standing=standing,
        clock=clock,
        agents=agents,
        day_budget_usd=outside.day_budget_usd,
    )
    execution = Execution(
        coordinator=coordinator,
        runner=outside.runner,
        worker=outside.worker,
        source=outside.source,
        policy=policy,
        facts=facts,
        errors=errors,
        bus=bus,
        clock=clock,
    )
    publication = Publication(
        coordinator=coordinator,
        state=state,
        reporter=outside.reporter,
        policy=policy,
        facts=facts,
        errors=errors,
        bus=bus,
        clock=clock,
    )
    reports = Reports(
        coordinator=coordinator,
        state=state,
        reporter=outside.reporter,
        errors=errors,
        bus=bus,
        clock=clock,
    )
    handlers: dict[str, Handler] = {
        "agent.": execution,
        EFFECTS: publication,
        REPORTS: reports,
        TIMERS: Timers(coordinator),
    }
    return Orchestration(state, coordinator, standing, errors, execution, handlers)
