"""What users see of a run, brought in line with what it is."""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial

import structlog

from pipelines.errors import ConductorError, Parked
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
from pipelines.orchestration.turns import OneAtATime
from pipelines.orchestration.work import job_of
from pipelines.ports import Batch, CheckState, Clock, Lease, Receipt, Reporter, Write

log = structlog.get_logger(__name__)

TOGETHER = timedelta(seconds=0.1)
"""Steps follow each other in milliseconds; GitHub takes one write a second."""
TURN_SECONDS = 1.0
"""How long a report waits before it looks again whether another process is done with the run."""


class _Turn:
    """One report's time with its run; at its end nothing of it is left to be renewed."""

    def __init__(self, lease: Lease) -> None:
        self.holder = lease.message.id
        self.seconds = lease.seconds
        self.writing = asyncio.Lock()
        self.run: WorkflowRun | None = None
        self.begun: EffectRecord | None = None
        """As it is stored now; None before the turn and after it."""


class Reports:
    """Handles ``reports``: always shows the run as it is now, however old the message.

    One report at a time is under way for a run, in whatever process: that it began is on record,
    with until when its lease lasts, before anything is written. After a crash the lease's end
    frees the run, and the reporter looks for what may have been created.
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
        self._one_at_a_time = OneAtATime()

    async def handle(self, lease: Lease) -> None:
        """Show the run, and settle the message with what users see of it now."""
        turn = _Turn(lease)
        try:
            await under_lease(
                lease,
                self._handle(lease, turn),
                bus=self._bus,
                clock=self._clock,
                wanted=partial(self._keep, turn),
            )
        except (Exception, asyncio.CancelledError):
            await self._leave(turn)
            raise

    async def end(self, lease: Lease, decision: Decision) -> None:
        """Give the report up; only the log and the dead letter can say so."""
        log.error("report given up", message_id=lease.message.id, reason=decision.message)
        await self._coordinator.settle(lease, writes=remains(lease, decision, self._clock))

    async def _handle(self, lease: Lease, turn: _Turn) -> None:
        job = job_of(lease.message)
        async with self._one_at_a_time(job.run):  # others of this process need not be put off
            run = await self._coordinator.run(lease.message.tenant, job.run)
            if run is None or _silent(run):
                await self._coordinator.settle(lease)
                return
            log_keys.bind(run.change)
            known = await self._state.effect(lease.message.tenant, _key(run))
            if _up_to_date(run, known):
                await self._coordinator.settle(lease)
                return
            await self._begin(turn, run, known)
            await self._report(lease, run, turn, repeated=known is not None and not known.receipt)

    async def _report(self, lease: Lease, run: WorkflowRun, turn: _Turn, *, repeated: bool) -> None:
        last = await self._state.check_states(run)
        try:
            results = await self._state.results(run)
            shown = await self._reporter.report(run, results, last, repeated=repeated)
        except ConductorError as error:
            partly: Mapping[str, CheckState] = {**last, **error.reported}
            async with self._ending(turn) as begun:
                left = self._note(run, begun.model_copy(update={"until": None}))
                await self._bus.commit(Batch(writes=[self._state.checks_write(run, partly), left]))
            raise
        self._errors.succeeded("github")
        receipt = Receipt(key=_key(run), status="done", message=str(run.version))
        async with self._ending(turn) as begun:
            done = self._note(run, begun.model_copy(update={"receipt": receipt, "until": None}))
            writes = (self._state.checks_write(run, shown), done)
            await self._coordinator.settle(lease, writes=writes)

    def _note(self, run: WorkflowRun, record: EffectRecord) -> Write:
        return self._state.effect_write(run.change.repository.tenant, _key(run), record)

    # --- turns -----------------------------------------------------------------------------------

    async def _begin(self, turn: _Turn, run: WorkflowRun, known: EffectRecord | None) -> None:
        """Take the turn; raises Parked while it is another's, Conflict if that was faster."""
        now = self._clock.now()
        if known is not None and known.until and known.holder != turn.holder and now < known.until:
            until = min(known.until, now + timedelta(seconds=TURN_SECONDS))
            raise Parked("Another worker is showing the run.", until=until, scope="")
        version = known.version if known else 0
        await self._hold(turn, run, EffectRecord(run_id=run.id, at=now, version=version))

    async def _keep(self, turn: _Turn) -> bool:
        """Let the turn last as long as the lease; raises Conflict if it is another's by now."""
        async with turn.writing:
            if turn.run is not None and turn.begun is not None:
                await self._hold(turn, turn.run, turn.begun)
        return True

    async def _hold(self, turn: _Turn, run: WorkflowRun, record: EffectRecord) -> None:
        until = self._clock.now() + timedelta(seconds=turn.seconds)
        record = record.model_copy(update={"holder": turn.holder, "until": until})
        await self._bus.commit(Batch(writes=[self._note(run, record)]))
        turn.run, turn.begun = run, record.model_copy(update={"version": record.version + 1})

    async def _leave(self, turn: _Turn) -> None:
        """Give back a turn that was cut off, so that the next worker need not wait for its end."""
        if turn.run is None or turn.begun is None:
            return
        async with self._ending(turn) as begun:
            left = self._note(turn.run, begun.model_copy(update={"until": None}))
            try:
                await self._bus.commit(Batch(writes=[left]))
            except ConductorError as error:
                log.info("turn ends by itself", run_id=turn.run.id, reason=str(error))

    @asynccontextmanager
    async def _ending(self, turn: _Turn) -> AsyncGenerator[EffectRecord]:
        """End the turn, in whose record nothing changes meanwhile."""
        async with turn.writing:
            begun, turn.begun = turn.begun, None
            assert begun is not None, "a turn that ends was begun"
            try:
                yield begun
            except BaseException:
                turn.begun = begun
                raise


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
