"""How fast state is made durable and messages move: ``python -m benchmarks.storage``."""

import argparse
import asyncio
import sqlite3
import statistics
import tempfile
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

from rich.console import Console
from rich.table import Table

from pipelines.orchestration.bus.local import LocalBus
from pipelines.ports import Batch, Lease, Message, Write
from pipelines.stores.backend import StorageBackend
from pipelines.stores.open import open_backend
from pipelines.system import SystemClock

CLOCK = SystemClock()
RESULT = b"x" * 300
STORES = ("memory", "sqlite")
BACKLOGS = (10, 1_000, 10_000, 100_000)


@asynccontextmanager
async def opened(kind: str) -> AsyncGenerator[StorageBackend, None]:
    with tempfile.TemporaryDirectory() as folder:
        url = "memory://" if kind == "memory" else f"sqlite:///{folder}/bench.db"
        backend = open_backend(url, CLOCK)
        try:
            yield backend
        finally:
            await backend.close()


def message(number: int, tenant: int = 0) -> Message:
    return Message(id=f"m/{number}", queue="q", tenant=f"1/{tenant}", enqueued_at=CLOCK.now())


def floor(seconds: float) -> tuple[float, float]:
    """Commits a second, and CPU us each, of bare sqlite3 (WAL, FULL) that blocks its caller."""
    with tempfile.TemporaryDirectory() as folder:
        db = sqlite3.connect(f"{folder}/bench.db", isolation_level=None)
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.execute("CREATE TABLE records (key TEXT PRIMARY KEY, value BLOB)")
        done, started, cpu = 0, time.perf_counter(), time.process_time()
        while time.perf_counter() < started + seconds:
            row = (f"k/{done % 1000}", RESULT)
            db.execute("INSERT OR REPLACE INTO records VALUES (?, ?)", row)
            done += 1
        db.close()
        passed, used = time.perf_counter() - started, time.process_time() - cpu
        return done / passed, used / done * 1e6


async def commits(kind: str, lanes: int, seconds: float) -> tuple[float, float, float]:
    """Commits a second of one 300-byte record each, CPU us each, the loop's lag at p99 in ms."""
    done = 0
    async with opened(kind) as backend:
        end = time.perf_counter() + seconds

        async def lane(name: int) -> None:
            nonlocal done
            count = 0
            while time.perf_counter() < end:
                await backend.commit(Batch(writes=[Write(f"k/{name}/{count % 1000}", RESULT)]))
                count += 1
                if not count % 64:
                    await asyncio.sleep(0)
            done += count

        started, cpu = time.perf_counter(), time.process_time()
        lags = asyncio.create_task(lag(end))
        await asyncio.gather(*(lane(name) for name in range(lanes)))
        passed, used = time.perf_counter() - started, time.process_time() - cpu
        return done / passed, used / done * 1e6, await lags


async def lag(end: float) -> float:
    lags: list[float] = []
    while (now := time.perf_counter()) < end:
        await asyncio.sleep(0.001)
        lags.append((time.perf_counter() - now - 0.001) * 1000)
    return percentile(lags, 0.99)


def percentile(values: Sequence[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


async def throughput(kind: str, lanes: int, total: int) -> tuple[float, float]:
    """Messages a second, and CPU us each, sent, claimed and settled by so many lanes each."""
    async with opened(kind) as backend:
        bus = LocalBus(backend, CLOCK)
        await bus.start()
        numbers = iter(range(total))
        left = total

        async def produce() -> None:
            for number in numbers:
                await bus.commit(Batch(messages=[message(number, number % 10)]))

        async def work() -> None:
            nonlocal left
            while left > 0:
                leases = await bus.claim(["q"], limit=4, wait=0.2, lease=60)
                await asyncio.gather(*(bus.commit(Batch(settled=[lease])) for lease in leases))
                left -= len(leases)

        started, cpu = time.perf_counter(), time.process_time()
        await asyncio.gather(*(produce() for _ in range(lanes)), *(work() for _ in range(lanes)))
        passed, used = time.perf_counter() - started, time.process_time() - cpu
        await bus.close()
        return total / passed, used / total * 1e6


async def latency(kind: str, total: int) -> tuple[float, float]:
    """Milliseconds from before the commit to the waiting claim's return, one at a time."""
    taken: list[float] = []
    async with opened(kind) as backend:
        bus = LocalBus(backend, CLOCK)
        await bus.start()
        for number in range(total):
            waiting = asyncio.create_task(bus.claim(["q"], limit=1, wait=5, lease=60))
            await asyncio.sleep(0)
            started = time.perf_counter()
            await bus.commit(Batch(messages=[message(number)]))
            leases = await waiting
            taken.append((time.perf_counter() - started) * 1000)
            await bus.commit(Batch(settled=leases))
        await bus.close()
    return statistics.median(taken), percentile(taken, 0.99)


async def under_backlog(kind: str, backlog: int) -> tuple[float, float]:
    """Microseconds for a claim and a settle in turn, and seconds to start, with a backlog."""
    async with opened(kind) as backend:
        for start in range(0, backlog, 5000):
            numbers = range(start, min(start + 5000, backlog))
            await backend.commit(Batch(messages=[message(n, n % 100) for n in numbers]))
        bus = LocalBus(backend, CLOCK)
        started = time.perf_counter()
        await bus.start()
        starting = time.perf_counter() - started
        turns, cost = 1000, 0.0
        for turn in range(turns):
            started = time.perf_counter()
            leases: Sequence[Lease] = await bus.claim(["q"], limit=1, wait=0, lease=60)
            await bus.commit(Batch(settled=leases))
            cost += time.perf_counter() - started
            await bus.commit(Batch(messages=[message(backlog + turn, turn % 100)]))
        await bus.close()
        return cost / turns * 1e6, starting


async def main(seconds: float) -> None:
    console = Console(width=100)
    table = Table(
        "store", "lanes", "commits/s", "CPU us", "loop lag p99 ms", title="300-byte commits"
    )
    rate, used = floor(seconds)
    table.add_row("bare sqlite3", "1", f"{rate:,.0f}", f"{used:.0f}", "blocks")
    for kind in STORES:
        for lanes in (1, 64):
            rate, used, behind = await commits(kind, lanes, seconds)
            table.add_row(kind, str(lanes), f"{rate:,.0f}", f"{used:.0f}", f"{behind:.2f}")
    console.print(table)

    columns = ("store", "1 lane, msgs/s", "64 lanes, msgs/s", "CPU us", "claim p50 ms", "p99 ms")
    table = Table(*columns, title="messages: send, claim, settle")
    for kind in STORES:
        one, _ = await throughput(kind, 1, 2000)
        many, used = await throughput(kind, 64, 20_000)
        p50, p99 = await latency(kind, 1000)
        row = (f"{one:,.0f}", f"{many:,.0f}", f"{used:.0f}", f"{p50:.2f}", f"{p99:.2f}")
        table.add_row(kind, *row)
    console.print(table)

    table = Table("store", "backlog", "claim + settle us", "start s", title="a growing backlog")
    for kind in STORES:
        for backlog in BACKLOGS:
            cost, starting = await under_backlog(kind, backlog)
            table.add_row(kind, f"{backlog:,}", f"{cost:,.0f}", f"{starting:.3f}")
    console.print(table)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=3.0, help="for each commit case")
    asyncio.run(main(parser.parse_args().seconds))
