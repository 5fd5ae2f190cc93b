"""Concurrency groups: one run at a time works, nobody waits for ever, whatever happens between."""

import asyncio
import random
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from pipelines.errors import Retryable
from pipelines.model import Conclusion, RunState, Step, StepState, WorkflowRun
from pipelines.orchestration.bus.base import MessageBus
from pipelines.orchestration.bus.local import LocalBus
from pipelines.orchestration.changes import Changes, Plan
from pipelines.orchestration.concurrency import waits_for_turn
from pipelines.orchestration.coordinator import Coordinator
from pipelines.orchestration.engine import WorkflowEngine
from pipelines.orchestration.keys import concurrency_key
from pipelines.orchestration.state import StateManager
from pipelines.orchestration.transitions import CancelRequested, StepClaimed, StepFinished
from pipelines.ports import Batch, Versioned, Write
from pipelines.replay.replay import fold
from pipelines.replay.tape import Tape
from pipelines.stores.backend import StorageBackend
from pipelines.stores.memory import MemoryBackend
from pipelines.stores.open import open_backend
from pipelines.system import SortableIds
from tests.support.clock import VirtualClock
from tests.support.samples import REPOSITORY, a_change, a_trigger

TENANT = REPOSITORY.tenant
STEPS = (Step(name="one", agent="review"), Step(name="two", agent="review", needs=("one",)))


class Office:
    """A coordinator of one process over a store that others may share."""

    def __init__(
        self,
        store: StorageBackend,
        clock: VirtualClock,
        seed: int = 1,
        bus: MessageBus | None = None,
    ) -> None:
        self.store, self.clock = store, clock
        self.bus = bus or LocalBus(store, clock)
        self.state = StateManager(store, self.bus, clock)
        self.tape = Tape(store)
        self.coordinator = Coordinator(
            state=self.state,
            engine=WorkflowEngine(),
            bus=self.bus,
            clock=clock,
            ids=SortableIds(clock, random.Random(seed)),
            agents=frozenset({"review"}),
            tape=self.tape,
        )
        self.pushes = 0

    async def start(
        self, name: str, *, cancel: bool = False, steps: tuple[Step, ...] = STEPS, group: str = "g"
    ) -> str:
        """Start a run of a workflow of its own subject in the group."""
        plan = Plan(
            workflow=name,
            group=f"{name}/ref",
            steps=steps,
            budget_usd=1.0,
            cancel_superseded=cancel,
            concurrency_group=group,
            again=True,
        )
        self.pushes += 1
        trigger = a_trigger(delivery_id=f"d-{name}-{self.pushes}-{id(self)}")

        async def decide(changes: Changes) -> str:
            return (await changes.start(plan, trigger, a_change(), "")).run_id

        return await self.coordinator.decide(decide)

    async def run(self, run_id: str) -> WorkflowRun:
        run = await self.state.get(TENANT, run_id)
        assert run is not None
        return run

    async def cancel(self, run_id: str) -> None:
        event = CancelRequested(reason="Cancelled by ada.")
        await self.coordinator.apply(TENANT, run_id, event)

    async def progress(self, run_id: str) -> None:
        """Bring the run one step on."""
        run = await self.run(run_id)
        for step in run.steps:
            if step.state is StepState.QUEUED:
                claimed = StepClaimed(step=step.name, attempt=step.attempt)
                done = StepFinished(
                    step=step.name, attempt=step.attempt, conclusion=Conclusion.SUCCESS, title="ok"
                )
                await self.coordinator.apply(TENANT, run_id, claimed, done)

    async def finish(self, run_id: str) -> None:
        while (await self.run(run_id)).live:
            await self.progress(run_id)

    async def standing(self, *run_ids: str) -> list[str]:
        """Say of each run whether it waits, works or how it ended."""
        return [_standing(await self.run(run_id)) for run_id in run_ids]


