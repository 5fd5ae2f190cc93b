"""Whether there is room for one more delivery; what does not fit is left with its sender.

What a check costs is a comparison: the numbers are read by a timer, and what this process took in
since then is added.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager

import structlog

from bot.deliveries.delivery import QUEUE
from pipelines.errors import ConductorError, NotStored
from pipelines.ports import Clock

REFRESH_SECONDS = 1.0
READ_SECONDS = 2.0
"""How long one reading of the numbers may take."""
RETRY_SECONDS = 60
"""What a refused sender is told; GitHub itself sends nothing again."""
FULL = 0.9
"""Share of the store's room beyond which nothing more is taken in: the rest is for the work."""
RESERVE = 0.05
"""How much further what a person waits for is taken in, as a share of each limit."""
_SAMPLE = 500

_log = structlog.stdlib.get_logger("bot.deliveries.pressure")

Depth = Callable[[], Awaitable[Mapping[str, int]]]
"""Returns how many unsettled messages each queue has."""
Fullness = Callable[[], Awaitable[float]]
"""Returns which share of its room the store takes, 0 to 1."""


class Overloaded(NotStored):
    """There is no room now; ``retry_after`` is in seconds."""

    def __init__(self, message: str, *, retry_after: int = RETRY_SECONDS) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Pressure:
    """Says no before memory or the store runs out, and yes again as soon as there is room."""

    def __init__(
        self, depth: Depth, fullness: Fullness, clock: Clock, *, limit: int, limit_bytes: int
    ) -> None:
        """``limit`` is of deliveries that wait, ``limit_bytes`` of their bodies, by their mean."""
        self._depth = depth
        self._fullness = fullness
        self._clock = clock
        self._limit = limit
        self._limit_bytes = limit_bytes
        self._waiting = 0
        self._share = 0.0
        self._sizes: deque[int] = deque(maxlen=_SAMPLE)

    def check(self, size: int, *, urgent: bool) -> None:
        """Raise Overloaded if a body of so many bytes does not fit now."""
        reason = self._objection(size, 1 + RESERVE if urgent else 1.0)
        if reason is not None:
            raise Overloaded(
                f"{reason} It was not stored; GitHub does not send it again by itself, so it is "
                "asked for again once there is room."
            )

    def took(self, size: int) -> None:
        """Count a delivery that was stored since the numbers were read."""
        self._waiting += 1
        self._sizes.append(size)

    async def refresh(self) -> None:
        """Read the numbers; while they cannot be read the last ones hold."""
        try:
            async with asyncio.timeout(READ_SECONDS):
                depth, share = await self._depth(), await self._fullness()
        except (ConductorError, TimeoutError) as error:
            _log.warning("pressure_not_read", error=str(error))
            return
        self._waiting, self._share = depth.get(QUEUE, 0), share

    @asynccontextmanager
    async def watching(self) -> AsyncGenerator[None]:
        """Keep the numbers fresh while the context is open."""
        await self.refresh()
        watching = asyncio.create_task(self._watch())
        try:
            yield
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)

    async def _watch(self) -> None:
        while True:
            await self._clock.sleep(REFRESH_SECONDS)
            await self.refresh()

    def _objection(self, size: int, factor: float) -> str | None:
        if self._waiting + 1 > self._limit * factor:
            return f"{self._waiting} deliveries wait already."
        if self._waiting * self._mean() + size > self._limit_bytes * factor:
            return f"The bodies of {self._waiting} deliveries wait already."
        if self._share > FULL * factor:
            return f"The store is {self._share:.0%} full."
        return None

    def _mean(self) -> float:
        return sum(self._sizes) / len(self._sizes) if self._sizes else 0.0
