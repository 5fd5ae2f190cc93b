"""The books of one process on its own."""

from bisect import insort
from collections import deque
from dataclasses import dataclass, field

from bot.github.throttle import (
    GO,
    PLACE_SECONDS,
    Ask,
    Budget,
    Outcome,
    Pace,
    Reason,
    Verdict,
    penalty,
)
from pipelines.ports import Clock

LINE_SECONDS = 5.0
"""So long after their time, those who wait and do not ask again lose their place in the line."""
TURN_SECONDS = 60.0
"""So long after their time, those who were parked and do not come back lose their turn."""
LONGEST_LINE = 500
CROWDED = 0.25
"""Seconds to wait when too many requests are in flight; they rarely take longer."""
SLOWNESS = 1.25
"""Gaps that a write takes up with its own duration, by which those in the line come back."""
SHORTEST_PARK = 1.0
MOST_STRIKES = 10


@dataclass(slots=True)
class _Window:
    """What was spent in the last ``seconds``, exactly."""

    seconds: float
    allowed: int
    spent: deque[tuple[float, int]] = field(default_factory=deque[tuple[float, int]])
    total: int = 0

    def wait(self, now: float, cost: int) -> float:
        """Return the seconds until ``cost`` fits; 0 if it does now."""
        while self.spent and self.spent[0][0] + self.seconds <= now:
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


@dataclass(slots=True, order=True)
class _Turn:
    """A wish to write, sorted by ``order``, then by arrival.

    It is waited for until it ``expires``, except if it is ``parked``: then it is only remembered.
    """

    order: float
    number: int
    place: str = field(compare=False)
    purpose: str = field(compare=False)
    expires: float = field(default=0.0, compare=False)
    parked: bool = field(default=False, compare=False)


@dataclass(slots=True)
class _Lane:
    """One installation's use of GitHub."""

    points: _Window
    minute: _Window
    hour: _Window
    flight: dict[str, float] = field(default_factory=dict[str, float])
    """When each place that is taken runs out."""
    line: list[_Turn] = field(default_factory=list[_Turn])
    turns: int = 0
    """How many were ever given out."""
    writer: str = ""
    next_write: float = float("-inf")
    paused_until: float = 0.0
    strikes: int = 0
    budgets: dict[str, tuple[int, int, float]] = field(
        default_factory=dict[str, tuple[int, int, float]]
    )
    """Remaining, limit and time of reset by resource."""

    def forget(self, now: float, gap: float) -> None:
        """Drop the places and turns of those who will not come back."""
        for place, expires in list(self.flight.items()):
            if expires <= now:
                self.leave(place, expires, gap)
        self.line = [turn for turn in self.line if turn.expires > now]

    def leave(self, place: str, now: float, gap: float) -> None:
        """Free a place, and let the next write come a gap after it."""
        self.flight.pop(place, None)
        self.line = [turn for turn in self.line if turn.place != place or turn.parked]
        if self.writer == place:
            self.writer, self.next_write = "", now + gap

    def turn(self, ask: Ask, place: str, order: float) -> _Turn:
        """Take the caller's turn out of the line: its own, its parked one, or a new one."""
        mine = next((turn for turn in self.line if turn.place == place), None)
        mine = mine or next(
            (turn for turn in self.line if turn.parked and turn.purpose == ask.purpose), None
        )
        if mine is None:
            self.turns += 1
            return _Turn(order, self.turns, place, ask.purpose)
        self.line.remove(mine)
        return _Turn(mine.order, mine.number, place, ask.purpose)


