"""Many callbacks in time order on one clock, with a single sleeping task."""

import asyncio
import heapq
import itertools
from collections.abc import Callable
from dataclasses import dataclass

from pipelines.ports import Clock

_SLACK = 64


@dataclass(slots=True, eq=False)
class Timer:
    """A callback that is still to come."""

    when: float
    callback: Callable[[], None] | None


class Timers:
    """Calls back at monotonic times; setting and cancelling cost O(log n)."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._heap: list[tuple[float, int, Timer]] = []
        self._order = itertools.count()
        self._cancelled = 0
        self._target: float | None = None
        self._sleeper: asyncio.Task[None] | None = None
        self._ending: set[asyncio.Task[None]] = set()
        self._closed = False

    def after(self, seconds: float, callback: Callable[[], None]) -> Timer:
        """Call back in so many seconds, unless it is cancelled or everything is closed before."""
        timer = Timer(self._clock.monotonic() + seconds, callback)
        heapq.heappush(self._heap, (timer.when, next(self._order), timer))
        self._arm()
        return timer

    def cancel(self, timer: Timer | None) -> None:
        """Forget the timer; None and one that has fired are fine."""
        if timer is None or timer.callback is None:
            return
        timer.callback = None
        self._cancelled += 1
        if self._cancelled > len(self._heap) // 2 + _SLACK:
            self._heap = [item for item in self._heap if item[2].callback is not None]
            heapq.heapify(self._heap)
            self._cancelled = 0

    async def close(self) -> None:
        """Call nobody back any more."""
        self._closed = True
        self._heap.clear()
        self._stop_sleeping()
        await asyncio.gather(*self._ending, return_exceptions=True)

    def _arm(self) -> None:
        """Sleep until the earliest timer, and no longer."""
        if self._closed or not self._heap:
            return
        when = self._heap[0][0]
        if self._target is not None and self._target <= when:
            return
        self._stop_sleeping()
        self._target = when
        self._sleeper = asyncio.create_task(self._sleep(when))

    def _stop_sleeping(self) -> None:
        if self._sleeper is not None:
            self._ending.add(self._sleeper)
            self._sleeper.add_done_callback(self._ending.discard)
            self._sleeper.cancel()
        self._sleeper = self._target = None

    async def _sleep(self, when: float) -> None:
        await self._clock.sleep(when - self._clock.monotonic())
        self._sleeper = self._target = None
        # Sums of floats may end a hair below ``when``; what was slept for is due.
        now = max(when, self._clock.monotonic())
        while self._heap and self._heap[0][0] <= now:
            timer = heapq.heappop(self._heap)[2]
            callback, timer.callback = timer.callback, None
            if callback is None:
                self._cancelled -= 1
            else:
                callback()
        self._arm()
