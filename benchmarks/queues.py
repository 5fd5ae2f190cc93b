"""Messages that ask for nothing, beside a growing backlog, and what a run takes that waits."""

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
import tracemalloc
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import uvloop
from pydantic import TypeAdapter
from rich.console import Console
from rich.table import Table

from benchmarks import noop
from benchmarks.engine import change, trigger
from benchmarks.messages import here, message, opened
from benchmarks.processes import ROOT
from pipelines.orchestration.bus.base import MessageBus
from pipelines.orchestration.changes import Changes, Plan
from pipelines.ports import Batch
from tests.support.valkey import DURABLE, Server

LANES = 64
FLEETS = (1, 2, 4)
BACKLOGS = (10, 1_000, 10_000, 100_000)
STORES = ("memory", "SQLite (FULL)", "Redis (everysec)")
NUMBERS: TypeAdapter[list[float]] = TypeAdapter(list[float])


@dataclass(frozen=True)
class Effort:
    """How much is measured."""

    messages: int
    calm: int
    """Messages that are sent one by one, with nothing else to do."""
    workers: Sequence[int]
    """How many there are of them where processes share a store."""
    backlogs: Sequence[int]
    turns: int
    """Messages that are claimed and settled beside each backlog."""
    runs: int
    warm: int
    """Runs before those: what a process remembers of runs is bounded, and full by then."""


@dataclass(frozen=True)
class Place:
    """A store, and for one that processes share, its server."""

    url: str
    server: Server | None = None


@asynccontextmanager
async def placed(store: str) -> AsyncGenerator[Place]:
    """Make an empty store of this kind."""
    if store.startswith("Redis"):
        with Server(DURABLE).start() as server:
            yield Place(server.url, server)
        return
    with tempfile.TemporaryDirectory() as folder:
        yield Place("memory://" if store == "memory" else f"sqlite:///{folder}/bench.db")


@asynccontextmanager
async def elsewhere(url: str, workers: int, waited: list[float]) -> AsyncGenerator[None]:
    """Have so many processes work while the context is open."""
    pipe = asyncio.subprocess.PIPE
    processes = [
        await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "benchmarks.messages", url), cwd=ROOT, stdin=pipe, stdout=pipe
        )
        for _ in range(workers)
    ]
    for process in processes:
        assert process.stdout is not None
        async with asyncio.timeout(30):
            assert await process.stdout.readline() == b"ready\n"
    yield
    for process in processes:
        said, _ = await process.communicate(b"")
        waited += NUMBERS.validate_json(said)


async def flood(bus: MessageBus, number: int) -> float:
    """Send so many from many lanes at once; return messages a second until the last is settled."""
    numbers = iter(range(number))

    async def produce() -> None:
        for each in numbers:
            await bus.commit(Batch(messages=[message(each, each % 10)]))

    started = time.perf_counter()
    await asyncio.gather(*(produce() for _ in range(LANES)))
    await _emptied(bus)
    return number / (time.perf_counter() - started)


async def trickle(bus: MessageBus, number: int) -> None:
    """Send so many one by one, with time between them."""
    for each in range(number):
        await bus.commit(Batch(messages=[message(each)]))
        await asyncio.sleep(0.005)
    await _emptied(bus)


async def _emptied(bus: MessageBus) -> None:
    while await bus.depth():  # noqa: ASYNC110  (other processes empty it)
        await asyncio.sleep(0.005)


async def moved(store: str, workers: int, effort: Effort) -> Sequence[str]:
    """Return messages a second, and milliseconds from before a calm commit to its claim."""
    waited: list[float] = []
    async with placed(store) as place, opened(place.url) as bus:

        def at_work() -> AbstractAsyncContextManager[None]:
            return elsewhere(place.url, workers, waited) if place.server else here(bus, waited)

        async with at_work():
            rate = await flood(bus, effort.messages)
        waited.clear()
        async with at_work():
            await trickle(bus, effort.calm)
    times = sorted(seconds * 1e3 for seconds in waited)
    p99 = times[min(len(times) - 1, int(len(times) * 0.99))]
    return f"{rate:,.0f}", f"{statistics.median(times):.2f}", f"{p99:.1f}"