def _standing(run: WorkflowRun) -> str:
    if waits_for_turn(run):
        return "waits"
    return "works" if run.live else str(run.conclusion)


@pytest.fixture(params=["memory", "sqlite"])
async def office(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Office]:
    clock = VirtualClock()
    url = {"memory": "memory://", "sqlite": f"sqlite:///{tmp_path}/office.db"}[request.param]
    store = open_backend(url, clock)
    office = Office(store, clock)
    await office.bus.start()
    yield office
    await office.bus.close()
    await store.close()


async def test_a_newer_run_waits_and_begins_when_the_older_one_ends(office: Office) -> None:
    first, second = await office.start("deploy"), await office.start("migrate")
    assert await office.standing(first, second) == ["works", "waits"]
    queued = [m.id for m in await office.store.messages() if m.queue == "agent.review"]
    assert queued == [f"task/{first}/one/1"]
    waiting = (await office.run(second)).steps
    assert waiting[0].title == "Waits for another run in the concurrency group 'g'"
    assert waiting[1].title == ""
    assert f"report/{second}" in [m.id for m in await office.store.messages()]

    await office.finish(first)
    assert await office.standing(first, second) == ["success", "works"]
    assert (await office.run(second)).step("one").title == ""
    assert f"task/{second}/one/1" in [m.id for m in await office.store.messages()]


async def test_one_waits_at_most_and_the_newest_is_the_one(office: Office) -> None:
    first, second, third = [await office.start(name) for name in ("a", "b", "c")]
    assert await office.standing(first, second, third) == ["works", "cancelled", "waits"]
    assert (await office.run(second)).reason.startswith("Superseded in the concurrency group 'g'")
    await office.finish(first)
    await office.finish(third)
    assert await office.standing(first, second, third) == ["success", "cancelled", "success"]
    assert await office.standing(await office.start("d")) == ["works"]


async def test_a_run_of_the_same_subject_waits_like_any_other(office: Office) -> None:
    first, second = await office.start("deploy"), await office.start("deploy")
    assert await office.standing(first, second) == ["works", "waits"]


async def test_with_cancel_superseded_a_newer_run_takes_every_place(office: Office) -> None:
    first, second = await office.start("a"), await office.start("b")
    third = await office.start("c", cancel=True)
    standing = await office.standing(first, second, third)
    assert standing == ["cancelled", "cancelled", "works"]


async def test_a_run_that_waits_can_be_cancelled_and_is_not_waited_for(office: Office) -> None:
    first, second = await office.start("a"), await office.start("b")
    await office.cancel(second)
    await office.finish(first)
    assert await office.standing(first, second) == ["success", "cancelled"]
    assert await office.standing(await office.start("c")) == ["works"]


async def test_other_groups_and_other_repositories_are_no_concern(office: Office) -> None:
    await office.start("a")
    assert await office.standing(await office.start("b", group="h")) == ["works"]


async def test_a_run_that_ends_as_it_begins_passes_the_turn_on(office: Office) -> None:
    nothing = (Step(name="one", agent="review", condition="failure()"),)
    first, second = await office.start("a"), await office.start("b", steps=nothing)
    await office.finish(first)
    assert await office.standing(second) == ["skipped"]
    assert await office.standing(await office.start("c")) == ["works"]


async def test_a_run_that_was_forgotten_begins_with_the_next_sweep(office: Office) -> None:
    first, second = await office.start("a"), await office.start("b")
    gone = await office.run(first)
    mark = f"live/{TENANT}/{first}"
    keys = [concurrency_key(TENANT, "g"), f"run/{TENANT}/{gone.id}", mark]
    await office.store.commit(Batch(writes=[Write(key, None) for key in keys]))

    await office.coordinator.tick_all()
    await office.coordinator.tick_all()
    assert await office.standing(second) == ["works"]
    third = await office.start("c")
    assert await office.standing(second, third) == ["works", "waits"]


