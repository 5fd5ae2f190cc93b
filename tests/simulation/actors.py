"""What happens to a message once a worker has claimed it: one generator a queue.

Each ``yield`` is a place where other workers may go on, time may pass, or the process may die. What
stands between two of them is one atomic step, as it is in the store or at GitHub.
"""

import random
from collections.abc import Callable, Generator
from dataclasses import dataclass
from datetime import datetime, timedelta

from pipelines.errors import Ambiguous, Conflict, Parked, Retryable, UserError
from pipelines.model import (
    Approval,
    Conclusion,
    Effect,
    Step,
    StepState,
    Usage,
    WorkflowRun,
)
from pipelines.orchestration.engine import WorkflowEngine
from pipelines.orchestration.error_handler import Action, ErrorHandler
from pipelines.orchestration.policy import Allow, Deny, Facts, PolicyEngine, RequireApproval
from pipelines.orchestration.runs import new_run
from pipelines.orchestration.transitions import (
    ApprovalNeeded,
    CancelRequested,
    EffectsHeld,
    EffectsPublished,
    RunEvent,
    Started,
    StepApproved,
    StepClaimed,
    StepFailed,
    StepFinished,
    Superseded,
    Ticked,
    Transition,
)
from tests.simulation.plans import a_trigger
from tests.simulation.world import GROUP, UNSTAFFED, Claim, Delivery, Intent, World, visible
from tests.support.clock import EPOCH

Work = Generator[None, None, None]

FACTS = Facts(known_agents=frozenset({"review", "test", "devops", UNSTAFFED}), now=EPOCH)
OUTCOMES = (
    *(Conclusion.SUCCESS,) * 4,
    Conclusion.NEUTRAL,
    Conclusion.FAILURE,
)


