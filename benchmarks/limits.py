"""What GitHub's limits add to each request: ``python -m benchmarks limits``.

A request takes a place and gives it back with its answer: in this process's memory, or in two round
trips to a Valkey on this machine. No request is sent; the limits themselves are out of the way.
"""

import argparse
import asyncio
import statistics
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

from rich.console import Console
from rich.table import Table

from bot.github.local_limits import LocalLedger
from bot.github.shared_limits import RedisLedger
from bot.github.throttle import Ask, Ledger, Pace, Throttle
from pipelines.redis.connection import RedisConnection
from pipelines.system import SortableIds, SystemClock
from tests.support import valkey

CLOCK = SystemClock()
PACE = Pace(
    write_gap=0.0,
    concurrency=1_000_000,
    points_per_minute=100_000_000,
    content_per_minute=100_000_000,
    content_per_hour=100_000_000,
)
HEADERS = {
    "x-ratelimit-limit": "5000",
    "x-ratelimit-remaining": "4999",
    "x-ratelimit-reset": "4000000000",
}
ASKS = {
    "a read": Ask("github/1"),
    "a write": Ask("github/1", write=True, purpose="bench"),
    "a comment": Ask("github/1", write=True, content=True, purpose="bench"),
}


@asynccontextmanager
async def opened(kind: str) -> AsyncGenerator[Ledger]:
    if kind == "memory":
        yield LocalLedger(CLOCK, PACE)
        return
    with valkey.running() as server:
        connection = RedisConnection(server.url)
        try:
            yield RedisLedger(connection, PACE)
        finally:
            await connection.aclose()


async def added(ledger: Ledger, ask: Ask, seconds: float) -> tuple[float, float]:
    """Microseconds a request at p50 and p99."""
    throttle, taken = Throttle(ledger, CLOCK, SortableIds(CLOCK)), list[float]()
    until = time.perf_counter() + seconds
    while (began := time.perf_counter()) < until:
        async with throttle.slot(ask) as place:
            place.answered(HEADERS, limit=None, succeeded=True)
        taken.append((time.perf_counter() - began) * 1e6)
    taken.sort()
    return statistics.median(taken), taken[int(len(taken) * 0.99)]


async def measure(seconds: float) -> Table:
    shown = Table("kept in", *ASKS, title="GitHub's limits: µs added to a request, p50 (p99)")
    for kind, name in (("memory", "this process"), ("valkey", "Valkey")):
        cells = list[str]()
        for ask in ASKS.values():
            async with opened(kind) as ledger:
                p50, p99 = await added(ledger, ask, seconds)
            cells.append(f"{p50:,.0f} ({p99:,.0f})")
        shown.add_row(name, *cells)
    return shown


def main(arguments: Sequence[str] = ()) -> None:
    parser = argparse.ArgumentParser("benchmarks limits", description=__doc__)
    parser.add_argument("--seconds", type=float, default=2.0, help="for each number")
    seconds = parser.parse_args(arguments).seconds
    Console(width=110).print(asyncio.run(measure(seconds)))
