"""A clock that moves only when a test moves it."""

import asyncio
import heapq
import itertools
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

EPOCH = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)


class VirtualClock:
    """Implements ``pipelines.ports.Clock``; sleepers wake when ``advance`` passes their time."""

    def __init__(self, start: datetime = EPOCH) -> None:
        self._start = start
        self._elapsed = 0.0
        self._order = itertools.count()
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self.busy: list[Callable[[], bool]] = []
        """Say whether something outside the loop, as a server, is about to answer."""

    def now(self) -> datetime:
        return self._start + timedelta(seconds=self._elapsed)

    def monotonic(self) -> float:
        return self._elapsed

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._elapsed + seconds, next(self._order), future))
        await future

    async def advance(self, seconds: float) -> None:
        """Move time forward, waking sleepers in order and letting each run before the next."""
        target = self._elapsed + seconds
        while self._sleepers and self._sleepers[0][0] <= target:
            due, _, future = heapq.heappop(self._sleepers)
            self._elapsed = max(self._elapsed, due)
            if not future.done():
                future.set_result(None)
            await self.settle()
        self._elapsed = target
        await self.settle()

    def leap(self, seconds: float) -> None:
        """Move time forward without waking anybody, as for a process that was stopped meanwhile."""
        self._elapsed += seconds

    async def skip(self) -> None:
        """Move time to where the next sleeper wakes."""
        while self._sleepers and self._sleepers[0][2].done():
            heapq.heappop(self._sleepers)
        if self._sleepers:
            await self.advance(max(0.0, self._sleepers[0][0] - self._elapsed))
        else:
            await self.settle()

    async def settle(self, turns: int = 24) -> None:
        """Let every task that is ready run until it waits again for time or for a test."""
        quiet = 0
        while quiet < turns:
            await asyncio.sleep(0)
            quiet = 0 if any(busy() for busy in self.busy) else quiet + 1
