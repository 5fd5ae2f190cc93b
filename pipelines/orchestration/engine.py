"""The Workflow Engine: a pure state machine over the steps of a run.

``advance(run, event, now)`` returns the run after the event and what is to be done about it. There
is no I/O, no clock and no randomness inside, so every run can be replayed and simulated.

What holds for every run:

* An attempt's number is its fencing token. An event of another attempt, of a step that is done or
  of a run that is completed changes nothing, but the money it reports as spent is still counted.
* A second ``StepClaimed`` of a running attempt changes nothing: its first worker died and the task
  was delivered again. The step stays running and keeps its deadline and its share of the budget.
* Every state except ``pending`` has a deadline, so no run is live for ever: ``queued`` counts from
  when the step first became ready, over all retries and parks; ``running`` from the claim;
  ``publishing`` from the result; ``waiting`` from when approval was asked for. An approval starts
  the time in the queue, or that for publishing, anew.
* A step that waits with ``held`` has its result: an approval leads to the publication of exactly
  what is stored, never to another attempt, and only consents given since then are on the step.
* When a run is cancelled or superseded, effects that were not carried out yet never are; those
  already on GitHub stay there. Whoever publishes reads the run again before each effect.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

from pipelines.config.conditions import parse
from pipelines.model import (
    Conclusion,
    FeedbackPayload,
    RunState,
    Step,
    StepState,
    Usage,
    WorkflowRun,
)
from pipelines.orchestration.graph import graph_of
from pipelines.orchestration.outcome import (
    Limits,
    looks_different,
    next_deadline,
    overdue,
    why_skipped,
    worst,
)
from pipelines.orchestration.transitions import (
    Abort,
    ApprovalNeeded,
    CancelRequested,
    Command,
    Dispatch,
    EffectsHeld,
    EffectsPublished,
    Feedback,
    Publish,
    Report,
    RunEvent,
    Started,
    StepApproved,
    StepClaimed,
    StepFailed,
    StepFinished,
    StepSpent,
    Superseded,
    Ticked,
    Transition,
    Wake,
)

_OfAttempt = (
    StepClaimed | StepFinished | StepFailed | EffectsPublished | EffectsHeld | ApprovalNeeded
)

_REPORT = Report()
_FREE = Usage()


class WorkflowEngine:
    """Decides what each event means for a run; carries nothing out and remembers nothing."""

    def __init__(self, limits: Limits | None = None) -> None:
        self._limits = limits or Limits()

    def advance(self, run: WorkflowRun, event: RunEvent, now: datetime) -> Transition:
        """Return the run after ``event`` at ``now``, and the commands that follow from it.

        An unchanged run means that nothing happened. Only a ``Ticked`` before its time then has a
        command: its ``Wake`` again, so that clocks that disagree cannot lose a deadline.
        """
        draft = _Draft(run, now, self._limits)
        draft.apply(event)
        if draft.ended or isinstance(event, Started):
            draft.settle()
        return draft.transition(woken=isinstance(event, Ticked))


class _Draft:
    """One transition in the making."""

    def __init__(self, run: WorkflowRun, now: datetime, limits: Limits) -> None:
        self._run = run
        self._now = now
        self._limits = limits
        self._steps = {step.name: step for step in run.steps}
        self._usage = run.usage
        self._feedback = run.feedback
        self._stopped = ""
        self._commands: list[Command] = []
        self.changed = False
        self.ended = False
        """Whether a step ended, for which others may have waited."""

    def apply(self, event: RunEvent) -> None:
        """Take in the event, if it still concerns anybody."""
        if isinstance(event, StepFinished | StepFailed | StepSpent):
            self._bill(event)
        if not self._run.live:
            return
        match event:
            case StepClaimed():
                self._claim(event)
            case StepFinished():
                self._finish(event)
            case StepFailed():
                self._fail(event)
            case EffectsPublished():
                self._published(event)
            case ApprovalNeeded() | EffectsHeld():
                self._wait(event)
            case StepApproved():
                self._approve(event)
            case CancelRequested():
                self._stop(event.reason)
            case Superseded():
                self._give_way(event)
            case Ticked():
                self._expire()
            case Started() | StepSpent():
                return  # The first steps are dispatched by ``settle``, as all later ones are.

    def settle(self) -> None:
        """Dispatch or skip every step whose needs are done, until that makes no other ready."""
        graph = graph_of(self._run.steps)
        while True:
            done = [step.name for step in self._steps.values() if step.done]
            ready = [
                step
                for name in graph.ready(done)
                if (step := self._steps[name]).state is StepState.PENDING
            ]
            if not ready:
                return
            for step in ready:
                self._start_or_skip(step)

    def transition(self, *, woken: bool) -> Transition:
        """Return the result; the version grows only if something changed."""
        if not self.changed:
            again = woken and self._run.live
            wake = self._wake(self._run.steps, woken=True) if again else ()
            return Transition(run=self._run, commands=wake)
        steps = tuple(self._steps.values())
        update: dict[str, Any] = {
            "steps": steps,
            "usage": self._usage,
            "feedback": self._feedback,
            "updated_at": self._now,
            "version": self._run.version + 1,
        }
        if self._run.live:
            update |= self._verdict(steps)
        for wake in self._wake(steps, woken=woken):
            self._commands.append(wake)
            update["wake_at"] = wake.at
        run = self._run.model_copy(update=update)
        if looks_different(self._run, run):
            self._commands.append(_REPORT)
        return Transition(run=run, commands=tuple(self._commands))

    # --- events ----------------------------------------------------------------------------------

    def _claim(self, event: StepClaimed) -> None:
        step = self._current(event, StepState.QUEUED)
        if step:
            self._set(
                step,
                state=StepState.RUNNING,
                title="",
                started_at=self._now,
                not_before=None,
                deadline=self._after(step.timeout_seconds),
                budget_usd=self._share(),
            )

    def _finish(self, event: StepFinished) -> None:
        step = self._current(event, StepState.RUNNING)
        if not step:
            return
        step = self._set(step, title=event.title, outputs=event.outputs, has_result=True)
        if event.feedback:
            self._handle_feedback(step, event.feedback)
        if event.effects:
            self._publish(self._set(step, conclusion=event.conclusion))
        else:
            self._end(step, event.conclusion, event.title)

    def _handle_feedback(self, step: Step, payload: FeedbackPayload) -> None:
        """Keep what a monitor sends back to development, once a fingerprint, and pass it on."""
        if any(known.fingerprint == payload.fingerprint for known in self._feedback):
            return
        self._feedback += (payload,)
        self._commands.append(Feedback(step=step.name, payload=payload))

    def _publish(self, step: Step) -> None:
        deadline = self._after(self._limits.publish_seconds)
        self._set(step, state=StepState.PUBLISHING, deadline=deadline)
        self._commands.append(Publish(step=step.name, attempt=step.attempt))

    def _fail(self, event: StepFailed) -> None:
        step = self._current(event, StepState.QUEUED, StepState.RUNNING)
        if not step:
            return
        step = self._set(step, uncounted=step.uncounted + (not event.counted))
        counted = step.attempt - step.uncounted
        left = not event.counted or counted <= step.retries
        if event.retry_at and left and event.retry_at < self._queue_deadline(step):
            self._queue(step, title=event.title, not_before=event.retry_at)
            return
        tries = f" ({step.attempt} attempts)" if step.attempt > 1 else ""
        self._end(step, event.conclusion, event.title + tries)

    def _published(self, event: EffectsPublished) -> None:
        step = self._current(event, StepState.PUBLISHING)
        if step:
            # A publishing step has a conclusion since ``_finish``; success would be a claim.
            conclusion = event.conclusion or step.conclusion or Conclusion.NEUTRAL
            self._end(step, conclusion, step.title if event.title is None else event.title)

    def _wait(self, event: ApprovalNeeded | EffectsHeld) -> None:
        """Wait for consent; what was consented to before the result does not count for effects."""
        held = isinstance(event, EffectsHeld)
        states = (StepState.PUBLISHING,) if held else (StepState.QUEUED, StepState.RUNNING)
        step = self._current(event, *states)
        if not step or step.held:
            return
        if held:
            step = self._set(step, held=True, approvals=())
        else:
            step = self._set(step, uncounted=step.uncounted + 1, budget_usd=0.0, not_before=None)
        self._set(
            step,
            state=StepState.WAITING,
            title=event.title,
            approval_level=event.level,
            deadline=self._after(self._limits.approval_seconds),
        )

    def _approve(self, event: StepApproved) -> None:
        step = self._steps.get(event.step)
        if not step or step.state is not StepState.WAITING:
            return
        if event.head_sha not in (None, self._run.change.head_sha):
            return
        step = self._set(step, approvals=(*step.approvals, event.approval))
        if step.held:
            self._publish(step)
        else:
            self._queue(self._set(step, queued_at=self._now))

    def _expire(self) -> None:
        for step in self._live():
            if step.deadline and step.deadline <= self._now:
                self._abort(step)
                self._end(step, Conclusion.TIMED_OUT, overdue(step, self._limits))

    def _give_way(self, event: Superseded) -> None:
        if self._run.cancel_superseded and event.generation > self._run.generation:
            self._stop(event.reason)

    def _stop(self, reason: str) -> None:
        self._stopped = reason or "Cancelled."
        for step in self._live():
            self._abort(step)
            self._end(step, Conclusion.CANCELLED, self._stopped)

    # --- what the events share -------------------------------------------------------------------

    def _current(
        self,
        event: _OfAttempt,
        *states: StepState,
    ) -> Step | None:
        """Return the step that the event is about, or None if the event is stale."""
        step = self._steps.get(event.step)
        current = step and step.attempt == event.attempt and step.state in states
        return step if current else None

    def _bill(self, event: StepFinished | StepFailed | StepSpent) -> None:
        """Add an attempt's usage once, even if nobody waits for its result any more.

        What it cost a worker that did not bring it to its end is no part of that, so it is added
        as well, out of what was set aside for the step.
        """
        step = self._steps.get(event.step)
        if not step:
            return
        if isinstance(event, StepSpent):
            self._set(step, budget_usd=max(0.0, step.budget_usd - event.usage.cost_usd))
            self._usage += event.usage
        elif step.billed < event.attempt <= step.attempt:
            kept = step.budget_usd if event.attempt < step.attempt else 0.0
            self._set(step, billed=event.attempt, budget_usd=kept)
            if event.usage != _FREE:
                self._usage += event.usage

    def _share(self) -> float:
        """Return an equal share, in US dollars, of what is left for the steps that are queued.

        What an attempt was given stays set aside until its usage is known, also when it was
        aborted, so that the shares given out at any time never add up to more than the budget.
        """
        held = sum(step.budget_usd for step in self._steps.values())
        queued = sum(step.state is StepState.QUEUED for step in self._steps.values())
        return max(0.0, self._run.budget_usd - self._usage.cost_usd - held) / queued

    def _start_or_skip(self, step: Step) -> None:
        needs = [(need, self._steps[need].conclusion) for need in step.needs]
        conclusions = [conclusion for _, conclusion in needs if conclusion]
        if parse(step.condition).evaluate(conclusions, self._run.change.paths):
            self._queue(self._set(step, queued_at=self._now))
        else:
            self._end(step, Conclusion.SKIPPED, why_skipped(step, needs, self._run.change))

    def _queue(self, step: Step, *, title: str = "", not_before: datetime | None = None) -> None:
        attempt = step.attempt + 1
        self._set(
            step,
            state=StepState.QUEUED,
            title=title,
            attempt=attempt,
            not_before=not_before,
            deadline=self._queue_deadline(step),
        )
        self._commands.append(Dispatch(step=step.name, attempt=attempt, not_before=not_before))

    def _queue_deadline(self, step: Step) -> datetime:
        since = step.queued_at or self._now
        return since + timedelta(seconds=self._limits.queue_seconds)

    def _abort(self, step: Step) -> None:
        if step.state in (StepState.RUNNING, StepState.PUBLISHING):
            self._commands.append(Abort(step=step.name, attempt=step.attempt))

    def _end(self, step: Step, conclusion: Conclusion, title: str) -> None:
        self.ended = True
        self._set(
            step,
            state=StepState.COMPLETED,
            conclusion=conclusion,
            title=title,
            finished_at=self._now,
            not_before=None,
            deadline=None,
        )

    def _set(self, step: Step, **changes: Any) -> Step:
        self.changed = True
        updated = step.model_copy(update=changes)
        self._steps[step.name] = updated
        return updated

    def _live(self) -> list[Step]:
        return [step for step in self._steps.values() if not step.done]

    def _after(self, seconds: float) -> datetime:
        return self._now + timedelta(seconds=seconds)

    def _verdict(self, steps: Sequence[Step]) -> dict[str, Any]:
        states = {step.state for step in steps}
        if states == {StepState.COMPLETED}:
            ended = Conclusion.CANCELLED if self._stopped else worst(steps)
            return {"state": RunState.COMPLETED, "conclusion": ended, "reason": self._stopped}
        busy = states & {StepState.QUEUED, StepState.RUNNING, StepState.PUBLISHING}
        waiting = StepState.WAITING in states and not busy
        return {"state": RunState.WAITING if waiting else RunState.RUNNING}

    def _wake(self, steps: Iterable[Step], *, woken: bool) -> tuple[Wake, ...]:
        """Ask for the earliest deadline, unless the run is woken before it anyway.

        That one then asks for the next: a run has one wake-up ahead of it, not one a step.
        """
        at, asked = next_deadline(steps), self._run.wake_at
        coming = asked is not None and self._now < asked and not woken
        if at is None or (coming and asked is not None and asked <= at):
            return ()
        return (Wake(at=at),)
