"""Limits kept before GitHub has to enforce them: one Throttle a process, lanes by installation.

The numbers are GitHub's best practices and secondary limits, with room to spare:
https://docs.github.com/rest/using-the-rest-api/best-practices-for-using-the-rest-api
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from bot.github.errors import DEFAULT_WAIT, PRIMARY_WINDOW, Limit, until
from pipelines.errors import Parked
from pipelines.ports import Clock

LONGEST_PENALTY = 15 * 60.0


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast one installation may go."""

    concurrency: int = 20
    write_gap: float = 1.0
    points_per_minute: int = 600
    content_per_minute: int = 60
    content_per_hour: int = 400
    reserve: int = 50
    """Requests of the primary limit that are left for what people do by hand."""


@dataclass(slots=True)
class _Window:
    """What was spent in the last ``seconds``."""

    seconds: float
    allowed: int
    spent: deque[tuple[float, int]] = field(default_factory=deque[tuple[float, int]])
    total: int = 0

    def wait(self, now: float, cost: int) -> float:
        """Return the seconds until ``cost`` fits; 0 if it does now."""
        while self.spent and self.spent[0][0] <= now - self.seconds:
            self.total -= self.spent.popleft()[1]
        over = self.total + cost - self.allowed
        for at, points in self.spent:
            if over <= 0:
                break
            over -= points
            if over <= 0:
                return at + self.seconds - now
        return 0.0

    def spend(self, now: float, cost: int) -> None:
        self.spent.append((now, cost))
        self.total += cost


@dataclass(slots=True)
class _Lane:
    """One installation's use of GitHub; times are on the monotonic clock."""

    points: _Window
    minute: _Window
    hour: _Window
    in_flight: int = 0
    writes_wanted: int = 0
    last_write: float | None = None
    parked_until: float = 0.0
    strikes: int = 0
    resources: dict[str, tuple[int, int, float]] = field(
        default_factory=dict[str, tuple[int, int, float]]
    )
    """Remaining, limit and reset of each primary limit, as the last answer told them."""
    write_lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class Throttle:
    """Lets requests through in time and raises Parked instead of keeping a worker waiting.

    A write waits for at most one other write and the gap after it (about a second); whoever comes
    third is parked.
    """

    def __init__(self, clock: Clock, pace: Pace | None = None) -> None:
        self._clock = clock
        self._pace = pace or Pace()
        self._lanes: dict[str, _Lane] = {}

    def _lane(self, scope: str) -> _Lane:
        pace = self._pace
        if scope not in self._lanes:
            self._lanes[scope] = _Lane(
                points=_Window(60.0, pace.points_per_minute),
                minute=_Window(60.0, pace.content_per_minute),
                hour=_Window(3600.0, pace.content_per_hour),
            )
        return self._lanes[scope]

    @asynccontextmanager
    async def slot(
        self, scope: str, *, resource: str = "core", write: bool = False, content: bool = False
    ) -> AsyncGenerator[None, None]:
        """Hold a place for one request; raises Parked when it may not be sent within a second."""
        lane = self._lane(scope)
        self._admit(scope, lane, resource, write=write, content=content)
        if not write:
            async with self._counted(scope, lane, resource, write=False, content=False):
                yield
            return
        if lane.writes_wanted > 1:
            raise self._parked(scope, 2 * self._pace.write_gap, "writes go one a second")
        lane.writes_wanted += 1
        try:
            async with lane.write_lock:
                await self._keep_gap(lane)
                self._admit(scope, lane, resource, write=True, content=content)
                async with self._counted(scope, lane, resource, write=True, content=content):
                    yield
        finally:
            lane.writes_wanted -= 1

    @asynccontextmanager
    async def _counted(
        self, scope: str, lane: _Lane, resource: str, *, write: bool, content: bool
    ) -> AsyncGenerator[None, None]:
        now = self._clock.monotonic()
        lane.points.spend(now, 5 if write else 1)
        if content:
            lane.minute.spend(now, 1)
            lane.hour.spend(now, 1)
        if resource in lane.resources:
            remaining, limit, reset = lane.resources[resource]
            lane.resources[resource] = (remaining - 1, limit, reset)
        lane.in_flight += 1
        try:
            yield
        finally:
            lane.in_flight -= 1
            if write:
                lane.last_write = self._clock.monotonic()

    async def _keep_gap(self, lane: _Lane) -> None:
        if lane.last_write is None:
            return
        left = lane.last_write + self._pace.write_gap - self._clock.monotonic()
        if left > 0:
            await self._clock.sleep(left)

    def _admit(self, scope: str, lane: _Lane, resource: str, *, write: bool, content: bool) -> None:
        now = self._clock.monotonic()
        if lane.parked_until > now:
            raise self._parked(scope, lane.parked_until - now, "GitHub asked for a pause")
        if lane.in_flight >= self._pace.concurrency:
            raise self._parked(scope, self._pace.write_gap, "enough requests are in flight")
        remaining, limit, reset = lane.resources.get(resource, (1, 0, 0.0))
        if reset > now and remaining <= min(self._pace.reserve, limit // 20):
            raise self._parked(scope, reset - now, "GitHub's hourly limit is nearly used up")
        wait = lane.points.wait(now, 5 if write else 1)
        if content:
            wait = max(wait, lane.minute.wait(now, 1), lane.hour.wait(now, 1))
        if wait > 0:
            raise self._parked(scope, wait, "enough was asked of GitHub for now")

    def _parked(self, scope: str, wait: float, why: str) -> Parked:
        moment = until(self._clock.now(), wait)
        return Parked(
            f"Waiting for GitHub until {moment:%H:%M:%S} UTC: {why}.", until=moment, scope=scope
        )

    def record(self, scope: str, headers: Mapping[str, str]) -> None:
        """Take note of the primary limit as an answer tells it; unreadable headers are ignored."""
        lane = self._lane(scope)
        names = ("x-ratelimit-remaining", "x-ratelimit-limit", "x-ratelimit-reset")
        values = [headers.get(name, "") for name in names]
        if not all(value.isascii() and value.isdigit() and len(value) < 13 for value in values):
            return
        remaining, limit, reset = (int(value) for value in values)
        wait = min(reset - self._clock.now().timestamp() + 1.0, PRIMARY_WINDOW + 60.0)
        resource = headers.get("x-ratelimit-resource", "core")[:40]
        lane.resources[resource] = (remaining, limit, self._clock.monotonic() + wait)

    def settle(self, scope: str) -> None:
        """Forget earlier refusals: a request of this scope went well."""
        self._lane(scope).strikes = 0

    def penalise(self, scope: str, limit: Limit) -> Parked:
        """Park the scope for a limit that GitHub reported, and return what to raise."""
        lane = self._lane(scope)
        wait = limit.wait
        if wait is None:
            wait = min(DEFAULT_WAIT * 2**lane.strikes, LONGEST_PENALTY)
        lane.strikes = min(lane.strikes + 1, 10)
        lane.parked_until = max(lane.parked_until, self._clock.monotonic() + wait)
        left = lane.parked_until - self._clock.monotonic()
        return self._parked(scope, left, f"its {limit.kind} rate limit was reached")
