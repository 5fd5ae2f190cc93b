"""The orchestration layer put together: its components over one store and one outside."""

from dataclasses import dataclass
from datetime import timedelta

from pipelines.agents.registry import AGENTS
from pipelines.integrations.notifications.base import Notifier
from pipelines.orchestration.acting import Acting
from pipelines.orchestration.bus.base import MessageBus
from pipelines.orchestration.coordinator import Coordinator, Timers
from pipelines.orchestration.dispatch import Handler
from pipelines.orchestration.engine import WorkflowEngine
from pipelines.orchestration.error_handler import ErrorHandler
from pipelines.orchestration.execution import Execution
from pipelines.orchestration.facts import FactFinder
from pipelines.orchestration.memory import Memory
from pipelines.orchestration.outlets import Observatories, Outlets, Targets
from pipelines.orchestration.policy import PolicyEngine
from pipelines.orchestration.publication import Publication
from pipelines.orchestration.reports import TOGETHER, Reports
from pipelines.orchestration.roster import Roster
from pipelines.orchestration.standing import Standing
from pipelines.orchestration.state import StateManager
from pipelines.orchestration.tidying import Tidying
from pipelines.orchestration.work import EFFECTS, REPORTS, TIMERS
from pipelines.orchestration.workplace import Builders, Sandboxes, Site
from pipelines.ports import AgentRunner, Clock, Ids, Reporter, Rng, Source
from pipelines.replay.tape import Tape
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
    sandboxes: Sandboxes | None = None
    """None: nothing can be run, which agents say."""
    builders: Builders | None = None
    """None: no image is built."""
    targets: Targets | None = None
    """None: nothing can be deployed."""
    observatories: Observatories | None = None
    """None: nothing is measured, which is no breach."""
    notifier: Notifier | None = None
    """None: operators are not told."""
    memory: Memory | None = None
    """None: nothing is learned and no work of agents is kept beyond results."""
    tape: Tape | None = None
    """None: runs are not recorded and cannot be replayed."""
    together: timedelta = TOGETHER
    """What changes within this time is shown to users together."""


@dataclass(frozen=True, slots=True)
class Orchestration:
    """The components of the orchestration layer over one store."""

    state: StateManager
    coordinator: Coordinator
    standing: Standing
    errors: ErrorHandler
    execution: Execution
    roster: Roster
    tidying: Tidying
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
        state=state,
        engine=WorkflowEngine(),
        bus=bus,
        clock=clock,
        ids=outside.ids,
        agents=agents,
        tape=outside.tape,
        memory=outside.memory,
        together=outside.together,
    )
    facts = FactFinder(
        state=state,
        standing=standing,
        source=outside.source,
        clock=clock,
        agents=agents,
        day_budget_usd=outside.day_budget_usd,
    )
    site = _site(outside, state, policy, facts, errors)
    roster = Roster(worker=outside.worker, agents=agents, state=state, bus=bus, clock=clock)
    execution = Execution(
        coordinator=coordinator,
        runner=outside.runner,
        roster=roster,
        tape=outside.tape,
        site=site,
        policy=policy,
        facts=facts,
        errors=errors,
        bus=bus,
        clock=clock,
    )
    publication = Publication(
        coordinator=coordinator, state=state, acting=site.acting, bus=bus, clock=clock
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
    tidying = Tidying(state=state, acting=site.acting, clock=clock)
    return Orchestration(state, coordinator, standing, errors, execution, roster, tidying, handlers)


def _site(
    outside: Outside,
    state: StateManager,
    policy: PolicyEngine,
    facts: FactFinder,
    errors: ErrorHandler,
) -> Site:
    """Put together what acts, for tasks and for the publication of their results."""
    outlets = Outlets(
        reporter=outside.reporter,
        errors=errors,
        targets=outside.targets,
        observatories=outside.observatories,
        notifier=outside.notifier,
    )
    acting = Acting(
        state=state,
        outlets=outlets,
        policy=policy,
        facts=facts,
        bus=outside.bus,
        clock=outside.clock,
    )
    return Site(
        source=outside.source,
        state=state,
        acting=acting,
        outlets=outlets,
        bus=outside.bus,
        sandboxes=outside.sandboxes,
        builders=outside.builders,
        memory=outside.memory,
    )
