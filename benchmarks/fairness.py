"""How long a repository waits while another has thousands of runs queued: ``benchmarks fairness``.

Everything between a run's start and its task is real: coordinator, store, bus, slots and caps. The
task itself is a pause. Security table R28: at most 5 seconds with 5,000 runs queued.
"""

import argparse
import asyncio
import random
import tempfile
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from math import ceil

from rich.console import Console
from rich.table import Table

from benchmarks.engine import change, trigger
from pipelines.model import Conclusion, Repository, Step
from pipelines.orchestration.bus.base import Caps, MessageBus
from pipelines.orchestration.bus.open import open_bus
from pipelines.orchestration.changes import Changes, Plan
from pipelines.orchestration.coordinator import Coordinator
from pipelines.orchestration.engine import WorkflowEngine
from pipelines.orchestration.leases import LEASE_SECONDS, under_lease
from pipelines.orchestration.state import StateManager
from pipelines.orchestration.transitions import StepClaimed, StepFinished
from pipelines.orchestration.work import job_of
from pipelines.ports import Clock, Lease
from pipelines.stores.backend import StorageBackend
from pipelines.stores.open import open_backend
from pipelines.system import SortableIds, SystemClock
from tests.support.valkey import DURABLE, Server, binaries

BUSY = Repository(installation_id=7, id=1, owner="acme", name="busy")
QUIET = Repository(installation_id=8, id=2, owner="ajax", name="quiet")
STEPS = (Step(name="work", agent="review"),)
SLOTS = 8
CAPS = Caps(per_tenant=6, per_installation=7)
"""What a worker with 8 slots gives one repository and one installation without settings."""
AT_ONCE = 100
"""Runs that are started in one decision, to build a backlog quickly."""


