"""One seed is one history: what is pushed, who crashes when, and in which order all things happen.

``CONDUCTOR_SIM_SEEDS`` says how many seeds to run (10,000 without it) or which ones (``7-7``).
"""

import os
import random
from datetime import timedelta
from functools import cache

from pipelines.errors import LeaseLost, NotStored
from pipelines.model import (
    AnswerFinding,
    Change,
    Coverage,
    Effect,
    FileEdit,
    PriorFinding,
    PushCommit,
    Step,
    SubmitReview,
)
from pipelines.orchestration.engine import WorkflowEngine
from pipelines.orchestration.error_handler import ErrorHandler
from pipelines.orchestration.policy import PolicyEngine
from tests.simulation.actors import Actors, Work
from tests.simulation.plans import OTHER, a_change, a_step
from tests.simulation.world import FOREVER, UNSTAFFED, Broken, Claim, Delivery, Plan, World
from tests.support.clock import VirtualClock

HEADS = tuple(digit * 40 for digit in "123")
CONDITIONS = (
    *("success()",) * 9,
    "failure()",
    "always()",
    "success() || failure()",
    "changed('src/**')",
    "changed('docs/**')",
    "always() && !failure()",
)
AGENTS = (*("review",) * 8, *("test",) * 4, *("devops",) * 4, UNSTAFFED, "not installed")
PASSING = (*(1, 5, 30) * 3, *(61,) * 6, 310, 900, 7200)
"""Seconds that pass at a time: longer than a lease, than a timeout, than publishing may take."""
PATIENCE = 4000
"""Moves after which a world without faults that still has work is held to be stuck."""


def seeds() -> range:
    """Return the seeds that were asked for."""
    first, _, last = os.environ.get("CONDUCTOR_SIM_SEEDS", "10000").rpartition("-")
    return range(int(first), int(last) + 1) if first else range(int(last))


class Simulation:
    """A world, the workers in it, and the dice."""

    def __init__(
        self,
        seed: int,
        *,
        engine: WorkflowEngine | None = None,
        policy: PolicyEngine | None = None,
        looks_first: bool = True,
        waits_for_others: bool = True,
    ) -> None:
        self.rng = rng = random.Random(seed)
        self.world = World(rng, a_plan(rng))
        errors = ErrorHandler(clock=VirtualClock(), rng=rng)
        self.actors = Actors(
            self.world,
            engine or ENGINE,
            policy or POLICY,
            errors,
            looks_first=looks_first,
            waits_for_others=waits_for_others,
        )
        self.working: list[tuple[Claim, Work]] = []
        self.stalled: list[tuple[Claim, Work]] = []
        self.coming = deliveries(rng)

    def run(self) -> World:
        """Play the history to its end; raises ``Broken``."""
        while not self.world.forge.head:
            self._deliver()
        for _ in range(self.rng.randint(30, 200)):
            self._move()
        self.world.faults = False
        self.working += self.stalled
        for _ in range(PATIENCE):
            if not self._go_on():
                break
        else:
            raise Broken("liveness", f"still at work: {sorted(self.world.messages)[:5]}")
        self.world.check_end()
        return self.world

    def _move(self) -> None:
        """Do one thing at random."""
        dice = self.rng.random()
        if dice < 0.55 and self.working:
            self._step(self.rng.randrange(len(self.working)))
        elif dice < 0.80:
            self._claim()
        elif dice < 0.90:
            self._deliver()
        elif dice < 0.94 and self.working:
            self._crash(self.rng.randrange(len(self.working)))
        elif dice < 0.945:
            while self.working:
                self._crash(0)
        elif dice < 0.97 and self.working:
            self._stall(self.rng.randrange(len(self.working)))
        elif dice < 0.98:
            self._repeat()
        elif dice < 0.985 and self.stalled:
            self.working.append(self.stalled.pop(self.rng.randrange(len(self.stalled))))
        else:
            seconds = self.rng.choice(PASSING)
            self.world.now += timedelta(seconds=seconds)

    def _go_on(self) -> bool:
        """Do one useful thing without faults; False if there is none left."""
        if self.working and (len(self.working) > 3 or self.rng.random() < 0.7):
            self._step(self.rng.randrange(len(self.working)))
        elif not self._claim() and not self._deliver():
            if self.working:
                self._step(0)
            else:
                return self._wait()
        return True

    def _wait(self) -> bool:
        """Let time pass until a message is due or its lease is over."""
        messages = self.world.messages.values()
        times = [max(m.due, m.leased_until) for m in messages if m.agent != UNSTAFFED]
        next_time = min(times, default=FOREVER)
        if next_time == FOREVER:
            return False
        self.world.now = max(self.world.now, next_time)
        return True

    def _deliver(self) -> bool:
        if not self.coming:
            return False
        delivery = self.coming.pop()
        if delivery.kind == "push":
            # Deliveries arrive in any order, but GitHub itself only ever moves on.
            self.world.forge.head = max(self.world.forge.head, delivery.head)
        self.world.accept(delivery)
        return True

    def _claim(self) -> bool:
        messages = self.world.claimable()
        if not messages:
            return False
        claim = self.world.claim(self.rng.choice(messages))
        self.working.append((claim, self.actors.work(claim)))
        return True

    def _step(self, index: int) -> None:
        try:
            next(self.working[index][1])
        except (StopIteration, LeaseLost, NotStored):
            self.working.pop(index)

    def _repeat(self) -> None:
        try:
            self.actors.repeat()
        except NotStored:
            return

    def _stall(self, index: int) -> None:
        """Stop a process for longer than its lease, so that it goes on as a zombie one day."""
        self.stalled.append(self.working.pop(index))
        self.world.now += timedelta(seconds=self.rng.choice((30, 61)))

    def _crash(self, index: int) -> None:
        self.working.pop(index)[1].close()


