"""What survives a crash: a store with compare-and-set, a queue with leases, and a GitHub.

All of it is a model: the smallest thing that keeps the promises of the real one. Every change goes
through ``World.commit`` or ``Forge.write``, and that is where the invariants are checked.
"""

import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Literal

from pipelines.errors import Conflict, LeaseLost, NotStored
from pipelines.model import (
    Change,
    Conclusion,
    Effect,
    PushCommit,
    Step,
    StepState,
    WorkflowRun,
)
from pipelines.orchestration.transitions import (
    Abort,
    Command,
    Dispatch,
    Feedback,
    Publish,
    Report,
    RunEvent,
    Transition,
    Wake,
)
from tests.support.clock import EPOCH

FOREVER = datetime.max.replace(tzinfo=UTC)
"""The end of a lease that a worker renews without ever getting on with its work."""
LEASE = timedelta(seconds=60)
UNSTAFFED = "monitor"
"""An agent that is known, but that no worker takes tasks for."""
GROUP = "42/pr/5/pull-request"
CENT = 1e-9
"""Rounding that adding floats may cause."""

GOOD = {Conclusion.SUCCESS, Conclusion.NEUTRAL}
BAD = {Conclusion.FAILURE, Conclusion.TIMED_OUT}


class Broken(AssertionError):
    """An invariant does not hold; ``invariant`` is its name."""

    def __init__(self, invariant: str, what: str) -> None:
        super().__init__(f"{invariant}: {what}")
        self.invariant = invariant


@dataclass(frozen=True, slots=True)
class Delivery:
    """A webhook; for a push the head is read from GitHub, for an approval it is what was seen."""

    guid: str
    kind: Literal["push", "cancel", "approve"]
    head: str = ""


@dataclass(slots=True)
class Message:
    id: str
    queue: Literal["deliveries", "tasks", "effects", "reports", "timers"]
    due: datetime
    run: str = ""
    step: str = ""
    attempt: int = 0
    agent: str = ""
    delivery: Delivery | None = None
    token: int = 0
    leased_until: datetime = EPOCH
    reminder: bool = False
    """Whether another one follows once it is settled."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A worker's lease of a message: the token is what fences it."""

    message: Message
    token: int


@dataclass(slots=True)
class Intent:
    """The ledger's entry of an effect: who began it, and whether it is known to be done."""

    owner: str
    done: bool = False


@dataclass(slots=True)
class Forge:
    """GitHub: a pull request whose head moves, what was written to it, and what users see."""

    head: str = ""
    writes: Counter[str] = field(default_factory=Counter)
    shown: dict[str, tuple[object, ...]] = field(default_factory=dict)

    def write(self, run: WorkflowRun, step: Step, effect: Effect) -> None:
        key, sha = effect.key, effect.head_sha
        if isinstance(effect, PushCommit) and not (step.held and step.approvals):
            raise Broken("T24", f"{key} was written and nobody consented to it")
        self.writes[key] += 1
        if self.writes[key] > 1:
            raise Broken("I2", f"effect {key} happened twice")
        if sha != run.change.head_sha:
            raise Broken("I3", f"{key} went to {sha}, the run is bound to {run.change.head_sha}")


@dataclass(frozen=True, slots=True)
class Plan:
    """What a seed chose for all runs of its pull request."""

    steps: tuple[Step, ...]
    budget_usd: float
    changes: dict[str, Change]
    effects: dict[str, tuple[Effect, ...]]


