"""A task from its queue to its stored result: policy, agent, lease, verdict."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial

import structlog
from pydantic import JsonValue

from pipelines.errors import ConductorError
from pipelines.model import (
    AgentStatus,
    Conclusion,
    Step,
    StepState,
    Task,
    TaskResult,
    Usage,
    WorkflowRun,
)
from pipelines.orchestration import log_keys
from pipelines.orchestration.bus.base import MessageBus
from pipelines.orchestration.changes import ABORTS, Changes
from pipelines.orchestration.coordinator import Coordinator
from pipelines.orchestration.dispatch import remains
from pipelines.orchestration.error_handler import Action, Decision, ErrorHandler
from pipelines.orchestration.facts import FactFinder
from pipelines.orchestration.leases import NoLongerWanted, under_lease
from pipelines.orchestration.policy import Deny, PolicyEngine, RequireApproval
from pipelines.orchestration.roster import Roster
from pipelines.orchestration.standing import pause_of
from pipelines.orchestration.tasks import Tasks, checked
from pipelines.orchestration.transitions import (
    ApprovalNeeded,
    RunEvent,
    StepClaimed,
    StepFailed,
    StepFinished,
    StepSpent,
)
from pipelines.orchestration.work import Job, job_of, step_at
from pipelines.orchestration.workplace import Site, TaskWorkplace
from pipelines.ports import AgentRunner, Clock, Lease, Workplace, Write
from pipelines.replay.recording import Recorder
from pipelines.replay.tape import Tape

log = structlog.get_logger(__name__)

CLAIMABLE = (StepState.QUEUED, StepState.RUNNING)
"""A task that is redelivered finds its step running: the worker before died of something."""


@dataclass(slots=True)
class _Spent:
    """What an attempt has cost so far, as its runner tells it, and what it saw."""

    usage: Usage = field(default_factory=Usage)
    recorder: Recorder | None = None
    result: TaskResult | None = None
    """As the agent gave it, checked or not."""

    def tell(self, usage: Usage) -> None:
        """Take the new total."""
        self.usage = usage


class Execution:
    """Handles ``agent.*``: runs each task at most once at a time and stores how it ended."""

    def __init__(
        self,
        *,
        coordinator: Coordinator,
        runner: AgentRunner,
        site: Site,
        policy: PolicyEngine,
        facts: FactFinder,
        errors: ErrorHandler,
        bus: MessageBus,
        clock: Clock,
        roster: Roster,
        tape: Tape | None = None,
    ) -> None:
        """``tape`` keeps what each attempt saw, so that it can be gone through again."""
        self._tape = tape
        self._roster = roster
        self._coordinator = coordinator
        self._runner = runner
        self._site = site
        self._tasks = Tasks(site.source, facts, site.memory)
        self._policy = policy
        self._facts = facts
        self._errors = errors
        self._bus = bus
        self._clock = clock
        self._running: dict[str, asyncio.Task[object]] = {}

    async def handle(self, lease: Lease) -> None:
        """Run the task, if the run still waits for it, and settle the message with its outcome."""
        job = job_of(lease.message)
        run = await self._coordinator.decide(partial(self._claim, lease, job), about=job.run)
        if run is None:
            return
        step = run.step(job.step)
        self._note(step, job, AgentStatus.RUNNING)
        ended = AgentStatus.FAILED
        try:
            ended = await self._run(lease, job, run, step)
        finally:
            self._note(step, job, ended)

    async def end(self, lease: Lease, decision: Decision) -> None:
        """End the step as failed, for all to see."""
        job, tenant = job_of(lease.message), lease.message.tenant
        event = StepFailed(
            step=job.step,
            attempt=job.attempt,
            conclusion=decision.conclusion,
            title=decision.message,
        )
        buried = remains(lease, decision, self._clock)
        await self._coordinator.apply(tenant, job.run, event, settled=lease, writes=buried)

    @asynccontextmanager
    async def listening(self) -> AsyncGenerator[None]:
        """Cancel local agents when their steps are aborted, for as long as the context is open."""
        async with self._bus.subscribe(ABORTS) as aborts:
            listener = asyncio.create_task(self._listen(aborts))
            try:
                yield
            finally:
                listener.cancel()
                await asyncio.gather(listener, return_exceptions=True)

    async def _listen(self, aborts: AsyncIterator[JsonValue]) -> None:
        async for task_id in aborts:
            if (task := self._running.get(str(task_id))) is not None:
                log.info("task aborted", task_id=task_id)
                task.cancel()

    # --- before ----------------------------------------------------------------------------------

    async def _claim(self, lease: Lease, job: Job, changes: Changes) -> WorkflowRun | None:
        """Return the run with its step claimed; None if nobody waits for it or policy refuses."""
        tenant = lease.message.tenant
        run = await changes.run(tenant, job.run)
        step = step_at(run, job, *CLAIMABLE)
        if run is None or step is None:
            changes.settle(lease)
            return None
        log_keys.bind(run.change)
        refusal = await self._refusal(changes, run, step)
        if refusal is not None:
            changes.settle(lease)
            await changes.advance(tenant, run.id, refusal)
            return None
        event = StepClaimed(step=step.name, attempt=step.attempt)
        return await changes.advance(tenant, run.id, event)

    async def _refusal(self, changes: Changes, run: WorkflowRun, step: Step) -> RunEvent | None:
        """Return what happens instead of the task, if policy says so."""
        paused, place = None, pause_of(run)
        if place is not None and not changes.fresh:
            # Nearly nothing is ever paused: the store checks that, instead of being asked.
            changes.expect_absent(place)
            paused = False
        verdict = self._policy.check_task(run, step, await self._facts(run, step, paused=paused))
        if isinstance(verdict, Deny):
            return StepFailed(
                step=step.name,
                attempt=step.attempt,
                conclusion=verdict.conclusion,
                title=verdict.reason,
            )
        if isinstance(verdict, RequireApproval):
            return ApprovalNeeded(
                step=step.name, attempt=step.attempt, level=verdict.level, title=verdict.reason
            )
        return None

    # --- during ----------------------------------------------------------------------------------

    async def _run(self, lease: Lease, job: Job, run: WorkflowRun, step: Step) -> AgentStatus:
        spent = _Spent()
        try:
            return await self._see_through(lease, job, run, step, spent)
        except BaseException:
            await self._charge(lease, spent.usage)
            raise

    async def _see_through(
        self, lease: Lease, job: Job, run: WorkflowRun, step: Step, spent: "_Spent"
    ) -> AgentStatus:
        wanted = partial(self._wanted, lease.message.tenant, job)
        work = self._attempt(run, step, spent)
        try:
            task, outcome = await under_lease(
                lease, work, bus=self._bus, clock=self._clock, wanted=wanted
            )
        except NoLongerWanted:
            await self._stop(lease, job, spent.usage)
            return AgentStatus.STOPPED
        kept = await self._kept(run, step, task, outcome, spent)
        if task is not None and isinstance(outcome, TaskResult) and outcome.failure is None:
            await self._finish(lease, job, outcome, kept)
            return AgentStatus.COMPLETED
        await self._fail(lease, step, outcome, spent.usage, kept)
        return AgentStatus.FAILED

    async def _attempt(
        self, run: WorkflowRun, step: Step, spent: "_Spent"
    ) -> tuple[Task | None, TaskResult | Exception]:
        """Return the task and what the agent returned or raised; registered, to be aborted."""
        current = asyncio.current_task()
        assert current is not None
        name, task = f"{run.id}/{step.name}/{step.attempt}", None
        self._running[name] = current
        log.info("agent started", run_id=run.id, step=step.name, agent=step.agent)
        try:
            task = await self._tasks(run, step)
            workplace = TaskWorkplace(self._site, run, step, task)
            try:
                result = await self._carry_out(task, workplace, spent)
            finally:
                await workplace.close()
        except Exception as error:  # noqa: BLE001  (whatever an agent raises is its outcome)
            return task, error
        finally:
            del self._running[name]
        return task, checked(task, result)

    async def _carry_out(self, task: Task, workplace: Workplace, spent: "_Spent") -> TaskResult:
        """Have the task carried out, and what it sees recorded if there is a tape."""
        if self._tape is None:
            return await self._runner.run(task, workplace, tally=spent.tell)
        recorder = spent.recorder = Recorder(task, workplace)
        result = spent.result = await self._runner.run(
            task, recorder.workplace, tally=spent.tell, notes=recorder.note
        )
        return result

    async def _wanted(self, tenant: str, job: Job) -> bool:
        """An abort is a hint that can be missed; the stored run is the truth."""
        run = await self._coordinator.run(tenant, job.run)
        return step_at(run, job, StepState.RUNNING) is not None

    # --- after -----------------------------------------------------------------------------------

    async def _kept(
        self,
        run: WorkflowRun,
        step: Step,
        task: Task | None,
        outcome: TaskResult | Exception,
        spent: "_Spent",
    ) -> tuple[Write, ...]:
        """Return what the attempt leaves besides its result: in the stores and on the tape."""
        writes: list[Write] = []
        if self._site.memory is not None and task is not None and isinstance(outcome, TaskResult):
            writes += await self._site.memory.records(run, step, task, outcome)
        if self._tape is not None and spent.recorder is not None:
            writes += await self._tape.taken(spent.recorder, spent.result, self._clock.now())
        return tuple(writes)

    async def _finish(
        self, lease: Lease, job: Job, result: TaskResult, kept: tuple[Write, ...]
    ) -> None:
        for model in result.usage.models:
            self._errors.succeeded(model.partition(":")[0])
        event = StepFinished(
            step=job.step,
            attempt=job.attempt,
            conclusion=result.conclusion,
            title=result.title,
            outputs=result.outputs,
            usage=result.usage,
            effects=len(result.effects),
            feedback=result.feedback,
        )
        await self._coordinator.apply(
            lease.message.tenant,
            job.run,
            event,
            settled=lease,
            result=(job.step, result),
            writes=kept,
        )

    async def _fail(
        self,
        lease: Lease,
        step: Step,
        outcome: TaskResult | Exception,
        spent: Usage,
        kept: tuple[Write, ...],
    ) -> None:
        decision = self._decision(outcome, step.attempt - step.uncounted)
        if decision.action is Action.ABANDON:
            await self._charge(lease, spent)
            return
        result = outcome if isinstance(outcome, TaskResult) else None
        if isinstance(outcome, Exception):
            ours = not isinstance(outcome, ConductorError)
            log.warning("agent raised", error=str(outcome), exc_info=outcome if ours else None)
        event = StepFailed(
            step=step.name,
            attempt=step.attempt,
            conclusion=decision.conclusion,
            title=decision.message,
            retry_at=decision.at,
            counted=decision.counted,
            usage=result.usage if result else spent,
        )
        await self._coordinator.apply(
            lease.message.tenant,
            job_of(lease.message).run,
            event,
            settled=lease,
            result=(step.name, result) if result else None,
            writes=(*kept, *remains(lease, decision, self._clock)),
        )

    async def _stop(self, lease: Lease, job: Job, spent: Usage) -> None:
        """Settle what nobody waits for any more, and count what it cost until then."""
        stopped = StepFailed(
            step=job.step,
            attempt=job.attempt,
            conclusion=Conclusion.CANCELLED,
            title="Stopped.",
            usage=spent,
        )
        await self._coordinator.apply(lease.message.tenant, job.run, stopped, settled=lease)

    async def _charge(self, lease: Lease, spent: Usage) -> None:
        """Count what an attempt cost that goes on elsewhere, or again; its outcome is unknown."""
        if not spent.calls:
            return
        job = job_of(lease.message)
        event = StepSpent(step=job.step, attempt=job.attempt, usage=spent)
        try:
            await self._coordinator.apply(lease.message.tenant, job.run, event)
        except ConductorError as error:
            log.warning("cost not counted", step=job.step, usd=spent.cost_usd, reason=str(error))

    def _note(self, step: Step, job: Job, status: AgentStatus) -> None:
        self._roster.note(step.agent, status, f"{job.run}/{job.step}/{job.attempt}")

    def _decision(self, outcome: TaskResult | Exception, attempts: int) -> Decision:
        now = self._clock.now()
        if isinstance(outcome, Exception):
            return self._errors.decide(outcome, attempts=attempts, now=now)
        assert outcome.failure is not None
        return self._errors.decide_failure(
            outcome.failure, outcome.conclusion, attempts=attempts, now=now
        )
