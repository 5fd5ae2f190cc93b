"""Deployments to one environment under every interleaving that a seed can make.

What acts is the real thing over a store in memory; the seed decides who goes on at each touch of
the outside, who dies there, which runs are replaced or cancelled, and how time passes.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from functools import partial
from typing import Any

from pipelines.errors import LeaseLost, Parked, Retryable, UserError
from pipelines.integrations.target import DeploymentTarget
from pipelines.model import (
    CreateDeployment,
    Effect,
    EnvironmentPlan,
    Release,
    ReleaseState,
    RunState,
    SetDeploymentStatus,
    StepState,
    WorkflowRun,
)
from pipelines.orchestration import environments
from pipelines.orchestration.acting import Acting, Refused
from pipelines.orchestration.bus.local import LocalBus
from pipelines.orchestration.error_handler import ErrorHandler
from pipelines.orchestration.facts import FactFinder
from pipelines.orchestration.keys import ENVIRONMENTS, environment_key
from pipelines.orchestration.leases import LEASE_SECONDS
from pipelines.orchestration.outlets import Outlets
from pipelines.orchestration.policy import PolicyEngine
from pipelines.orchestration.records import EnvironmentRecord
from pipelines.orchestration.standing import Standing
from pipelines.orchestration.state import StateManager
from pipelines.orchestration.tidying import Tidying
from pipelines.ports import Batch, Receipt
from pipelines.stores.memory import MemoryBackend
from tests.simulation.world import Broken
from tests.support.clock import VirtualClock
from tests.support.forge import Faults, Forge
from tests.support.world import FaultyBackend
from tests.unit.orchestration.yard import AGENTS, TENANT, created, deploying, released, told

KEY = environment_key(TENANT, "staging")
OUTCOMES = ("success", "success", "success", "failure", "rollback", "silence")
PASSING = (1.0, 5.0, 25.0, 61.0)
PATIENCE = 3000
Turn = Callable[[], Awaitable[None]]
Work = Callable[[], Coroutine[Any, Any, None]]


@dataclass(slots=True)
class Job:
    """Something at work, by itself until its next touch of the outside."""

    task: "asyncio.Task[None]"
    run_id: str | None
    since: float
    parked: "asyncio.Future[None]"


class Direct(LocalBus):
    """A bus whose commits are the caller's own, so that they end when the caller does."""

    async def commit(self, batch: Batch) -> None:
        await self._backend.commit(batch)


class Ledger(FaultyBackend):
    """A store where others go on before and after each commit, with its books checked."""

    def __init__(self, inner: MemoryBackend, turn: Turn) -> None:
        super().__init__(inner, Faults())
        self._turn = turn
        self.owners: dict[int, int | None] = {}
        """By revision: the deployment that had it."""

    async def commit(self, batch: Batch) -> None:
        await self._turn()
        before = await self._environment()
        await self.inner.commit(batch)
        if any(write.key.startswith(ENVIRONMENTS) for write in batch.writes):
            await self._check(before, await self._environment())
        await self._turn()

    async def _environment(self) -> EnvironmentRecord:
        record = await self.inner.get(KEY)
        return (
            EnvironmentRecord.model_validate_json(record.value) if record else EnvironmentRecord()
        )

    async def _check(self, before: EnvironmentRecord, after: EnvironmentRecord) -> None:
        self.owners |= {tenure.revision: tenure.deployment_id for tenure in after.tenures}
        grown = [tenure.revision for tenure in after.tenures]
        if grown != sorted(set(grown)) or after.revision < before.revision:
            raise Broken("revisions", f"{before.revision} became {grown}")
        old, new = before.holder, after.holder
        if old is None or new is None or (old.run_id, old.step) == (new.run_id, new.step):
            return
        run = await StateManager(
            self.inner, Direct(self.inner, VirtualClock()), VirtualClock()
        ).get(TENANT, old.run_id)
        if not environments.over(run, old):
            raise Broken("one holder", f"{new.run_id} took it from {old.run_id}, which is at work")


class Deployments(Forge):
    """GitHub, where deployments are: the newest status is read, and then another one written."""

    def __init__(self, turn: Turn) -> None:
        super().__init__()
        self.turn = turn
        self.made: dict[str, int] = {}
        self.states: dict[int, list[str]] = {}

    async def carry_out(self, run: WorkflowRun, effect: Effect, *, repeated: bool) -> Receipt:
        await self.turn()
        if isinstance(effect, CreateDeployment):
            receipt = self._create(effect, repeated=repeated)
        else:
            assert isinstance(effect, SetDeploymentStatus)
            receipt = await self._tell(effect)
        await self.turn()
        return receipt

    def _create(self, effect: CreateDeployment, *, repeated: bool) -> Receipt:
        if effect.key in self.made and not repeated:
            raise Broken("once", f"{effect.key} was created twice")
        number = self.made.setdefault(effect.key, 100 + len(self.made))
        self.states.setdefault(number, [])
        return Receipt(key=effect.key, status="done", number=number)

    async def _tell(self, effect: SetDeploymentStatus) -> Receipt:
        states = self.states[effect.deployment_id]
        if effect.state in states or ended(states):
            return Receipt(key=effect.key, status="found", number=effect.deployment_id)
        await self.turn()
        if ended(states):
            raise Broken("last status", f"{effect.state} was written after {states}")
        states.append(effect.state)
        return Receipt(key=effect.key, status="done", number=effect.deployment_id)