ENGINE = WorkflowEngine()
POLICY = PolicyEngine()


def deliveries(rng: random.Random) -> list[Delivery]:
    """Return what GitHub will send, doubled and out of order."""
    heads = HEADS[: rng.choice((1, 1, 2, 3))]
    sent = [Delivery(f"push-{head[0]}", "push", head) for head in heads]
    if rng.random() < 0.15:
        sent.append(Delivery("cancel", "cancel"))
    sent += [
        Delivery(f"approve-{i}", "approve", rng.choice(heads)) for i in range(rng.randrange(4))
    ]
    sent += rng.choices(sent, k=rng.randrange(3))
    rng.shuffle(sent)
    return sent


def a_plan(rng: random.Random) -> Plan:
    """Return a random graph of up to eight steps for one pull request."""
    steps: list[Step] = []
    for index in range(rng.choice((1, 2, 3, 3, 4, 4, 5, 6, 8))):
        names = [step.name for step in steps]
        needs = rng.sample(names, min(len(names), rng.choice((0, 1, 1, 2))))
        agent = rng.choice(AGENTS)
        steps.append(
            _step(f"s{index}", tuple(needs), agent, rng.choice(CONDITIONS), rng.randrange(3))
        )
    tainted = rng.random() < 0.4
    return Plan(
        steps=tuple(steps),
        budget_usd=rng.choice((0.0, 0.5, 1.5)),
        changes={head: _change(head, tainted) for head in HEADS},
        effects={head: _effects(head) for head in HEADS},
    )


@cache
def _step(name: str, needs: tuple[str, ...], agent: str, condition: str, retries: int) -> Step:
    return a_step(
        name, *needs, agent=agent, condition=condition, retries=retries, timeout_seconds=300
    )


@cache
def _change(head: str, tainted: bool) -> Change:
    earlier = tuple(
        PriorFinding(fingerprint=f"f{i}", thread_id=f"T{i}", comment_id=i, path="src/shop.py")
        for i in range(1, 4)
    )
    return a_change(head, author_can_write=not tainted, prior_findings=earlier)


@cache
def _effects(head: str) -> tuple[Effect, ...]:
    """Return what agents may ask for at a commit: devops the first, others the rest.

    The last one is somebody's bad idea.
    """
    review = SubmitReview(number=5, head_sha=head, findings=(), summary="", coverage=Coverage())
    answers = [
        AnswerFinding(
            number=5,
            head_sha=head,
            fingerprint=f"f{i}",
            thread_id=f"T{i}",
            comment_id=i,
            fixed_in=head,
        )
        for i in range(1, 4)
    ]
    ships = PushCommit(
        head_sha=head,
        branch="conductor/ci",
        edits=(FileEdit(path=".github/workflows/ci.yml", content="on: push"),),
        headline="CI",
    )
    return (
        ships,
        review,
        *answers,
        answers[0].model_copy(update={"head_sha": OTHER, "thread_id": "T9"}),
    )
