"""Work that waits on a virtual clock and on a real network, one after the other."""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from tests.support.clock import VirtualClock

T = TypeVar("T")
REAL_SECONDS = 60.0


async def passing(clock: VirtualClock, work: Awaitable[T]) -> T:
    """Return what the work returns; time passes whenever it sleeps."""
    task = asyncio.ensure_future(work)
    async with asyncio.timeout(REAL_SECONDS):
        while not task.done():
            await asyncio.wait({task}, timeout=0.001)
            await clock.skip()
    return task.result()