async def beside(store: str, backlog: int, turns: int) -> str:
    """Return microseconds to claim and settle one message while so many others wait."""
    async with placed(store) as place, opened(place.url) as bus:
        for start in range(0, backlog, 1000):
            numbers = range(start, min(start + 1000, backlog))
            await bus.commit(Batch(messages=[message(n, n % 100) for n in numbers]))
        cost = 0.0
        for turn in range(turns):
            await bus.commit(Batch(messages=[message(backlog + turn, turn % 100)]))
            started = time.perf_counter()
            leases = await bus.claim(["bench"], limit=1, wait=0, lease=60)
            await bus.commit(Batch(settled=leases))
            cost += time.perf_counter() - started
        return f"{cost / turns * 1e6:,.0f}"


async def waiting(store: str, effort: Effort) -> Sequence[str]:
    """Return the KiB of each queued run: of Python's memory, and in the server."""
    async with placed(store) as place, AsyncExitStack() as stack:
        process = await stack.enter_async_context(noop.orchestra(place.url))
        tracemalloc.start()
        stack.callback(tracemalloc.stop)
        await _queue(process, range(effort.warm))
        before, used = tracemalloc.get_traced_memory()[0], _used(place.server)
        await _queue(process, range(effort.warm, effort.warm + effort.runs))
        grown = tracemalloc.get_traced_memory()[0] - before
        taken = _used(place.server) - used
    kept = "-" if place.server is None else f"{taken / effort.runs / 1024:.1f}"
    return f"{grown / effort.runs / 1024:.1f}", kept


async def _queue(process: noop.Orchestra, numbers: Sequence[int]) -> None:
    async def start(changes: Changes, number: int) -> None:
        plan = Plan("deliver", f"deliver/pr/{number}", noop.STEPS, budget_usd=1.0)
        await changes.start(plan, trigger(number), change(number), "")

    for number in numbers:
        await process.parts.coordinator.decide(lambda changes, n=number: start(changes, n))


def _used(server: Server | None) -> int:
    return int(server.info("memory")["used_memory"]) if server else 0


async def measure(effort: Effort, show: Callable[[Table], None]) -> None:
    """Show one table after the other."""
    columns = ("store", "workers", "messages/s", "to its start p50 ms", "p99")
    table = Table(*columns, title="Messages that ask for nothing: sent, claimed, settled")
    for store in STORES:
        for workers in effort.workers if store.startswith("Redis") else (1,):
            table.add_row(store, str(workers), *await moved(store, workers, effort))
    show(table)
    table = Table(
        "store",
        *(f"{backlog:,}" for backlog in effort.backlogs),
        title="Claim and settle one, in us, beside a backlog of",
    )
    for store in STORES:
        table.add_row(store, *[await beside(store, size, effort.turns) for size in effort.backlogs])
    show(table)
    table = Table("store", "process", "server", title="KiB of a queued run of seven steps")
    for store in STORES:
        table.add_row(store, *await waiting(store, effort))
    show(table)


def main(arguments: Sequence[str] = ()) -> None:
    """Print what queues cost."""
    parser = argparse.ArgumentParser("benchmarks queues", description=__doc__)
    parser.add_argument("--messages", type=int, default=10_000)
    parser.add_argument("--calm", type=int, default=500, help="messages sent one by one")
    parser.add_argument("--workers", type=int, default=4, help="at most so many on Redis")
    parser.add_argument("--most", type=int, default=100_000, help="the longest backlog")
    parser.add_argument("--turns", type=int, default=300, help="messages beside each backlog")
    parser.add_argument("--runs", type=int, default=2_000, help="runs that wait")
    parser.add_argument("--warm", type=int, default=300, help="runs before them")
    chosen = parser.parse_args(arguments)
    effort = Effort(
        messages=chosen.messages,
        calm=chosen.calm,
        workers=[number for number in FLEETS if number <= chosen.workers],
        backlogs=[size for size in BACKLOGS if size <= chosen.most],
        turns=chosen.turns,
        runs=chosen.runs,
        warm=chosen.warm,
    )
    uvloop.run(measure(effort, Console(width=100).print))
