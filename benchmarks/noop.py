"""Conductor's own orchestration with nothing outside: agents that do nothing, a silent GitHub.

``python -m benchmarks.noop URL`` is a worker; the process that starts runs uses ``Orchestra``.
"""

import asyncio
import os
import random
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from itertools import count
from typing import Literal

import structlog
import uvloop
from pydantic import JsonValue

from benchmarks.dag import NEEDS
from benchmarks.engine import SHOP, change, trigger
from bot.wiring import local_worker
from bot.worker import Worker
from pipelines.model import (
    Change,
    ChangedFiles,
    Conclusion,
    Effect,
    OpenFeedback,
    Step,
    Task,
    TaskResult,
    Trigger,
    WorkflowRun,
)
from pipelines.orchestration.assembly import Orchestration, Outside, orchestrate
from pipelines.orchestration.bus.open import open_bus
from pipelines.orchestration.changes import Changes, Plan
from pipelines.orchestration.news import ENDINGS, Ending
from pipelines.ports import (
    CheckState,
    FileText,
    Notes,
    Receipt,
    Snapshot,
    Tally,
    Tree,
    Workplace,
)
from pipelines.stores.open import open_backend
from pipelines.system import SortableIds, SystemClock

CLOCK = SystemClock()
SLOTS = 64
"""Tasks at the same time in one worker; the peers have as many lanes."""
STEPS = tuple(Step(name=name, agent=name, needs=needs) for name, needs in NEEDS.items())


class NothingToDo:
    """Implements ``ports.AgentRunner`` by saying that it is done."""

    async def run(
        self,
        task: Task,
        workplace: Workplace,
        *,
        tally: Tally | None = None,
        notes: Notes | None = None,
    ) -> TaskResult:
        del workplace, tally, notes
        return TaskResult(
            task_id=task.id,
            status="completed",
            conclusion=Conclusion.SUCCESS,
            title="Nothing to do",
        )

    async def close(self) -> None:
        """Nothing to close."""


class Silence:
    """Implements ``ports.Reporter``, ``Source`` and ``Reader`` with nobody to tell or to ask."""

    async def carry_out(self, run: WorkflowRun, effect: Effect, *, repeated: bool) -> Receipt:
        del run, repeated
        return Receipt(key=effect.key, status="done", message="")

    async def report(
        self,
        run: WorkflowRun,
        results: Mapping[str, TaskResult],
        last: Mapping[str, CheckState],
        *,
        repeated: bool,
    ) -> Mapping[str, CheckState]:
        del run, results, repeated
        return last

    async def change(self, trigger: Trigger) -> Change:
        del trigger
        return change(1)

    def reader(self, change: Change) -> "Silence":
        del change
        return self

    async def changed_files(self) -> ChangedFiles:
        return ChangedFiles(files=())

    async def read(
        self, paths: Sequence[str], *, at: Literal["head", "base"] = "head"
    ) -> Mapping[str, FileText]:
        del paths, at
        return {}

    async def tree(self, *, at: Literal["head", "base"] = "head") -> Tree:
        del at
        return Tree(entries=())

    async def snapshot(self, change: Change, *, at: Literal["head", "base"] = "head") -> Snapshot:
        del at
        return Snapshot(sha=change.head_sha, files={})

    async def feedback(self, change: Change, environment: str | None) -> Sequence[OpenFeedback]:
        del change, environment
        return ()


@dataclass(frozen=True)
class Orchestra:
    """One process of Conductor; ``run`` returns when a run that it starts is completed."""

    parts: Orchestration
    worker: Worker
    numbers: "count[int]"
    waiting: dict[str, "asyncio.Future[None]"]

    async def run(self) -> None:
        number = next(self.numbers)
        plan = Plan("deliver", f"deliver/pr/{number}", STEPS, budget_usd=1.0)
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        async def start(changes: Changes) -> str:
            admission = await changes.start(plan, trigger(number), change(number), "")
            self.waiting[admission.run_id] = done
            return admission.run_id

        run_id = await self.parts.coordinator.decide(start)
        while not (await asyncio.wait({done}, timeout=1.0))[0]:
            # News may be missed; the store never does.
            stored = await self.parts.coordinator.run(SHOP.tenant, run_id)
            if stored is not None and not stored.live and not done.done():
                done.set_result(None)


@asynccontextmanager
async def orchestra(url: str) -> AsyncGenerator[Orchestra]:
    """Open a process of Conductor on a store; it does not work before its worker runs."""
    async with AsyncExitStack() as opened:
        store = open_backend(url, CLOCK)
        opened.push_async_callback(store.close)
        name = f"bench/{os.getpid()}"
        bus = open_bus(store, CLOCK, worker=name)
        opened.push_async_callback(bus.close)
        await bus.start()
        outside = Outside(
            store=store,
            bus=bus,
            source=Silence(),
            reporter=Silence(),
            runner=NothingToDo(),
            clock=CLOCK,
            ids=SortableIds(CLOCK),
            rng=random.Random(1),
            agents=frozenset(NEEDS),
            worker=name,
        )
        parts = orchestrate(outside)
        waiting: dict[str, asyncio.Future[None]] = {}
        news = await opened.enter_async_context(bus.subscribe(ENDINGS))
        hearing = asyncio.create_task(_hear(news, waiting))
        opened.callback(hearing.cancel)
        yield Orchestra(
            parts,
            local_worker(outside, parts, concurrency=SLOTS),
            count(os.getpid() * 10**6),
            waiting,
        )


async def _hear(news: AsyncIterator[JsonValue], waiting: dict[str, "asyncio.Future[None]"]) -> None:
    async for item in news:
        ending = Ending.model_validate(item)
        if ending.what == "run" and (done := waiting.pop(ending.run_id, None)):
            assert ending.conclusion is Conclusion.SUCCESS
            if not done.done():
                done.set_result(None)


@asynccontextmanager
async def working(worker: Worker) -> AsyncGenerator[None]:
    """Let the worker work while the context is open."""
    running = asyncio.create_task(worker.run())
    try:
        yield
    finally:
        worker.stop()
        await running


async def work(url: str) -> None:
    """Work until somebody ends the process."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    async with orchestra(url) as process:
        print("ready", flush=True)
        await process.worker.run()


if __name__ == "__main__":
    uvloop.run(work(sys.argv[1]))
