"""What users see of a run, brought in line with what it is."""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager

import structlog

from pipelines.errors import ConductorError
from pipelines.model import Conclusion, RunState, WorkflowRun
from pipelines.orchestration import log_keys
from pipelines.orchestration.bus.base import MessageBus
from pipelines.orchestration.changes import ANSWERS, SUPERSEDED
from pipelines.orchestration.coordinator import Coordinator
from pipelines.orchestration.dispatch import remains
from pipelines.orchestration.error_handler import Decision, ErrorHandler
from pipelines.orchestration.leases import under_lease
from pipelines.orchestration.records import EffectRecord
from pipelines.orchestration.state import StateManager
from pipelines.orchestration.work import job_of
from pipelines.ports import Batch, CheckState, Clock, Lease, Receipt, Reporter, Write

log = structlog.get_logger(__name__)


class Reports:
    """Handles ``reports``: always shows the run as it is now, however old the message.

    One report at a time is under way for a run. That it began is on record before anything is
    written, so that after a crash the reporter looks for what it may have created.
    """

    def __init__(
        self,
        *,
        coordinator: Coordinator,
        state: StateManager,
        reporter: Reporter,
        errors: ErrorHandler,
        bus: MessageBus,
        clock: Clock,
    ) -> None:
        self._coordinator = coordinator
        self._state = state
        self._reporter = reporter
        self._errors = errors
        self._bus = bus
        self._clock = clock
        self._turns: dict[str, tuple[asyncio.Lock, int]] = {}

    async def handle(self, lease: Lease) -> None:
        """Show the run, and settle the message with what users see of it now."""
        await under_lease(lease, self._handle(lease), bus=self._bus, clock=self._clock)

    async def end(self, lease: Lease, decision: Decision) -> None:
        """Give the report up; only the log and the dead letter can say so."""
        log.error("report given up", message_id=lease.message.id, reason=decision.message)
        await self._coordinator.settle(lease, writes=remains(lease, decision, self._clock))

    async def _handle(self, lease: Lease) -> None:
        job = job_of(lease.message)
        async with self._turn(job.run):
            run = await self._coordinator.run(lease.message.tenant, job.run)
            if run is None or _silent(run):
                await self._coordinator.settle(lease)
                return
            log_keys.bind(run.change)
            known = await self._state.effect(lease.message.tenant, _key(run))
            if _up_to_date(run, known):
                await self._coordinator.settle(lease)
            else:
                await self._report(lease, run, known)

    async def _report(self, lease: Lease, run: WorkflowRun, known: EffectRecord | None) -> None:
        begun = EffectRecord(
            run_id=run.id, at=self._clock.now(), version=known.version if known else 0
        )
        await self._bus.commit(Batch(writes=[self._note(run, begun)]))
        last = await self._state.check_states(run)
        try:
            shown = await self._reporter.report(
                run,
                await self._state.results(run),
                last,
                repeated=known is not None and known.receipt is None,
            )
        except ConductorError as error:
            if error.reported:
                partly: Mapping[str, CheckState] = {**last, **error.reported}
                await self._bus.commit(Batch(writes=[self._state.checks_write(run, partly)]))
            raise
        self._errors.succeeded("github")
        receipt = Receipt(key=_key(run), status="done", message=str(run.version))
        done = begun.model_copy(update={"receipt": receipt, "version": begun.version + 1})
        writes = (self._state.checks_write(run, shown), self._note(run, done))
        await self._coordinator.settle(lease, writes=writes)

    def _note(self, run: WorkflowRun, record: EffectRecord) -> Write:
        return self._state.effect_write(run.change.repository.tenant, _key(run), record)

    @asynccontextmanager
    async def _turn(self, run_id: str) -> AsyncGenerator[None]:
        lock, waiting = self._turns.get(run_id, (asyncio.Lock(), 0))
        self._turns[run_id] = (lock, waiting + 1)
        try:
            async with lock:
                yield
        finally:
            lock, waiting = self._turns.pop(run_id)
            if waiting > 1:
                self._turns[run_id] = (lock, waiting - 1)


def _key(run: WorkflowRun) -> str:
    return f"report/{run.id}"


def _silent(run: WorkflowRun) -> bool:
    """Whether a run has nothing to show: it answers a command, and the answer is what is seen."""
    return run.workflow == ANSWERS


def _up_to_date(run: WorkflowRun, known: EffectRecord | None) -> bool:
    """Whether users see this version of the run already, or need not see the run at all."""
    if known is None:
        return _never_seen(run)
    return known.receipt is not None and int(known.receipt.message) >= run.version


def _never_seen(run: WorkflowRun) -> bool:
    """Whether nobody will miss a run that was replaced before anything of it was shown."""
    ended = run.state is RunState.COMPLETED and run.conclusion is Conclusion.CANCELLED
    return ended and run.reason.startswith(SUPERSEDED)
