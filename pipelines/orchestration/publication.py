"""The effects of a result, carried out: each allowed by policy, each at most once."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import structlog

from pipelines.errors import Retryable
from pipelines.model import (
    CommandTrigger,
    Conclusion,
    Effect,
    React,
    Step,
    StepState,
    SubmitReview,
    TaskResult,
    WorkflowRun,
)
from pipelines.orchestration import log_keys
from pipelines.orchestration.bus.base import MessageBus
from pipelines.orchestration.changes import DESK
from pipelines.orchestration.coordinator import Coordinator
from pipelines.orchestration.dispatch import remains
from pipelines.orchestration.error_handler import Decision, ErrorHandler
from pipelines.orchestration.execution import step_at
from pipelines.orchestration.facts import FactFinder
from pipelines.orchestration.leases import LEASE_SECONDS, NoLongerWanted, under_lease
from pipelines.orchestration.outcome import WORST_FIRST
from pipelines.orchestration.policy import Deny, PolicyEngine
from pipelines.orchestration.records import EffectRecord
from pipelines.orchestration.state import StateManager
from pipelines.orchestration.transitions import EffectsPublished
from pipelines.orchestration.work import Job, job_of
from pipelines.ports import Batch, Clock, Lease, Receipt, Reporter

MOVED = "The commit is no longer the head."

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Fate:
    """What became of one effect; without a receipt it did not happen, for this reason."""

    receipt: Receipt | None
    conclusion: Conclusion = Conclusion.SUCCESS
    """The best that its step may still end as."""
    reason: str = ""


class Publication:
    """Handles ``effects``: writes down what it is about to do, does it, writes down that it did.

    A crash in between leaves the first note without the second, and then the reporter looks for
    what it may have done before it does it.
    """

    def __init__(
        self,
        *,
        coordinator: Coordinator,
        state: StateManager,
        reporter: Reporter,
        policy: PolicyEngine,
        facts: FactFinder,
        errors: ErrorHandler,
        bus: MessageBus,
        clock: Clock,
    ) -> None:
        self._coordinator = coordinator
        self._state = state
        self._reporter = reporter
        self._policy = policy
        self._facts = facts
        self._errors = errors
        self._bus = bus
        self._clock = clock

    async def handle(self, lease: Lease) -> None:
        """Carry out what is left to do and complete the step."""
        job = job_of(lease.message)
        run = await self._coordinator.run(lease.message.tenant, job.run)
        if run is not None:
            log_keys.bind(run.change)
        try:
            if run is not None and not job.step:
                await self._answer(lease, run)
            else:
                await self._publish_step(lease, job, run)
        except NoLongerWanted:
            await self._coordinator.settle(lease)

    async def end(self, lease: Lease, decision: Decision) -> None:
        """End the step with what could not be published as its fault."""
        job, buried = job_of(lease.message), remains(lease, decision, self._clock)
        if not job.step:
            await self._coordinator.settle(lease, writes=buried)
            return
        event = EffectsPublished(
            step=job.step,
            attempt=job.attempt,
            conclusion=decision.conclusion,
            title=f"Not published: {decision.message}",
        )
        await self._coordinator.apply(
            lease.message.tenant, job.run, event, settled=lease, writes=buried
        )

    async def _publish_step(self, lease: Lease, job: Job, run: WorkflowRun | None) -> None:
        step = step_at(run, job, StepState.PUBLISHING)
        if run is None or step is None:
            raise NoLongerWanted
        result = await self._state.result(lease.message.tenant, run.id, step.name)
        assert result is not None, "a publishing step has a stored result"
        fates = await under_lease(
            lease, self._publish(job, run, result.effects), bus=self._bus, clock=self._clock
        )
        event = _published(step, result, fates)
        await self._coordinator.apply(lease.message.tenant, run.id, event, settled=lease)

    async def _publish(self, job: Job, run: WorkflowRun, effects: Sequence[Effect]) -> list[Fate]:
        fates: list[Fate] = []
        for effect in effects:
            now = await self._coordinator.run(run.change.repository.tenant, run.id)
            step = step_at(now, job, StepState.PUBLISHING)
            if now is None or step is None:
                raise NoLongerWanted
            fates.append(await self._carry_out(now, step, effect))
            if fates[-1].reason == MOVED:
                break
        return fates

    async def _carry_out(self, run: WorkflowRun, step: Step, effect: Effect) -> Fate:
        verdict = self._policy.check_effect(run, step, effect, await self._facts(run))
        if isinstance(verdict, Deny):
            log.warning("effect denied", run_id=run.id, key=effect.key, reason=verdict.reason)
            return Fate(None, verdict.conclusion, verdict.reason)
        receipt = await self._once(run, effect)
        if receipt.status == "moved":
            return Fate(None, Conclusion.NEUTRAL, MOVED)
        if receipt.status == "denied":
            return Fate(None, Conclusion.NEUTRAL, receipt.message)
        return Fate(receipt)

    async def _once(self, run: WorkflowRun, effect: Effect) -> Receipt:
        """Carry the effect out unless it is done; look first if somebody may have."""
        tenant = run.change.repository.tenant
        known = await self._state.effect(tenant, effect.key)
        if known is not None and known.receipt is not None:
            return known.receipt
        now = self._clock.now()
        if known is not None and known.run_id != run.id:
            _let_go_first(known, now)
        begun = EffectRecord(run_id=run.id, at=now, version=known.version if known else 0)
        await self._note(tenant, effect, begun)
        repeated = known is not None or _posted_before(run, effect)
        receipt = await self._reporter.carry_out(run, effect, repeated=repeated)
        self._errors.succeeded("github")
        if receipt.status in ("done", "found"):
            done = begun.model_copy(update={"receipt": receipt, "version": begun.version + 1})
            await self._note(tenant, effect, done)
        return receipt

    async def _note(self, tenant: str, effect: Effect, record: EffectRecord) -> None:
        write = self._state.effect_write(tenant, effect.key, record)
        await self._bus.commit(Batch(writes=[write]))

    async def _answer(self, lease: Lease, run: WorkflowRun) -> None:
        """Tell whoever gave the command that started a run that the run has ended."""
        trigger = run.trigger
        if not isinstance(trigger, CommandTrigger):
            raise NoLongerWanted
        stopped = run.conclusion is Conclusion.CANCELLED
        reaction = React(
            comment_id=trigger.comment_id,
            comment_kind=trigger.comment_kind,
            content="confused" if stopped else "rocket",
        )
        desk = Step(name="answer", agent=DESK)
        await under_lease(
            lease, self._carry_out(run, desk, reaction), bus=self._bus, clock=self._clock
        )
        await self._coordinator.settle(lease)


def _let_go_first(known: EffectRecord, now: datetime) -> None:
    """Raise Retryable while another run may be in the middle of the same effect.

    Nobody sees that it was carried out before it is, so looking first does not help until whoever
    began it has lost its lease or is done.
    """
    rest = LEASE_SECONDS - max(0.0, (now - known.at).total_seconds())
    if rest > 0:
        raise Retryable("Another run has just begun to publish the same.", retry_after=rest)


def _posted_before(run: WorkflowRun, effect: Effect) -> bool:
    """Whether the forge itself showed such an effect when the run began, whatever is on record."""
    return isinstance(effect, SubmitReview) and effect.head_sha in run.change.reviewed_shas


def _published(step: Step, result: TaskResult, fates: Sequence[Fate]) -> EffectsPublished:
    """Return how the step ended, given what became of its effects; never better than it was."""
    event = EffectsPublished(step=step.name, attempt=step.attempt)
    missed = [fate for fate in fates if fate.receipt is None]
    if not missed:
        return event
    reached = {result.conclusion, *(fate.conclusion for fate in missed)}
    conclusion = next(conclusion for conclusion in WORST_FIRST if conclusion in reached)
    total = len(result.effects)
    count = total - (len(fates) - len(missed))
    title = f"{result.title} ({count} of {total} effects not published: {missed[0].reason})"
    return event.model_copy(update={"conclusion": conclusion, "title": title})
