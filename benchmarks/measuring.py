"""What every peer is asked: one run after the other, then as many at once as fit."""

import asyncio
import json
import statistics
import time
from collections.abc import Awaitable, Callable

LANES = 64
Run = Callable[[], Awaitable[object]]


async def measure(run: Run, *, serial: int, seconds: float, lanes: int = LANES) -> dict[str, float]:
    """Return milliseconds of a run alone (p50, p99) and runs a second of ``lanes`` lanes."""
    for _ in range(3):
        await run()
    alone: list[float] = []
    for _ in range(serial):
        started = time.perf_counter()
        await run()
        alone.append((time.perf_counter() - started) * 1e3)
    started, done = time.perf_counter(), 0

    async def lane() -> None:
        nonlocal done
        while time.perf_counter() < started + seconds:
            await run()
            done += 1

    await asyncio.gather(*(lane() for _ in range(lanes)))
    passed = time.perf_counter() - started
    alone.sort()
    return {
        "p50": statistics.median(alone),
        "p99": alone[min(len(alone) - 1, int(len(alone) * 0.99))],
        "rate": done / passed,
    }


def tell(found: dict[str, float]) -> None:
    """Print what was measured for the process that asked."""
    print(json.dumps(found), flush=True)
