"""A time limit on work, measured by the clock that was passed in."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from pipelines.ports import Clock

T = TypeVar("T")


class DeadlinePassed(Exception):
    """The work was cancelled because it took longer than ``seconds``."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"not finished after {seconds:g} seconds")
        self.seconds = seconds


async def within(clock: Clock, seconds: float, work: Coroutine[Any, Any, T]) -> T:
    """Return what ``work`` returns, or cancel it, wait until it has let go and raise.

    Cancelling this call does the same to the work, so nothing outlives it.
    """
    worker = asyncio.ensure_future(work)
    guard = asyncio.ensure_future(clock.sleep(seconds))
    try:
        await asyncio.wait({worker, guard}, return_when=asyncio.FIRST_COMPLETED)
        if worker.done():
            return worker.result()
        raise DeadlinePassed(seconds)
    finally:
        worker.cancel()
        guard.cancel()
        await asyncio.gather(worker, guard, return_exceptions=True)
