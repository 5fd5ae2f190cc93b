"""Transitions of the workflow engine, alone and stored: ``python -m benchmarks engine``.

A run has seven steps, one for each agent, and fifteen transitions: its start, and a claim and an
end of each step. Stored, a transition is one atomic commit of the run and its messages.
"""

import argparse
import asyncio
import itertools
import random
import tempfile
import time
from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.table import Table

from pipelines.model import (
    Actor,
    Change,
    Conclusion,
    PullRequestTrigger,
    Repository,
    Step,
    WorkflowRun,
)
from pipelines.orchestration.bus.local import LocalBus
from pipelines.orchestration.changes import Changes, Plan
from pipelines.orchestration.coordinator import Coordinator
from pipelines.orchestration.engine import WorkflowEngine
from pipelines.orchestration.runs import new_run
from pipelines.orchestration.state import StateManager
from pipelines.orchestration.transitions import RunEvent, Started, StepClaimed, StepFinished
from pipelines.stores.open import open_backend
from pipelines.system import SortableIds, SystemClock

CLOCK = SystemClock()
ADA = Actor(id=1, login="ada")
SHOP = Repository(installation_id=7, id=42, owner="acme", name="shop")
BASE, HEAD = "b" * 40, "a" * 40
STEPS = (
    Step(name="code", agent="coding"),
    Step(name="review", agent="review", needs=("code",)),
    Step(name="fixtures", agent="test-data", needs=("code",)),
    Step(name="tests", agent="test", needs=("fixtures",)),
    Step(name="package", agent="devops", needs=("review", "tests")),
    Step(name="staging", agent="deploy", needs=("package",)),
    Step(name="watch", agent="monitor", needs=("staging",)),
)
TRANSITIONS = 1 + 2 * len(STEPS)
LANES = 64


def trigger(number: int) -> PullRequestTrigger:
    return PullRequestTrigger(
        repository=SHOP,
        actor=ADA,
        delivery_id=f"delivery-{number}",
        action="opened",
        number=number,
        head_sha=HEAD,
        head_ref="topic",
        base_ref="main",
        base_sha=BASE,
        head_repository_id=SHOP.id,
        author=ADA,
    )


def change(number: int) -> Change:
    return Change(
        repository=SHOP,
        number=number,
        head_sha=HEAD,
        base_sha=BASE,
        head_ref="topic",
        base_ref="main",
        head_repository_id=SHOP.id,
        author=ADA,
        author_can_write=True,
    )


def events() -> Iterator[RunEvent]:
    """All that happens to a run after its start, in an order that its steps' needs allow."""
    for step in STEPS:
        yield StepClaimed(step=step.name, attempt=1)
        yield StepFinished(step=step.name, attempt=1, conclusion=Conclusion.SUCCESS, title="Fine")


def pure(seconds: float) -> float:
    """Transitions a second of the engine alone."""
    engine, now, done = WorkflowEngine(), CLOCK.now(), 0
    first = new_run(
        run_id="run",
        workflow="deliver",
        trigger=trigger(1),
        change=change(1),
        config_sha="",
        group="deliver/pr/1",
        generation=1,
        steps=STEPS,
        budget_usd=1.0,
        now=now,
    )
    happening = (Started(), *events())
    started = time.perf_counter()
    while time.perf_counter() < started + seconds:
        run = first
        for event in happening:
            run = engine.advance(run, event, now).run
        assert run.conclusion is Conclusion.SUCCESS
        done += len(happening)
    return done / (time.perf_counter() - started)


async def stored(kind: str, lanes: int, seconds: float) -> tuple[float, float]:
    """Committed transitions a second, and CPU microseconds each, of so many runs at once."""
    with tempfile.TemporaryDirectory() as folder:
        url = "memory://" if kind == "memory" else f"sqlite:///{folder}/bench.db"
        store = open_backend(url, CLOCK)
        bus = LocalBus(store, CLOCK)
        coordinator = Coordinator(
            state=StateManager(store, bus, CLOCK),
            engine=WorkflowEngine(),
            bus=bus,
            clock=CLOCK,
            ids=SortableIds(CLOCK, random.Random(1)),
            agents=frozenset(step.agent for step in STEPS),
        )
        await bus.start()
        numbers, done = itertools.count(1), 0
        started, cpu = time.perf_counter(), time.process_time()

        async def lane() -> None:
            nonlocal done
            while time.perf_counter() < started + seconds:
                await _whole_run(coordinator, next(numbers))
                done += TRANSITIONS

        await asyncio.gather(*(lane() for _ in range(lanes)))
        passed, used = time.perf_counter() - started, time.process_time() - cpu
        await bus.close()
        await store.close()
        return done / passed, used / done * 1e6


async def _whole_run(coordinator: Coordinator, number: int) -> None:
    plan = Plan("deliver", f"deliver/pr/{number}", STEPS, budget_usd=1.0)

    async def start(changes: Changes) -> str:
        admission = await changes.start(plan, trigger(number), change(number), "")
        return admission.run_id

    run_id = await coordinator.decide(start)
    run: WorkflowRun | None = None
    for event in events():
        run = await coordinator.apply(SHOP.tenant, run_id, event)
        # Memory never waits, so without this a lane would run to its end before the next begins.
        await asyncio.sleep(0)
    assert run is not None
    assert run.conclusion is Conclusion.SUCCESS


async def measure(seconds: float) -> Table:
    title = f"Engine: runs of {len(STEPS)} steps, {TRANSITIONS} transitions each"
    shown = Table("", "runs at once", "transitions/s", "runs/s", "CPU us each", title=title)
    rate = pure(seconds)
    shown.add_row("engine alone", "1", *_numbers(rate, 1e6 / rate))
    for kind in ("memory", "sqlite"):
        for lanes in (1, LANES):
            name = "SQLite (FULL)" if kind == "sqlite" else "memory"
            shown.add_row(name, str(lanes), *_numbers(*await stored(kind, lanes, seconds)))
    return shown


def _numbers(rate: float, cpu: float) -> tuple[str, str, str]:
    return f"{rate:,.0f}", f"{rate / TRANSITIONS:,.0f}", f"{cpu:,.0f}"


def main(arguments: Sequence[str] = ()) -> None:
    parser = argparse.ArgumentParser("benchmarks engine", description=__doc__)
    parser.add_argument("--seconds", type=float, default=3.0, help="for each line")
    Console().print(asyncio.run(measure(parser.parse_args(arguments).seconds)))