class LocalLedger:
    """Implements ``Ledger`` in memory, by installation; nobody else may write to GitHub for it."""

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

    async def admit(self, ask: Ask, place: str, waited: float) -> Verdict:
        """Take the place, or say how long to wait."""
        lane, now = self._lane(ask.scope), self._clock.monotonic()
        lane.forget(now, self._pace.write_gap)
        if place in lane.flight:
            return GO
        stop = self._stop(lane, ask, now)
        if ask.write:
            return self._queue(lane, ask, place, now, waited=waited, stop=stop)
        if stop is not None:
            return stop
        wait, reason = self._room(lane, ask, now)
        if wait <= 0:
            return self._enter(lane, ask, place, now)
        if waited + wait <= self._pace.patience:
            return Verdict("wait", wait, reason)
        return Verdict("park", max(wait, SHORTEST_PARK), reason)

    def _stop(self, lane: _Lane, ask: Ask, now: float) -> Verdict | None:
        """Return what no short waiting changes."""
        if lane.paused_until > now:
            return Verdict("park", lane.paused_until - now, Reason.PAUSE)
        remaining, limit, reset = lane.budgets.get(ask.resource, (1, 0, 0.0))
        if reset > now and remaining <= self._pace.reserved(limit):
            return Verdict("park", reset - now, Reason.RESERVE)
        return None

    def _room(self, lane: _Lane, ask: Ask, now: float) -> tuple[float, Reason]:
        """Return the seconds until there is room for the request, and what fills it until then."""
        wait = lane.points.wait(now, ask.points)
        if ask.content:
            wait = max(wait, lane.minute.wait(now, 1), lane.hour.wait(now, 1))
        if wait <= 0 and len(lane.flight) >= self._pace.concurrency:
            return CROWDED, Reason.FLIGHT
        return wait, Reason.BUDGET

    def _queue(
        self, lane: _Lane, ask: Ask, place: str, now: float, *, waited: float, stop: Verdict | None
    ) -> Verdict:
        """Let a write in if it is its turn, which is kept while it waits and while it is parked."""
        gap, patience = self._pace.write_gap, self._pace.patience
        mine = lane.turn(ask, place, now + (0.0 if ask.urgent else self._pace.head_start))
        before = [turn for turn in lane.line if turn < mine]
        if stop is not None:
            return _park(lane, mine, now, stop.seconds + len(before) * gap * SLOWNESS, stop.reason)
        free = max(gap, CROWDED) if lane.writer else max(0.0, lane.next_write - now)
        room, reason = self._room(lane, ask, now)
        wait = max(free + sum(not turn.parked for turn in before) * gap, room)
        if wait <= 0:
            return self._enter(lane, ask, place, now)
        reason = reason if wait == room else Reason.TURN
        likely = max(free + len(before) * gap, room)
        if likely <= patience and waited + wait <= 2 * patience:
            mine.expires = now + wait + LINE_SECONDS
            insort(lane.line, mine)
            return Verdict("wait", wait, reason)
        away = max(max(free, room) + len(before) * gap * SLOWNESS, SHORTEST_PARK)
        return _park(lane, mine, now, away, reason)

    def _enter(self, lane: _Lane, ask: Ask, place: str, now: float) -> Verdict:
        lane.points.spend(now, ask.points)
        if ask.content:
            lane.minute.spend(now, 1)
            lane.hour.spend(now, 1)
        if ask.resource in lane.budgets:
            remaining, limit, reset = lane.budgets[ask.resource]
            lane.budgets[ask.resource] = (remaining - 1, limit, reset)
        lane.flight[place] = now + PLACE_SECONDS
        if ask.write:
            lane.writer = place
        return GO

    async def renew(self, ask: Ask, place: str) -> None:
        """Keep the place for another ``PLACE_SECONDS``."""
        flight = self._lane(ask.scope).flight
        if place in flight:
            flight[place] = self._clock.monotonic() + PLACE_SECONDS

    async def settle(self, ask: Ask, place: str, outcome: Outcome) -> float:
        """Give the place up and take note of what became of its request."""
        lane, now = self._lane(ask.scope), self._clock.monotonic()
        lane.leave(place, now, self._pace.write_gap)
        if outcome.budget is not None:
            _note(lane, outcome.budget, now)
        if outcome.succeeded:
            lane.strikes = 0
        if outcome.limit is not None:
            until = now + penalty(outcome.limit, lane.strikes)
            lane.strikes = min(lane.strikes + 1, MOST_STRIKES)
            lane.paused_until = max(lane.paused_until, until)
        return max(0.0, lane.paused_until - now)


def _park(lane: _Lane, mine: _Turn, now: float, away: float, reason: Reason) -> Verdict:
    """Send a write away until about its turn, which it finds kept for it."""
    if mine.purpose and len(lane.line) < LONGEST_LINE:
        mine.parked, mine.expires = True, now + away + TURN_SECONDS
        insort(lane.line, mine)
    return Verdict("park", away, reason)


def _note(lane: _Lane, told: Budget, now: float) -> None:
    """Believe GitHub, less what is under way and may not have been counted there yet."""
    remaining = told.remaining - len(lane.flight)
    lane.budgets[told.resource] = (remaining, told.limit, now + told.wait)
