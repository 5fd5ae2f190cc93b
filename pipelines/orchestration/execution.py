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
    Failure,
    Step,
    StepState,
    Task,
    TaskResult,
    Usage,
    WorkflowRun,
)
from pipelines.orchestration import log_keys
from pipelines.orchestration.bus.base import MessageBus
from pipelines.orchestration.changes import ABORTS
from pipelines.orchestration.coordinator import Coordinator
from pipelines.orchestration.dispatch import remains
from pipelines.orchestration.error_handler import Action, Decision, ErrorHandler
from pipelines.orchestration.facts import FactFinder
from pipelines.orchestration.leases import NoLongerWanted, under_lease
from pipelines.orchestration.policy import Deny, PolicyEngine, RequireApproval
from pipelines.orchestration.records import AgentRecord
from pipelines.orchestration.transitions import (
    ApprovalNeeded,
    RunEvent,
    StepClaimed,
    StepFailed,
    StepFinished,
    StepSpent,
)
from pipelines.orchestration.work import Job, job_of
from pipelines.ports import AgentRunner, Clock, Lease, Source, Write

log = structlog.get_logger(__name__)

CLAIMABLE = (StepState.QUEUED, StepState.RUNNING)
"""A task that is redelivered finds its step running: the worker before died of something."""


def step_at(run: WorkflowRun | None, job: Job, *states: StepState) -> Step | None:
    """Return the step that a job is about, or None if the run has gone on without it."""
    if run is None or not run.live:
        return None
    found = next((step for step in run.steps if step.name == job.step), None)
    current = found and found.attempt == job.attempt and found.state in states
    return found if current else None


