"""Messages that ask for nothing, beside a growing backlog, and what a run takes that waits.

``python -m benchmarks.queues URL`` is a worker: it claims until its standard input ends, then
prints how long each message had waited.
"""

import argparse
import asyncio
import itertools
import json
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
from benchmarks.processes import ROOT
from pipelines.orchestration.bus.base import MessageBus
from pipelines.orchestration.bus.open import open_bus
from pipelines.orchestration.changes import Changes, Plan
from pipelines.ports import Batch, Message
from pipelines.stores.open import open_backend
from pipelines.system import SystemClock
from tests.support.valkey import DURABLE, Server

CLOCK = SystemClock()
LANES, SLOTS = 64, 16
STORES = ("memory", "SQLite (FULL)", "Redis (everysec)")
NUMBERS: TypeAdapter[list[float]] = TypeAdapter(list[float])


@dataclass(frozen=True)
class Effort:
    """How much is measured."""

    messages: int
    calm: int
    """Messages that are sent one by one, with nothing else to do."""
    backlogs: Sequence[int]
    runs: int


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
async def opened(url: str) -> AsyncGenerator[MessageBus]:
    """Open the bus of one process."""
    store = open_backend(url, CLOCK)
    bus = open_bus(store, CLOCK, worker="bench")
    await bus.start()
    try:
        yield bus
    finally:
        await bus.close()
        await store.close()


def message(number: int, tenant: int = 0) -> Message:
    """Return a message that says when it was sent, on the clock that processes share."""
    return Message(
        id=f"m/{number}",
        queue="bench",
        tenant=f"1/{tenant}",
        body={"at": time.monotonic()},
        enqueued_at=CLOCK.now(),
    )


async def consume(bus: MessageBus, waited: list[float]) -> None:
    """Claim and settle until cancelled, noting how many seconds each message had waited."""
    while True:
        leases = await bus.claim(["bench"], limit=SLOTS, wait=5.0, lease=60.0)
        now = time.monotonic()
        waited += [now - float(str(lease.message.body["at"])) for lease in leases]
        await asyncio.gather(*(bus.commit(Batch(settled=[lease])) for lease in leases))


@asynccontextmanager
async def here(bus: MessageBus, waited: list[float]) -> AsyncGenerator[None]:
    """Work in this process while the context is open."""
    working = asyncio.create_task(consume(bus, waited))
    try:
        yield
    finally:
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)


@asynccontextmanager
async def elsewhere(url: str, workers: int, waited: list[float]) -> AsyncGenerator[None]:
    """Have so many processes work while the context is open."""
    pipe = asyncio.subprocess.PIPE
    processes = [
        await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "benchmarks.queues", url), cwd=ROOT, stdin=pipe, stdout=pipe
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


async def work(url: str) -> None:
    """Work until standard input ends."""
    waited: list[float] = []
    async with opened(url) as bus, here(bus, waited):
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.read)
    print(json.dumps(waited))


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


async def beside(store: str, backlog: int) -> str:
    """Return microseconds to claim and settle one message while so many others wait."""
    async with placed(store) as place, opened(place.url) as bus:
        for start in range(0, backlog, 1000):
            numbers = range(start, min(start + 1000, backlog))
            await bus.commit(Batch(messages=[message(n, n % 100) for n in numbers]))
        turns, cost = 300, 0.0
        for turn in range(turns):
            await bus.commit(Batch(messages=[message(backlog + turn, turn % 100)]))
            started = time.perf_counter()
            leases = await bus.claim(["bench"], limit=1, wait=0, lease=60)
            await bus.commit(Batch(settled=leases))
            cost += time.perf_counter() - started
        return f"{cost / turns * 1e6:,.0f}"


async def waiting(store: str, runs: int) -> Sequence[str]:
    """Return the KiB of each queued run: of Python's memory, and in the server."""
    async with placed(store) as place, AsyncExitStack() as stack:
        process = await stack.enter_async_context(noop.orchestra(place.url))
        tracemalloc.start()
        stack.callback(tracemalloc.stop)
        await _queue(process, range(300))  # what is remembered of runs is bounded, and full by then
        before, used = tracemalloc.get_traced_memory()[0], _used(place.server)
        await _queue(process, range(300, 300 + runs))
        grown = tracemalloc.get_traced_memory()[0] - before
        taken = _used(place.server) - used
    kept = "-" if place.server is None else f"{taken / runs / 1024:.1f}"
    return f"{grown / runs / 1024:.1f}", kept


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
    for store, workers in [(store, 1) for store in STORES] + [(STORES[-1], 2), (STORES[-1], 4)]:
        table.add_row(store, str(workers), *await moved(store, workers, effort))
    show(table)
    table = Table(
        "store",
        *(f"{backlog:,}" for backlog in effort.backlogs),
        title="Claim and settle one, in us, beside a backlog of",
    )
    for store in STORES:
        table.add_row(store, *[await beside(store, backlog) for backlog in effort.backlogs])
    show(table)
    table = Table("store", "process", "server", title="KiB of a queued run of seven steps")
    for store in STORES:
        table.add_row(store, *await waiting(store, effort.runs))
    show(table)


def main(arguments: Sequence[str] = ()) -> None:
    """Print what queues cost."""
    parser = argparse.ArgumentParser("benchmarks queues", description=__doc__)
    parser.add_argument("--messages", type=int, default=10_000)
    parser.add_argument("--calm", type=int, default=500, help="messages sent one by one")
    parser.add_argument("--most", type=int, default=100_000, help="the longest backlog")
    parser.add_argument("--runs", type=int, default=2_000, help="runs that wait")
    chosen = parser.parse_args(arguments)
    sizes = itertools.takewhile(lambda size: size <= chosen.most, (10, 1_000, 10_000, 100_000))
    effort = Effort(chosen.messages, chosen.calm, tuple(sizes), chosen.runs)
    uvloop.run(measure(effort, Console(width=100).print))


if __name__ == "__main__":
    uvloop.run(work(sys.argv[1]))