async def test_the_sweep_leaves_a_run_alone_whose_turn_has_not_come(office: Office) -> None:
    first, second = await office.start("a"), await office.start("b")
    await office.coordinator.tick_all()
    assert await office.standing(first, second) == ["works", "waits"]


async def test_a_run_that_waited_can_be_gone_through_again(office: Office) -> None:
    first, second = await office.start("a"), await office.start("b")
    await office.finish(first)
    await office.finish(second)
    for run_id in (first, second):
        history = await office.tape.history(TENANT, run_id)
        assert fold(history, await office.run(run_id)) == (None, "")


class Hesitant(MemoryBackend):
    """A store whose answers take their time, so that decisions overtake one another."""

    def __init__(self, clock: VirtualClock, rng: random.Random) -> None:
        super().__init__(clock)
        self._rng = rng

    async def get(self, key: str) -> Versioned | None:
        found = await super().get(key)
        for _ in range(self._rng.randrange(4)):
            await asyncio.sleep(0)
        return found

    async def commit(self, batch: Batch) -> None:
        for _ in range(self._rng.randrange(3)):
            await asyncio.sleep(0)
        await super().commit(batch)


@asynccontextmanager
async def two_offices(seed: int) -> AsyncGenerator[tuple[Office, Office]]:
    clock = VirtualClock()
    store = Hesitant(clock, random.Random(seed))
    offices = Office(store, clock, 2 * seed), Office(store, clock, 2 * seed + 1)
    yield offices
    for each in offices:
        await each.bus.close()


async def _deeds(office: Office, rng: random.Random, started: list[str]) -> None:
    """What one process does: starts runs, brings some on, cancels some, sweeps."""
    for turn in range(8):
        known = list(started)
        try:
            match rng.choice(("start", "start", "progress", "progress", "progress", "cancel")):
                case "start":
                    name, cancel = f"w{turn % 3}", rng.random() < 0.3
                    started.append(await office.start(name, cancel=cancel))
                case "progress" if known:
                    await office.progress(rng.choice(known))
                case "cancel" if known:
                    await office.cancel(rng.choice(known))
                case _:
                    await office.coordinator.tick_all()
        except Retryable:
            continue


@pytest.mark.parametrize("first_seed", range(0, 90, 30))
async def test_two_processes_that_commit_at_once_never_let_two_runs_work(first_seed: int) -> None:
    for seed in range(first_seed, first_seed + 30):
        async with two_offices(seed) as (one, other):
            rng, started = random.Random(seed), list[str]()
            watching = asyncio.create_task(_watch(one, started))
            await asyncio.gather(_deeds(one, rng, started), _deeds(other, rng, started))
            watching.cancel()
            (seen,) = await asyncio.gather(watching, return_exceptions=True)
            assert isinstance(seen, asyncio.CancelledError), seed
            await _judge(one, started, seed)


async def _watch(office: Office, started: list[str]) -> None:
    """Look between any two moments at how many work."""
    while True:
        assert len(await _working(office, started)) <= 1
        await asyncio.sleep(0)


async def _working(office: Office, started: list[str]) -> list[str]:
    keys = {f"run/{TENANT}/{run_id}" for run_id in started}
    found = await office.store.get_many(list(keys))
    runs = [WorkflowRun.model_validate_json(record.value) for record in found.values()]
    return [run.id for run in runs if _standing(run) == "works"]


async def _judge(office: Office, started: list[str], seed: int) -> None:
    """What waits has somebody to wait for, and everybody comes to an end without a sweep."""
    for _ in range(2 * len(started) + 1):
        standing = dict(zip(started, await office.standing(*started), strict=True))
        states = list(standing.values())
        assert states.count("works") <= 1, (seed, standing)
        assert states.count("waits") <= states.count("works"), (seed, standing)
        for run_id, state in standing.items():
            if state == "works":
                await office.finish(run_id)
    runs = [await office.run(run_id) for run_id in started]
    assert {run.state for run in runs} == {RunState.COMPLETED}, seed