class World:
    """Durable state, time, and the checks that no moment may fail."""

    def __init__(self, rng: random.Random, plan: Plan) -> None:
        self.rng = rng
        self.plan = plan
        self.now = EPOCH
        self.forge = Forge()
        self.runs: dict[str, WorkflowRun] = {}
        self.latest = 0
        self.messages: dict[str, Message] = {}
        self.results: dict[tuple[str, str, int], tuple[Effect, ...]] = {}
        self.ledger: dict[str, Intent] = {}
        self.accepted: set[str] = set()
        self.settled: Counter[str] = Counter()
        self.reported: defaultdict[str, float] = defaultdict(float)
        self.aborted: set[tuple[str, str, int]] = set()
        self.faults = True
        self.history: list[tuple[str, RunEvent]] = []
        self.commits = 0

    # --- the queue -------------------------------------------------------------------------------

    def claimable(self) -> list[Message]:
        now = self.now
        return [
            m
            for m in self.messages.values()
            if m.due <= now and m.leased_until <= now and m.agent != UNSTAFFED
        ]

    def claim(self, message: Message) -> Claim:
        message.token += 1
        message.reminder = False
        message.leased_until = self.now + LEASE
        return Claim(message, message.token)

    def holds(self, claim: Claim) -> bool:
        current = self.messages.get(claim.message.id)
        known = current is claim.message and claim.message.token == claim.token
        return known and claim.message.leased_until > self.now

    def renew(self, claim: Claim) -> None:
        claim.message.leased_until = self.now + LEASE

    def hang(self, claim: Claim) -> None:
        if self.holds(claim):
            claim.message.leased_until = FOREVER

    def release(self, claim: Claim, seconds: float) -> None:
        if self.holds(claim):
            claim.message.leased_until = self.now
            claim.message.due = self.now + timedelta(seconds=seconds)

    def leased(self, message_id: str) -> bool:
        message = self.messages.get(message_id)
        return message is not None and message.leased_until > self.now

    # --- the store -------------------------------------------------------------------------------

    def accept(self, delivery: Delivery) -> None:
        """Store a delivery once, however often it arrives."""
        if delivery.guid in self.accepted:
            return
        self.accepted.add(delivery.guid)
        id_ = f"delivery/{delivery.guid}"
        self.messages[id_] = Message(id_, "deliveries", self.now, delivery=delivery)

    def commit(
        self,
        *changes: tuple[WorkflowRun | None, Transition],
        settle: Claim | None = None,
        latest: int | None = None,
        result: tuple[tuple[str, str, int], tuple[Effect, ...]] | None = None,
        reported: tuple[str, float] | None = None,
    ) -> None:
        """Store all or nothing; with faults on, sometimes nothing, or all without saying so."""
        if self.faults and self.rng.random() < 0.01:
            raise NotStored("The store is out of reach.")
        if settle:
            current = self.messages.get(settle.message.id)
            if current is not settle.message or settle.message.token != settle.token:
                raise LeaseLost(settle.message.id)
        if latest is not None and latest != self.latest + 1:
            raise Conflict("group", expected=latest - 1, actual=self.latest)
        for before, transition in changes:
            stored = self.runs.get(transition.run.id)
            if stored is not before and stored != before:
                raise Conflict(transition.run.id, expected=0, actual=0)
        self._apply(changes, settle, latest)
        if result:
            self.results[result[0]] = result[1]
        if reported:
            self.reported[reported[0]] += reported[1]
        self.commits += 1
        if self.faults and self.rng.random() < 0.01:
            raise NotStored("The answer was lost.")

    def _apply(
        self,
        changes: Sequence[tuple[WorkflowRun | None, Transition]],
        settle: Claim | None,
        latest: int | None,
    ) -> None:
        if settle:
            done = self.messages.pop(settle.message.id)
            if done.reminder:
                self._remind(done.id, self.runs[done.run])
            if settle.message.delivery:
                self._terminal(settle.message.delivery.guid)
        for before, transition in changes:
            self.runs[transition.run.id] = transition.run
            if before is not None:
                self._check(before, transition.run)
            self._send(transition.run, transition.commands)
        if latest is not None:
            self.latest = latest
            if sum(run.live for run in self.runs.values()) > 1:
                raise Broken("I5", "two runs of one pull request and workflow are live")

    def _terminal(self, guid: str) -> None:
        self.settled[guid] += 1
        if self.settled[guid] > 1:
            raise Broken("I1", f"delivery {guid} has two terminal records")

    def _send(self, run: WorkflowRun, commands: Iterable[Command]) -> None:
        for command in commands:
            match command:
                case Dispatch(step=step, attempt=attempt, not_before=at):
                    due = at or self.now
                    self._put(f"task/{run.id}/{step}/{attempt}", "tasks", run, due, step, attempt)
                case Publish(step=step, attempt=attempt):
                    id_ = f"publish/{run.id}/{step}/{attempt}"
                    self._put(id_, "effects", run, self.now, step, attempt)
                case Report():
                    self._remind(f"report/{run.id}", run)
                case Feedback():
                    continue  # news, which nobody here listens to
                case Wake(at=at):
                    self._put(f"wake/{run.id}", "timers", run, at)
                case Abort(step=step, attempt=attempt):
                    if self.rng.random() < 0.8:  # a signal, so it may be lost
                        self.aborted.add((run.id, step, attempt))

    def _remind(self, id_: str, run: WorkflowRun) -> None:
        before = self.messages.get(id_)
        if before is None:
            self._put(id_, "reports", run, self.now)
        elif before.token:  # here whoever claimed it last settles it, however late
            before.reminder = True

    def _put(
        self,
        id_: str,
        queue: Literal["tasks", "effects", "reports", "timers"],
        run: WorkflowRun,
        due: datetime,
        step: str = "",
        attempt: int = 0,
    ) -> None:
        agent = run.step(step).agent if queue == "tasks" else ""
        self.messages[id_] = Message(id_, queue, due, run.id, step, attempt, agent)

    # --- what must hold at every moment ----------------------------------------------------------

    def _check(self, before: WorkflowRun, after: WorkflowRun) -> None:
        if after is not before and after.version != before.version + 1:
            raise Broken("version", f"{before.version} became {after.version}")
        if not before.live and after.live:
            raise Broken("I1", f"{after.id} rose from the dead")
        if after.usage.cost_usd > after.budget_usd + CENT:
            raise Broken("I6", f"{after.usage.cost_usd} spent of {after.budget_usd}")
        for old, new in zip(before.steps, after.steps, strict=True):
            if old is new:
                continue
            if any(approval.by_login != after.change.head_sha for approval in new.approvals):
                raise Broken("T05", f"{new.name} was approved at another commit")
            if new.attempt - new.uncounted > new.retries + 1:
                raise Broken("retries", f"{new.name} was tried too often")
            if old.held and (not new.held or new.attempt != old.attempt):
                raise Broken("held", f"{new.name} ran again instead of publishing what it had")
            if old.done and (new.state, new.conclusion) != (old.state, old.conclusion):
                raise Broken("I1", f"{new.name} changed after its end")
            if new.state is StepState.RUNNING and old.state is not StepState.RUNNING:
                self._check_start(after, old)

    def _check_start(self, run: WorkflowRun, step: Step) -> None:
        if step.not_before and step.not_before > self.now:
            raise Broken("I8", f"{step.name} started before its time")
        parents = [run.step(need) for need in step.needs]
        if not all(parent.done for parent in parents):
            raise Broken("I4", f"{step.name} started before what it needs")
        if not holds(step.condition, [p.conclusion for p in parents if p.conclusion]):
            raise Broken("I4", f"{step.name} started though `{step.condition}` does not hold")

    def check_end(self) -> None:
        """Assert what must hold once nothing is left to do."""
        for guid in self.accepted:
            if self.settled[guid] != 1:
                raise Broken("I1", f"delivery {guid} has {self.settled[guid]} terminal records")
        for run in self.runs.values():
            unfinished = [s.name for s in run.steps if not s.done or s.conclusion is None]
            if run.live or run.conclusion is None or unfinished:
                raise Broken("liveness", f"{run.id} never ends: {unfinished}")
            if self.forge.shown.get(run.id) != visible(run):
                raise Broken("I11", f"users do not see how {run.id} ended")
            if abs(self.reported[run.id] - run.usage.cost_usd) > CENT:
                raise Broken("I6", f"{run.id} spent {self.reported[run.id]}, not as recorded")
        heads = [run.change.head_sha for run in self.runs.values()]
        if self.forge.head and (not heads or heads[-1] != self.forge.head):
            raise Broken("convergence", "the newest commit was never looked at")


def visible(run: WorkflowRun) -> tuple[object, ...]:
    return (run.state, run.conclusion, *((s.state, s.conclusion, s.title) for s in run.steps))


def holds(condition: str, needs: list[Conclusion]) -> bool:
    """Say for the few conditions of the plans, in other words than the real parser, what holds."""
    success = all(need in GOOD for need in needs)
    failure = any(need in BAD for need in needs)
    return {
        "success()": success,
        "failure()": failure,
        "always()": True,
        "success() || failure()": success or failure,
        "changed('src/**')": success,
        "changed('docs/**')": False,
        "always() && !failure()": not failure,
    }[condition]
