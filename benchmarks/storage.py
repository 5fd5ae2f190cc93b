"""How fast state is made durable: ``python -m benchmarks.storage``."""

import argparse
import asyncio
import sqlite3
import tempfile
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

from rich.console import Console
from rich.table import Table

from pipelines.ports import Batch, Write
from pipelines.stores.backend import StorageBackend
from pipelines.stores.open import open_backend
from pipelines.system import SystemClock

CLOCK = SystemClock()
RESULT = b"x" * 300
STORES = ("memory", "sqlite")


@asynccontextmanager
async def opened(kind: str) -> AsyncGenerator[StorageBackend, None]:
    with tempfile.TemporaryDirectory() as folder:
        url = "memory://" if kind == "memory" else f"sqlite:///{folder}/bench.db"
        backend = open_backend(url, CLOCK)
        try:
            yield backend
        finally:
            await backend.close()


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


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=3.0, help="for each commit case")
    asyncio.run(main(parser.parse_args().seconds))