@dataclass(slots=True)
class _Spent:
    """What an attempt has cost so far, as its runner tells it."""

    usage: Usage = field(default_factory=Usage)

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
        source: Source,
        policy: PolicyEngine,
        facts: FactFinder,
        errors: ErrorHandler,
        bus: MessageBus,
        clock: Clock,
        worker: str = "local",
    ) -> None:
        """``worker`` names this process in the records of its agents' lifecycles."""
        self._worker = worker
        self._coordinator = coordinator
        self._runner = runner
        self._source = source
        self._policy = policy
        self._facts = facts
        self._errors = errors
        self._bus = bus
        self._clock = clock
        self._running: dict[str, asyncio.Task[object]] = {}

    async def handle(self, lease: Lease) -> None:
        """Run the task, if the run still waits for it, and settle the message with its outcome."""
        job, tenant = job_of(lease.message), lease.message.tenant
        run = await self._coordinator.run(tenant, job.run)
        step = step_at(run, job, *CLAIMABLE)
        if run is None or step is None:
            await self._coordinator.settle(lease)
            return
        log_keys.bind(run.change)
        refusal = await self._refusal(run, step)
        if refusal is not None:
            await self._coordinator.apply(tenant, run.id, refusal, settled=lease)
            return
        event = StepClaimed(step=step.name, attempt=step.attempt)
        record = self._lifecycle(lease, step, AgentStatus.RUNNING)
        run = await self._coordinator.apply(tenant, run.id, event, writes=(record,))
        step = step_at(run, job, StepState.RUNNING)
        if run is None or step is None:
            await self._coordinator.settle(lease)
            return
        await self._run(lease, job, run, step)

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

    async def _refusal(self, run: WorkflowRun, step: Step) -> RunEvent | None:
        """Return what happens instead of the task, if policy says so."""
        verdict = self._policy.check_task(run, step, await self._facts(run))
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

    async def _task(self, run: WorkflowRun, step: Step) -> Task:
        assert step.deadline is not None, "a running step has a deadline"
        left = await self._facts.left_today(run)
        return Task(
            run_id=run.id,
            step=step.name,
            agent=step.agent,
            attempt=step.attempt,
            trigger=run.trigger,
            change=run.change,
            options=step.options,
            inputs=inputs_of(run, step),
            models=step.models,
            ignore=run.ignore,
            budget_usd=step.budget_usd if left is None else min(step.budget_usd, left),
            deadline=step.deadline,
            tainted=tainted(run, step),
        )

    # --- during ----------------------------------------------------------------------------------

    async def _run(self, lease: Lease, job: Job, run: WorkflowRun, step: Step) -> None:
        task, spent = await self._task(run, step), _Spent()
        try:
            await self._see_through(lease, job, step, task, spent)
        except BaseException:
            await self._charge(lease, spent.usage)
            raise

    async def _see_through(
        self, lease: Lease, job: Job, step: Step, task: Task, spent: "_Spent"
    ) -> None:
        wanted = partial(self._wanted, lease.message.tenant, job)
        try:
            outcome = await under_lease(
                lease, self._attempt(task, spent), bus=self._bus, clock=self._clock, wanted=wanted
            )
        except NoLongerWanted:
            await self._stop(lease, step, spent.usage)
            return
        if isinstance(outcome, TaskResult) and outcome.failure is None:
            await self._finish(lease, step, outcome)
        else:
            await self._fail(lease, step, outcome, spent.usage)

    async def _attempt(self, task: Task, spent: "_Spent") -> TaskResult | Exception:
        """Return what the agent returned or raised; register it, so that it can be aborted."""
        current = asyncio.current_task()
        assert current is not None
        self._running[task.id] = current
        log.info("agent started", run_id=task.run_id, step=task.step, agent=task.agent)
        try:
            reader = self._source.reader(task.change)
            result = await self._runner.run(task, reader, tally=spent.tell)
        except Exception as error:  # noqa: BLE001  (whatever an agent raises is its outcome)
            return error
        finally:
            del self._running[task.id]
        return checked(task, result)

    async def _wanted(self, tenant: str, job: Job) -> bool:
        """An abort is a hint that can be missed; the stored run is the truth."""
        run = await self._coordinator.run(tenant, job.run)
        return step_at(run, job, StepState.RUNNING) is not None

    # --- after -----------------------------------------------------------------------------------

    async def _finish(self, lease: Lease, step: Step, result: TaskResult) -> None:
        for model in result.usage.models:
            self._errors.succeeded(model.partition(":")[0])
        event = StepFinished(
            step=step.name,
            attempt=step.attempt,
            conclusion=result.conclusion,
            title=result.title,
            outputs=result.outputs,
            usage=result.usage,
            effects=len(result.effects),
        )
        job = job_of(lease.message)
        await self._coordinator.apply(
            lease.message.tenant,
            job.run,
            event,
            settled=lease,
            result=(step.name, result),
            writes=(self._lifecycle(lease, step, AgentStatus.COMPLETED),),
        )

    async def _fail(
        self, lease: Lease, step: Step, outcome: TaskResult | Exception, spent: Usage
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
            writes=(
                self._lifecycle(lease, step, AgentStatus.FAILED),
                *remains(lease, decision, self._clock),
            ),
        )

    async def _stop(self, lease: Lease, step: Step, spent: Usage) -> None:
        """Settle what nobody waits for any more, and count what it cost until then."""
        stopped = StepFailed(
            step=step.name,
            attempt=step.attempt,
            conclusion=Conclusion.CANCELLED,
            title="Stopped.",
            usage=spent,
        )
        await self._coordinator.apply(
            lease.message.tenant,
            job_of(lease.message).run,
            stopped,
            settled=lease,
            writes=(self._lifecycle(lease, step, AgentStatus.STOPPED),),
        )

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

    def _lifecycle(self, lease: Lease, step: Step, status: AgentStatus) -> Write:
        job = job_of(lease.message)
        record = AgentRecord(
            worker=self._worker,
            agent=step.agent,
            status=status,
            task_id=f"{job.run}/{job.step}/{job.attempt}",
            since=self._clock.now(),
        )
        return self._coordinator.agent_write(record)

    def _decision(self, outcome: TaskResult | Exception, attempts: int) -> Decision:
        now = self._clock.now()
        if isinstance(outcome, Exception):
            return self._errors.decide(outcome, attempts=attempts, now=now)
        assert outcome.failure is not None
        return self._errors.decide_failure(
            outcome.failure, outcome.conclusion, attempts=attempts, now=now
        )


def checked(task: Task, result: TaskResult) -> TaskResult:
    """Return the result, or a failure in its place if it contradicts itself or its task."""
    fault = _fault(task, result)
    if fault is None:
        return result
    return TaskResult(
        task_id=task.id,
        status="failed",
        conclusion=Conclusion.FAILURE,
        title=fault,
        usage=result.usage,
        failure=Failure(kind="ours", message=fault),
    )


def _fault(task: Task, result: TaskResult) -> str | None:
    if result.task_id != task.id:
        return f"The {task.agent} agent answered another task than it was given."
    if (result.status == "failed") != (result.failure is not None):
        return f"The {task.agent} agent did not say whether it failed."
    if result.failure is not None and result.effects:
        return f"The {task.agent} agent failed and still asked for effects."
    return None


def ancestors(run: WorkflowRun, step: Step) -> tuple[Step, ...]:
    """Return every step that this one depends on, however far up."""
    found: dict[str, Step] = {}
    waiting = list(step.needs)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found[name] = run.step(name)
            waiting += found[name].needs
    return tuple(found.values())


def inputs_of(run: WorkflowRun, step: Step) -> dict[str, JsonValue]:
    """Return the outputs of the steps that this one needs, by their names."""
    return {name: run.step(name).outputs for name in step.needs}


def tainted(run: WorkflowRun, step: Step) -> bool:
    """Whether strangers' text can reach the step: its own change, or an ancestor that read some.

    A consent widens what a step may do, never what its text is worth.
    """
    told = any(before.outputs.get("tainted") is True for before in ancestors(run, step))
    return run.change.tainted or told
