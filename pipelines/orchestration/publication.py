"""The effects of a result, carried out: each allowed by policy, each at most once."""

from collections.abc import Sequence
from dataclasses import dataclass

from pipelines.model import (
    CommandTrigger,
    Conclusion,
    Effect,
    Notify,
    React,
    Step,
    StepState,
    TaskResult,
    WorkflowRun,
)
from pipelines.orchestration import log_keys
from pipelines.orchestration.acting import Acting, Refused
from pipelines.orchestration.bus.base import MessageBus
from pipelines.orchestration.changes import DESK
from pipelines.orchestration.coordinator import Coordinator
from pipelines.orchestration.dispatch import remains
from pipelines.orchestration.error_handler import Decision
from pipelines.orchestration.leases import NoLongerWanted, under_lease
from pipelines.orchestration.outcome import WORST_FIRST
from pipelines.orchestration.policy import Deny
from pipelines.orchestration.state import StateManager
from pipelines.orchestration.telling import SEEN, ending, waiting
from pipelines.orchestration.transitions import EffectsHeld, EffectsPublished, RunEvent
from pipelines.orchestration.work import Job, job_of, step_at
from pipelines.ports import Clock, Lease, Receipt

MOVED = "The commit is no longer the head."


@dataclass(frozen=True, slots=True)
class Fate:
    """What became of one effect; without a receipt it did not happen, for this reason."""

    receipt: Receipt | None
    conclusion: Conclusion = Conclusion.SUCCESS
    """The best that its step may still end as."""
    reason: str = ""


class Publication:
    """Handles ``effects``: has them carried out and completes their step, or waits for consent."""

    def __init__(
        self,
        *,
        coordinator: Coordinator,
        state: StateManager,
        acting: Acting,
        bus: MessageBus,
        clock: Clock,
    ) -> None:
        self._coordinator = coordinator
        self._state = state
        self._acting = acting
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
        event = await under_lease(
            lease, self._published(job, run, step, result), bus=self._bus, clock=self._clock
        )
        await self._coordinator.apply(lease.message.tenant, run.id, event, settled=lease)

    async def _published(
        self, job: Job, run: WorkflowRun, step: Step, result: TaskResult
    ) -> RunEvent:
        """Carry out all effects of a result, or none while somebody's consent is missing."""
        missing = await self._acting.objection(run, step, result.effects)
        if missing is not None and not step.held:
            return EffectsHeld(
                step=step.name, attempt=step.attempt, level=missing.level, title=missing.reason
            )
        return _published(step, result, await self._publish(job, run, result.effects))

    async def _publish(self, job: Job, run: WorkflowRun, effects: Sequence[Effect]) -> list[Fate]:
        fates: list[Fate] = []
        for effect in effects:
            now = await self._coordinator.run(run.change.repository.tenant, run.id)
            step = step_at(now, job, StepState.PUBLISHING)
            if now is None or step is None:
                raise NoLongerWanted
            fates.append(await self._fate(now, step, effect))
            if fates[-1].reason == MOVED:
                break
        return fates

    async def _fate(self, run: WorkflowRun, step: Step, effect: Effect) -> Fate:
        try:
            receipt = await self._acting.act(run, step, effect)
        except Refused as refused:
            verdict = refused.verdict
            worst = verdict.conclusion if isinstance(verdict, Deny) else Conclusion.NEUTRAL
            return Fate(None, worst, verdict.reason)
        if receipt.status == "moved":
            return Fate(None, Conclusion.NEUTRAL, MOVED)
        if receipt.status == "denied":
            told_only = isinstance(effect, Notify)
            conclusion = Conclusion.SUCCESS if told_only else Conclusion.NEUTRAL
            return Fate(None, conclusion, receipt.message)
        return Fate(receipt)

    async def _answer(self, lease: Lease, run: WorkflowRun) -> None:
        """Tell whoever asked for a run that it has ended, or what it waits for."""
        await under_lease(lease, self._tell(run), bus=self._bus, clock=self._clock)
        await self._coordinator.settle(lease)

    async def _tell(self, run: WorkflowRun) -> None:
        desk = Step(name="answer", agent=DESK)
        for effect in (*waiting(run),) if run.live else await self._last_words(run):
            await self._fate(run, desk, effect)

    async def _last_words(self, run: WorkflowRun) -> list[Effect]:
        words: list[Effect] = []
        if isinstance(run.trigger, CommandTrigger):
            stopped = run.conclusion is Conclusion.CANCELLED
            reaction = React(
                comment_id=run.trigger.comment_id,
                comment_kind=run.trigger.comment_kind,
                content="confused" if stopped else "rocket",
            )
            words.append(reaction)
        comment = ending(run, seen=await self._seen(run))
        return [*words, comment] if comment else words

    async def _seen(self, run: WorkflowRun) -> bool:
        """Whether anything that the run did stands in the conversation."""
        tenant = run.change.repository.tenant
        for result in (await self._state.results(run)).values():
            for effect in result.effects:
                record = await self._state.effect(tenant, effect.key)
                if effect.kind in SEEN and record is not None and record.receipt is not None:
                    return True
        return False


def _published(step: Step, result: TaskResult, fates: Sequence[Fate]) -> EffectsPublished:
    """Return how the step ended, given what became of its effects; never better than it was."""
    event = EffectsPublished(step=step.name, attempt=step.attempt, title=result.title)
    missed = [fate for fate in fates if fate.receipt is None]
    if not missed:
        return event
    reached = {result.conclusion, *(fate.conclusion for fate in missed)}
    conclusion = next(conclusion for conclusion in WORST_FIRST if conclusion in reached)
    total = len(result.effects)
    count = total - (len(fates) - len(missed))
    title = f"{result.title} ({count} of {total} effects not published: {missed[0].reason})"
    if count == total:
        title = f"Not published: {missed[0].reason} Proposed was: {result.title}"
    return event.model_copy(update={"conclusion": conclusion, "title": title})