class Target(DeploymentTarget):
    """What runs releases; it takes none of a revision that another deployment has."""

    name = "mock"

    def __init__(self, turn: Turn, ledger: Ledger) -> None:
        self._turn = turn
        self._ledger = ledger
        self.begun: dict[str, int] = {}

    async def release(self, release: Release) -> ReleaseState:
        await self._turn()
        if release.key not in self.begun:
            if release.revision < max(self.begun.values(), default=0):
                raise UserError("A newer release is there.")
            owner = self._ledger.owners.get(release.revision)
            if release.key.split("/")[2] != str(owner):
                what = f"{release.key} came with revision {release.revision} of {owner}"
                raise Broken("stale release", what)
            self.begun[release.key] = release.revision
        await self._turn()
        return ReleaseState(phase="ready")

    async def state(self, environment: EnvironmentPlan, *, repository: str) -> ReleaseState:
        return ReleaseState(phase="ready")

    async def log(self, environment: EnvironmentPlan, *, repository: str, lines: int) -> str:
        return ""

    async def close(self) -> None:
        return None


class Quay:
    """Two workflows that deploy to one environment, and the dice."""

    def __init__(
        self, seed: int, *, acting: type[Acting] = Acting, tidying: type[Tidying] | None = Tidying
    ) -> None:
        self.rng = random.Random(seed)
        self.clock = VirtualClock()
        inner = MemoryBackend(self.clock)
        self.ledger = Ledger(inner, self._park)
        self.forge = Deployments(self._park)
        self.target = Target(self._park, self.ledger)
        self.books = StateManager(inner, Direct(inner, self.clock), self.clock)
        bus = Direct(self.ledger, self.clock)
        self.state = StateManager(self.ledger, bus, self.clock)
        self.acting = acting(
            state=self.state,
            outlets=self._outlets(),
            policy=PolicyEngine(),
            facts=FactFinder(
                state=self.state,
                standing=Standing(self.ledger),
                source=self.forge,
                clock=self.clock,
                agents=AGENTS,
                day_budget_usd=None,
            ),
            bus=bus,
            clock=self.clock,
        )
        make = tidying
        self.tidying = (
            make(state=self.state, acting=self.acting, clock=self.clock) if make else None
        )
        self.jobs: list[Job] = []
        self.newest: dict[str, str] = {}
        self.outcomes: dict[str, str] = {}
        self.over: dict[str, float] = {}
        """When runs ended."""
        self.history: list[str] = []
        self._quiet: asyncio.Future[None] | None = None

    def _outlets(self) -> Outlets:
        return Outlets(
            reporter=self.forge,
            errors=ErrorHandler(clock=self.clock, rng=self.rng),
            targets=lambda plan: self.target,
            observatories=None,
            notifier=None,
        )

    async def run(self) -> None:
        """Play the history to its end; raises ``Broken``."""
        try:
            for _ in range(self.rng.randint(40, 160)):
                await self._move()
            for _ in range(PATIENCE):
                if not await self._go_on():
                    break
            else:
                raise Broken("liveness", f"still at work: {[job.run_id for job in self.jobs]}")
            left = {n: s for n, s in self.forge.states.items() if s and not ended(s)}
            if left:
                raise Broken("under way", f"deployments without a last status: {left}")
        finally:
            for job in self.jobs:
                job.task.cancel()
            await asyncio.gather(*(job.task for job in self.jobs), return_exceptions=True)

    # --- the dice --------------------------------------------------------------------------------

    async def _move(self) -> None:
        dice = self.rng.random()
        if dice < 0.60 and self.jobs:
            await self._step(self.rng.choice(self.jobs))
        elif dice < 0.75:
            await self._resume()
        elif dice < 0.82 and len(self.outcomes) < 6:
            await self._start(self.rng.choice("AB"))
        elif dice < 0.84 and self.outcomes:
            await self._end(self.rng.choice(sorted(self.outcomes)))
        elif dice < 0.89 and self.jobs:
            await self._crash(self.rng.choice(self.jobs))
        elif dice < 0.93:
            self._sweep()
        else:
            await self._pass(self.rng.choice(PASSING))

    async def _go_on(self) -> bool:
        """Do something useful without faults; False once there is nothing left."""
        if self.jobs:
            await self._step(self.rng.choice(self.jobs))
            return True
        if len(self.over) < len(self.outcomes):
            await self._pass(25.0)
            await self._resume()
            return True
        if all(ended(states) or not states for states in self.forge.states.values()):
            return False
        if len(self.history) > PATIENCE:
            return False
        self.history.append("late sweep")
        await self._pass(61.0)
        self._sweep()
        return self.tidying is not None

    async def _start(self, group: str) -> None:
        """Start a run, which replaces the one before it."""
        run_id = f"{group}{len(self.outcomes)}"
        if older := self.newest.get(group):
            await self._end(older)
        await self.books.create(deploying(run_id, f"{len(self.outcomes) + 1:040x}"))
        self.newest[group] = run_id
        self.outcomes[run_id] = self.rng.choice(OUTCOMES)

    async def _resume(self) -> None:
        """Have a run that goes on and that nobody is at work on taken up again."""
        busy = {job.run_id for job in self.jobs}
        idle = [name for name in self.outcomes if name not in self.over and name not in busy]
        if idle:
            name = self.rng.choice(idle)
            self._spawn(partial(self._deploy, name), name)

    def _sweep(self) -> None:
        if self.tidying is not None:
            self._spawn(self.tidying.sweep, None)

    async def _end(self, run_id: str) -> None:
        """End a run; whoever works for it goes on until it notices."""
        run = await self.books.get(TENANT, run_id)
        if run is None or not run.live:
            return
        done = {"state": StepState.COMPLETED, "finished_at": self.clock.now()}
        steps = tuple(step.model_copy(update=done) for step in run.steps)
        over = run.model_copy(update={"state": RunState.COMPLETED, "steps": steps})
        await self.books.commit(over, before=run)
        self.over[run_id] = self.clock.monotonic()

    async def _pass(self, seconds: float) -> None:
        """Let time pass; by the time a lease is over, whatever lost its run has been stopped."""
        then = self.clock.monotonic() + seconds
        for job in list(self.jobs):
            since = job.since if job.run_id is None else self.over.get(job.run_id)
            if since is not None and then - since >= LEASE_SECONDS:
                await self._crash(job)
        await self.clock.advance(seconds)

    # --- work ------------------------------------------------------------------------------------

    async def _deploy(self, run_id: str) -> None:
        """Be the agent of a run; whoever takes it up again begins from the start."""
        try:
            await self._rollout(run_id, self.outcomes[run_id])
        except (Parked, Retryable) as later:
            if not isinstance(later, LeaseLost):
                return
        except (Refused, UserError) as error:
            self.history.append(str(error))
        await self._end(run_id)

    async def _rollout(self, run_id: str, outcome: str) -> None:
        run = await self._current(run_id)
        number = await self._act(run_id, created(run))
        await self._act(run_id, told(run, number, "in_progress"))
        await self._act(run_id, released(run, number))
        if outcome in ("success", "failure"):
            await self._act(run_id, told(run, number, outcome))
        elif outcome == "rollback":
            await self._roll_back(run, number)

    async def _roll_back(self, run: WorkflowRun, number: int) -> None:
        good = (await self.state.environment(TENANT, "staging")).last_good
        if good is not None and good.sha != run.change.head_sha:
            back = created(run, sha=good.sha, rollback=True, occasion=f"{run.id}/ship/rollback")
            second = await self._act(run.id, back)
            await self._act(run.id, told(run, second, "in_progress"))
            await self._act(run.id, told(run, number, "failure"))
            await self._act(run.id, released(run, second, sha=good.sha, rollback=True))
            await self._act(run.id, told(run, second, "success"))
        else:
            await self._act(run.id, told(run, number, "failure"))

    async def _act(self, run_id: str, effect: Any) -> int:
        run = await self._current(run_id)
        receipt = await self.acting.act(run, run.step("ship"), effect, during=True)
        return receipt.number or 0

    async def _current(self, run_id: str) -> WorkflowRun:
        run = await self.state.get(TENANT, run_id)
        if run is None or not run.live:
            raise LeaseLost(run_id)
        return run

    # --- one at a time ---------------------------------------------------------------------------

    def _spawn(self, work: Work, run_id: str | None) -> None:
        first = asyncio.get_running_loop().create_future()

        async def turn() -> None:
            await first
            await work()

        job = Job(asyncio.create_task(turn()), run_id, self.clock.monotonic(), first)
        job.task.add_done_callback(lambda _: self._still())
        self.jobs.append(job)

    async def _park(self) -> None:
        """Wait for the next turn of whichever job comes here."""
        job = next((job for job in self.jobs if job.task is asyncio.current_task()), None)
        assert job is not None, "only jobs touch the outside"
        job.parked = asyncio.get_running_loop().create_future()
        self._still()
        await job.parked

    async def _step(self, job: Job) -> None:
        """Let one job go on until its next touch or its end."""
        self._quiet = asyncio.get_running_loop().create_future()
        job.parked.set_result(None)
        await self._quiet
        if job.task.done():
            self.jobs.remove(job)
            job.task.result()

    async def _crash(self, job: Job) -> None:
        self.jobs.remove(job)
        job.task.cancel()
        await asyncio.gather(job.task, return_exceptions=True)

    def _still(self) -> None:
        if self._quiet is not None and not self._quiet.done():
            self._quiet.set_result(None)


def ended(states: list[str]) -> bool:
    """Whether the newest status is a last one."""
    return bool(states) and states[-1] in environments.ENDED
