"""The Agent Coordinator: starts runs, lets events happen to them, routes their steps to agents."""

from collections.abc import AsyncIterator, Collection
from datetime import timedelta
from functools import partial
from typing import TypeVar

import structlog

from pipelines.errors import Conflict
from pipelines.model import TaskResult, WorkflowRun
from pipelines.orchestration.bus.base import MessageBus
from pipelines.orchestration.changes import ANSWERS, Changes
from pipelines.orchestration.concurrency import waits_for_turn
from pipelines.orchestration.engine import WorkflowEngine
from pipelines.orchestration.error_handler import Decision
from pipelines.orchestration.joint import Alone, Deciding, JointDecisions
from pipelines.orchestration.memory import Memory
from pipelines.orchestration.state import StateManager
from pipelines.orchestration.transitions import RunEvent, Ticked
from pipelines.orchestration.work import AGENT, UNAVAILABLE, job_of
from pipelines.ports import Clock, Ids, Lease, Write
from pipelines.replay.tape import Tape

log = structlog.get_logger(__name__)

T = TypeVar("T")

MAX_CONFLICTS = 10
"""How often one decision is taken anew because something else changed the same run first."""


class Coordinator:
    """Knows the agents of this installation and carries out what the engine decides.

    Everything that one decision changes is stored in one atomic step; when a record changed since
    it was read, the decision is taken again on what it is now.
    """

    def __init__(
        self,
        *,
        state: StateManager,
        engine: WorkflowEngine,
        bus: MessageBus,
        clock: Clock,
        ids: Ids,
        agents: Collection[str],
        tape: Tape | None = None,
        memory: Memory | None = None,
        together: timedelta = timedelta(),
    ) -> None:
        """``together`` is the time within which changes are shown to users together."""
        self._together = together
        self._memory = memory
        self.agents = frozenset(agents)
        self._tape = tape
        self._state = state
        self._engine = engine
        self._bus = bus
        self._clock = clock
        self._ids = ids
        self._joint = JointDecisions(partial(self._changes, fresh=False))

    @property
    def queues(self) -> tuple[str, ...]:
        """The queues of all agents, and that of the steps whose agent is not here."""
        return (*(f"{AGENT}{name}" for name in sorted(self.agents)), UNAVAILABLE)

    def _changes(self, *, fresh: bool = True) -> Changes:
        """Return an empty set of changes to gather a decision in."""
        return Changes(
            state=self._state,
            engine=self._engine,
            bus=self._bus,
            clock=self._clock,
            ids=self._ids,
            agents=self.agents,
            tape=self._tape,
            memory=self._memory,
            together=self._together,
            fresh=fresh,
        )

    async def run(self, tenant: str, run_id: str) -> WorkflowRun | None:
        """Return the run as it is stored, or None."""
        return await self._state.get(tenant, run_id)

    async def newest(self, tenant: str, group: str) -> WorkflowRun | None:
        """Return the newest run of a group, or None if it never had one."""
        record = await self._state.group(tenant, group)
        return await self._state.get(tenant, record.run_id) if record else None

    async def live_on(self, tenant: str, number: int) -> AsyncIterator[WorkflowRun]:
        """Yield every live run for a pull request, whatever its workflow was or is called.

        Answers to commands are left out: they are not work on the pull request.
        """
        async for run in self._state.live(f"{tenant}/"):
            if run.change.number == number and run.workflow != ANSWERS:
                yield run

    async def apply(
        self,
        tenant: str,
        run_id: str,
        *events: RunEvent,
        settled: Lease | None = None,
        result: tuple[str, TaskResult] | None = None,
        writes: tuple[Write, ...] = (),
    ) -> WorkflowRun | None:
        """Let events happen to a run and return it as it is then; None if there is none.

        The lease is settled, the step's result and other records are stored in the same step.
        """

        async def decide(changes: Changes) -> WorkflowRun | None:
            changes.settle(settled)
            changes.write(*writes)
            return await changes.advance(tenant, run_id, *events, result=result)

        return await self.decide(decide, about=run_id)

    async def settle(self, lease: Lease, *, writes: tuple[Write, ...] = ()) -> None:
        """Count a message as done; nothing else changes but these records."""
        changes = self._changes()
        changes.settle(lease)
        changes.write(*writes)
        await changes.commit()

    async def decide(self, decision: Deciding[T], *, about: str = "") -> T:
        """Take a decision and store it, again from the start whenever it came too late.

        Decisions of this process ``about`` one run wait for each other or are stored together, and
        are taken at first on the run as it was seen last; that only saves decisions that would
        come too late, and waiting. Raises Conflict if that happens too often, which makes the
        message wait and try again.
        """
        if not about:
            return await self._decide(decision)
        try:
            return await self._joint.decide(about, decision)
        except Alone:
            return await self._joint.alone(about, partial(self._decide, decision))

    async def _decide(self, decision: Deciding[T]) -> T:
        turn = 0
        while True:
            changes, turn = self._changes(), turn + 1
            try:
                outcome = await decision(changes)
                await changes.commit()
            except Conflict as conflict:
                log.debug("decided on what has changed", key=conflict.key, turn=turn)
                if turn == MAX_CONFLICTS:
                    raise
            else:
                return outcome

    async def tick_all(self) -> None:
        """End what is beyond its deadline in any run, also where a wake-up was lost.

        A run that waits for its turn though nobody has it begins.
        """
        now = self._clock.now()
        async for run in self._state.live():
            tenant = run.change.repository.tenant
            if any(step.deadline and step.deadline <= now for step in run.steps):
                await self.apply(tenant, run.id, Ticked())
            elif waits_for_turn(run):
                await self.decide(partial(_resume, tenant, run.id))


async def _resume(tenant: str, run_id: str, changes: Changes) -> None:
    await changes.resume(tenant, run_id)


class Timers:
    """Handles ``timers``: time passed for a run."""

    def __init__(self, coordinator: Coordinator) -> None:
        self._coordinator = coordinator

    async def handle(self, lease: Lease) -> None:
        """End what is beyond its deadline, and ask for the next wake-up."""
        job = job_of(lease.message)
        await self._coordinator.apply(lease.message.tenant, job.run, Ticked(), settled=lease)

    async def end(self, lease: Lease, decision: Decision) -> None:
        """Forget the wake-up; the sweep over live runs makes up for it."""
        log.error("wake-up given up", message_id=lease.message.id, reason=decision.message)
        await self._coordinator.settle(lease)