@dataclass(slots=True)
class Actors:
    """The code around the engine, as the coordinator and the worker have it."""

    world: World
    engine: WorkflowEngine
    policy: PolicyEngine
    errors: ErrorHandler
    looks_first: bool = True
    waits_for_others: bool = True

    @property
    def rng(self) -> random.Random:
        return self.world.rng

    def work(self, claim: Claim) -> Work:
        """Return the work on a message, under a clock that may be off by a second."""
        handlers: dict[str, Callable[[Claim, float], Work]] = {
            "deliveries": self._delivery,
            "tasks": self._task,
            "effects": self._effects,
            "reports": self._report,
            "timers": self._timer,
        }
        return handlers[claim.message.queue](claim, self.rng.choice((-1.0, 0.0, 0.0, 1.0)))

    def _clock(self, skew: float) -> datetime:
        return self.world.now + timedelta(seconds=skew) if skew else self.world.now

    def _change(
        self,
        run_id: str,
        event: RunEvent,
        skew: float,
        *,
        settle: Claim | None = None,
        result: tuple[tuple[str, str, int], tuple[Effect, ...]] | None = None,
        reported: tuple[str, float] | None = None,
    ) -> Work:
        """Read, advance, commit, and from the start again if somebody else was faster."""
        while True:
            before = self.world.runs[run_id]
            transition = self.engine.advance(before, event, self._clock(skew))
            if self.rng.random() < 0.3:
                yield
            try:
                self.world.commit(
                    (before, transition), settle=settle, result=result, reported=reported
                )
            except Conflict:
                continue
            self.world.history.append((run_id, event))
            return

    def repeat(self) -> None:
        """Send an event that was taken in before once more, and not under any lease."""
        if self.world.history:
            run_id, event = self.rng.choice(self.world.history)
            before = self.world.runs[run_id]
            self.world.commit((before, self.engine.advance(before, event, self.world.now)))

    # --- deliveries ------------------------------------------------------------------------------

    def _delivery(self, claim: Claim, skew: float) -> Work:
        delivery = claim.message.delivery
        assert delivery
        yield
        if delivery.kind == "push":
            yield from self._push(claim, skew)
            return
        run = self.world.runs.get(f"run-{self.world.latest}")
        event = run and self._wish(run, delivery)
        if run and event:
            yield from self._change(run.id, event, skew, settle=claim)
        else:
            self.world.commit(settle=claim)

    def _wish(self, run: WorkflowRun, delivery: Delivery) -> RunEvent | None:
        if delivery.kind == "cancel":
            return CancelRequested(reason="Cancelled by ada.")
        waiting = [step.name for step in run.steps if step.state is StepState.WAITING]
        if not waiting:
            return None
        seen = delivery.head
        approval = Approval(by_id=9, by_login=seen, level="write", at=self.world.now)
        return StepApproved(step=self.rng.choice(waiting), approval=approval, head_sha=seen)

    def _push(self, claim: Claim, skew: float) -> Work:
        """Bring the runs in line with the head as it is now, whatever the delivery said."""
        while True:
            head, latest = self.world.forge.head, self.world.latest
            old = self.world.runs.get(f"run-{latest}")
            if old and old.change.head_sha == head:
                self.world.commit(settle=claim)
                return
            new = self._start(head, latest + 1, skew)
            changes: list[tuple[WorkflowRun | None, Transition]] = [(None, new)]
            if old:
                reason = "A newer push replaced it."
                event = Superseded(generation=latest + 1, reason=reason)
                ended = self.engine.advance(old, event, self._clock(skew))
                changes.append((old, ended))
            yield
            try:
                self.world.commit(*changes, settle=claim, latest=latest + 1)
            except Conflict:
                continue
            return

    def _start(self, head: str, generation: int, skew: float) -> Transition:
        plan = self.world.plan
        run = new_run(
            run_id=f"run-{generation}",
            workflow="pull-request",
            trigger=a_trigger(head),
            change=plan.changes[head],
            config_sha="default",
            group=GROUP,
            generation=generation,
            steps=plan.steps,
            budget_usd=plan.budget_usd,
            now=self._clock(skew),
        )
        return self.engine.advance(run, Started(), self._clock(skew))

    # --- tasks -----------------------------------------------------------------------------------

    def _task(self, claim: Claim, skew: float) -> Work:
        message = claim.message
        yield  # a worker may stall before it has done anything, and be late with its claim
        run = self.world.runs[message.run]
        refusal = self._refusal(run, run.step(message.step), message.attempt)
        if refusal:
            yield from self._change(run.id, refusal, skew, settle=claim)
            return
        event = StepClaimed(step=message.step, attempt=message.attempt)
        yield from self._change(run.id, event, skew)
        step = self.world.runs[message.run].step(message.step)
        if step.state is not StepState.RUNNING or step.attempt != message.attempt:
            self.world.commit(settle=claim)
            return
        yield from self._execute(claim, step, skew)

    def _refusal(self, run: WorkflowRun, step: Step, attempt: int) -> RunEvent | None:
        verdict = self.policy.check_task(run, step, FACTS)
        match verdict:
            case Allow():
                return None
            case Deny(reason=reason, conclusion=how):
                return StepFailed(step=step.name, attempt=attempt, conclusion=how, title=reason)
            case RequireApproval(level=level, reason=reason):
                return ApprovalNeeded(step=step.name, attempt=attempt, level=level, title=reason)

    def _execute(self, claim: Claim, step: Step, skew: float) -> Work:
        """Be an agent: spend, be interrupted, come to some end."""
        message, spent = claim.message, 0.0
        for _ in range(self.rng.randrange(4)):
            yield
            if self.world.holds(claim):
                self.world.renew(claim)
            elif self.rng.random() < 0.5:
                return  # noticed that the lease is gone; otherwise it works on as a zombie
            if (message.run, step.name, message.attempt) in self.world.aborted:
                break
            spent += self.rng.random() * (step.budget_usd - spent)
        if self.rng.random() < 0.03:
            self.world.hang(claim)
            return
        yield
        event, effects = self._outcome(claim, step, spent)
        yield from self._change(
            message.run,
            event,
            skew,
            settle=claim,
            result=((message.run, step.name, message.attempt), effects),
            reported=(message.run, spent),
        )

    def _outcome(
        self, claim: Claim, step: Step, spent: float
    ) -> tuple[StepFinished | StepFailed, tuple[Effect, ...]]:
        usage = Usage.model_construct(cost_usd=spent)
        if self.rng.random() < 0.2:
            return self._failure(claim, step, usage), ()
        wanted = self.world.plan.effects[self.world.runs[claim.message.run].change.head_sha]
        wanted = wanted[:1] if step.agent == "devops" else wanted[1:]
        few = wanted[:1] if self.rng.random() < 0.4 else wanted  # steps that want the same thing
        effects = tuple(self.rng.sample(few, min(len(few), self.rng.choice((0, 1, 1, 2)))))
        finished = StepFinished(
            step=step.name,
            attempt=claim.message.attempt,
            conclusion=self.rng.choice(OUTCOMES),
            title="Done.",
            usage=usage,
            effects=len(effects),
        )
        return finished, effects

    def _failure(self, claim: Claim, step: Step, usage: Usage) -> StepFailed:
        limit = Parked("Limit.", until=self.world.now + timedelta(minutes=9), scope="x")
        error = self.rng.choice(
            (
                Retryable("Overloaded.", dependency="anthropic"),
                Retryable("Slow down.", retry_after=40),
                Retryable("Slow down.", retry_after=400),
                limit,
                limit,
                UserError("Mend it."),
                ValueError("a defect"),
            )
        )
        attempts = step.attempt - step.uncounted
        decision = self.errors.decide(error, attempts=attempts, now=self.world.now)
        return StepFailed(
            step=step.name,
            attempt=claim.message.attempt,
            conclusion=decision.conclusion,
            title=decision.message,
            retry_at=decision.at,
            counted=decision.counted,
            usage=usage,
        )

    # --- effects, reports, timers ----------------------------------------------------------------

    def _effects(self, claim: Claim, skew: float) -> Work:
        message, how = claim.message, None
        hold = self._hold(claim)
        if hold:
            yield
            yield from self._change(message.run, hold, skew, settle=claim)
            return
        for effect in self.world.results[message.run, message.step, message.attempt]:
            yield
            run = self.world.runs[message.run]
            step = run.step(message.step)
            if step.state is not StepState.PUBLISHING or step.attempt != message.attempt:
                self.world.commit(settle=claim)
                return
            verdict = self.policy.check_effect(run, step, effect, FACTS)
            if isinstance(verdict, Deny | RequireApproval):
                how = verdict.conclusion if isinstance(verdict, Deny) else Conclusion.NEUTRAL
                continue
            done = yield from self._carry_out(claim, run, step, effect)
            if not done:
                return
        event = EffectsPublished(step=message.step, attempt=message.attempt, conclusion=how)
        yield from self._change(message.run, event, skew, settle=claim)

    def _hold(self, claim: Claim) -> EffectsHeld | None:
        """Return what happens instead of publishing, where somebody's consent is missing."""
        message = claim.message
        run = self.world.runs[message.run]
        step = run.step(message.step)
        for effect in self.world.results[message.run, message.step, message.attempt]:
            verdict = self.policy.check_effect(run, step, effect, FACTS)
            if isinstance(verdict, RequireApproval) and not step.held:
                return EffectsHeld(
                    step=step.name,
                    attempt=message.attempt,
                    level=verdict.level,
                    title=verdict.reason,
                )
        return None

    def _carry_out(
        self, claim: Claim, run: WorkflowRun, step: Step, effect: Effect
    ) -> Generator[None, None, bool]:
        """Intent, write, done: with a crash between any two it must not happen twice."""
        world, key, mine = self.world, effect.key, claim.message.id
        earlier = world.ledger.get(key)
        if earlier and earlier.done:
            return True
        foreign = earlier is not None and earlier.owner != mine
        if earlier and foreign and self.waits_for_others and world.leased(earlier.owner):
            world.release(claim, 300.0)  # somebody else is at it right now
            return False
        world.ledger[key] = Intent(mine)
        yield
        if not world.holds(claim):
            return False
        if self.rng.random() < 0.02:
            world.hang(claim)
            return False
        if not (earlier and self.looks_first and world.forge.writes[key]):
            world.forge.write(run, step, effect)
            if world.faults and self.rng.random() < 0.1:
                error = Ambiguous("The connection broke.", dependency="github")
                decision = self.errors.decide(error, attempts=1, now=world.now)
                assert decision.action in (Action.RETRY, Action.PARK)
                world.release(claim, 5.0)
                return False
        yield
        world.ledger[key].done = True
        return True

    def _report(self, claim: Claim, skew: float) -> Work:
        run = self.world.runs[claim.message.run]
        self.world.forge.shown[run.id] = visible(run)
        yield
        self.world.commit(settle=claim)

    def _timer(self, claim: Claim, skew: float) -> Work:
        yield from self._change(claim.message.run, Ticked(), skew, settle=claim)