@dataclass
class Crew:
    """One worker's slots: claims tasks, pauses for each, and ends its step."""

    bus: MessageBus
    coordinator: Coordinator
    clock: Clock
    task_seconds: float
    caps: Caps | None = CAPS
    started: list[tuple[str, str, float]] = field(default_factory=list[tuple[str, str, float]])
    """Tenant, run and moment of each task, in the order in which they began."""

    @asynccontextmanager
    async def working(self) -> AsyncGenerator[None]:
        """Work while the context is open."""
        claiming = asyncio.create_task(self._claim())
        try:
            yield
        finally:
            claiming.cancel()
            await asyncio.gather(claiming, return_exceptions=True)

    async def _claim(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            running: set[asyncio.Task[None]] = set()
            while True:
                if len(running) >= SLOTS:
                    await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                running = {task for task in running if not task.done()}
                leases = await self.bus.claim(
                    self.coordinator.queues,
                    limit=SLOTS - len(running),
                    wait=5.0,
                    lease=LEASE_SECONDS,
                    caps=self.caps,
                )
                running |= {tasks.create_task(self._handle(lease)) for lease in leases}

    async def _handle(self, lease: Lease) -> None:
        run_id = job_of(lease.message).run
        self.started.append((lease.message.tenant, run_id, self.clock.monotonic()))
        await under_lease(lease, self._work(lease, run_id), bus=self.bus, clock=self.clock)

    async def _work(self, lease: Lease, run_id: str) -> None:
        tenant, step = lease.message.tenant, STEPS[0].name
        await self.coordinator.apply(tenant, run_id, StepClaimed(step=step, attempt=1))
        await self.clock.sleep(self.task_seconds)
        done = StepFinished(step=step, attempt=1, conclusion=Conclusion.SUCCESS, title="Done")
        await self.coordinator.apply(tenant, run_id, done, settled=lease)


def coordinator_over(store: StorageBackend, bus: MessageBus, clock: Clock) -> Coordinator:
    return Coordinator(
        state=StateManager(store, bus, clock),
        engine=WorkflowEngine(),
        bus=bus,
        clock=clock,
        ids=SortableIds(clock, random.Random(1)),
        agents=frozenset({"review"}),
    )


async def start_runs(
    coordinator: Coordinator, repository: Repository, numbers: Sequence[int]
) -> list[str]:
    """Start a run for each pull request of these numbers, in one decision."""

    async def decide(changes: Changes) -> list[str]:
        started: list[str] = []
        for number in numbers:
            plan = Plan("pull-request", f"pull-request/pr/{number}", STEPS, budget_usd=1.0)
            asked = trigger(number).model_copy(update={"repository": repository})
            subject = change(number).model_copy(update={"repository": repository})
            started.append((await changes.start(plan, asked, subject, "")).run_id)
        return started

    return await coordinator.decide(decide)


async def queue_up(coordinator: Coordinator, repository: Repository, count: int) -> None:
    """Start so many runs of a repository that nobody has begun to work on."""
    numbers = range(1, count + 1)
    for first in range(0, count, AT_ONCE):
        await start_runs(coordinator, repository, numbers[first : first + AT_ONCE])


@dataclass(frozen=True)
class Waits:
    """What the quiet repository's runs met."""

    seconds: Sequence[float]
    """How long each waited for its first task."""
    before: Sequence[int]
    """How many tasks of the busy repository began meanwhile."""

    def percentile(self, share: float) -> float:
        ordered = sorted(self.seconds)
        return ordered[max(0, ceil(share * len(ordered)) - 1)]


async def waits(crew: Crew, count: int, pause: float) -> Waits:
    """Start a run of the quiet repository again and again and see how long each one waits."""
    seconds: list[float] = []
    before: list[int] = []
    for number in range(1, count + 1):
        begun = len(crew.started)
        (run_id,) = await start_runs(crew.coordinator, QUIET, [number])
        asked = crew.clock.monotonic()
        while not (found := [s for s in crew.started[begun:] if s[1] == run_id]):
            await crew.clock.sleep(0.001)
        ahead = crew.started[begun : crew.started.index(found[0])]
        seconds.append(max(0.0, found[0][2] - asked))
        before.append(sum(tenant == BUSY.tenant for tenant, _, _ in ahead))
        await crew.clock.sleep(pause)
    return Waits(seconds, before)


async def measure(url: str, queued: int, task_seconds: float, count: int) -> Waits:
    clock = SystemClock()
    store = open_backend(url, clock)
    bus = open_bus(store, clock, "fairness")
    await bus.start()
    try:
        coordinator = coordinator_over(store, bus, clock)
        await queue_up(coordinator, BUSY, queued)
        crew = Crew(bus, coordinator, clock, task_seconds)
        async with crew.working():
            return await waits(crew, count, 0.02)
    finally:
        await bus.close()
        await store.close()


def _urls(given: str | None, stack: ExitStack) -> Iterator[tuple[str, str]]:
    """Yield the storages by name: the one that is given, or all that are here."""
    if given:
        yield given.partition("://")[0], given
        return
    folder = stack.enter_context(tempfile.TemporaryDirectory())
    yield "memory", "memory://"
    yield "SQLite (FULL)", f"sqlite:///{folder}/bench.db"
    for name, binary in binaries().items():
        server = stack.enter_context(Server(DURABLE, binary=binary).start())
        yield f"{name} (everysec)", server.url


def main(arguments: Sequence[str] = ()) -> None:
    parser = argparse.ArgumentParser("benchmarks fairness", description=__doc__)
    parser.add_argument("--queued", type=int, default=5000, help="runs of the busy repository")
    parser.add_argument("--starts", type=int, default=100, help="runs of the quiet one")
    parser.add_argument("--task", type=float, default=0.1, help="seconds of a task")
    parser.add_argument("--url", help="one storage only, e.g. redis://127.0.0.1:6379/0")
    chosen = parser.parse_args(arguments)
    title = (
        f"A quiet repository's wait for its first task, {chosen.queued:,} runs of another queued"
    )
    shown = Table("", "p50 ms", "p95 ms", "max ms", "others' tasks before it", title=title)
    with ExitStack() as stack:
        for name, url in _urls(chosen.url, stack):
            found = asyncio.run(measure(url, chosen.queued, chosen.task, chosen.starts))
            times = [1000 * found.percentile(share) for share in (0.5, 0.95, 1.0)]
            shown.add_row(name, *(f"{ms:,.1f}" for ms in times), f"at most {max(found.before)}")
    Console().print(shown)


if __name__ == "__main__":
    main()
