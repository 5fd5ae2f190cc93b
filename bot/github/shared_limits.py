"""The books of all processes together, in Redis: a script to let a request in, one to settle it.

What was spent is kept as exact sliding windows, not as a leaky bucket: a bucket that never allows
more than GitHub does in any minute would have to halve the burst that a review begins with. Each
entry is written and dropped once, and there are never more of them than the limits allow. With the
line of writes, whose length is bounded too, an installation takes some 150 KB at most, and nothing
a day after its last request. No token is kept here.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from bot.github.errors import DEFAULT_WAIT
from bot.github.throttle import (
    LONGEST_PENALTY,
    PLACE_SECONDS,
    Ask,
    Outcome,
    Pace,
    Reason,
    Verdict,
)
from pipelines.ports import Clock
from pipelines.redis.connection import RedisConnection, Word
from pipelines.redis.scripts import script

ADMIT = script("limits_admit")
RENEW = script("limits_renew")
SETTLE = script("limits_settle")

_UNIX = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class RedisLedger:
    """Implements ``Ledger`` for all processes that share a Redis.

    Time is the server's, as machines differ; with ``clock``, in tests, that clock's.
    """

    def __init__(
        self, connection: RedisConnection, pace: Pace | None = None, *, clock: Clock | None = None
    ) -> None:
        self._connection = connection
        self._pace = pace or Pace()
        self._clock = clock

    async def admit(self, ask: Ask, place: str, waited: float) -> Verdict:
        """Take the place, or say how long to wait; raises NotStored."""
        words = (
            *(self._now(), place, ask.purpose, ask.resource),
            *(int(ask.write), int(ask.content), int(ask.urgent), _microseconds(waited)),
            *self._limits(),
        )
        # Asked again after a lost answer, it finds the place taken and says so.
        what, wait, reason = await self._connection.run(
            ADMIT, [self._prefix(ask.scope)], words, again=True
        )
        if what == b"go":
            return Verdict("go")
        verb = "wait" if what == b"wait" else "park"
        return Verdict(verb, wait / 1e6, Reason[reason.decode()])

    async def renew(self, ask: Ask, place: str) -> None:
        """Keep the place for another ``PLACE_SECONDS``; raises NotStored."""
        words = (self._now(), place, _microseconds(PLACE_SECONDS))
        await self._connection.run(RENEW, [self._prefix(ask.scope)], words)

    async def settle(self, ask: Ask, place: str, outcome: Outcome) -> float:
        """Give the place up and take note of what became of its request; raises NotStored."""
        words = (
            *(self._now(), place, ask.purpose, _microseconds(self._pace.write_gap)),
            *_told(outcome),
            *(_microseconds(DEFAULT_WAIT), _microseconds(LONGEST_PENALTY)),
        )
        # A penalty that is counted twice would be twice as long.
        paused = await self._connection.run(
            SETTLE, [self._prefix(ask.scope)], words, again=outcome.limit is None
        )
        return paused / 1e6

    def _prefix(self, scope: str) -> str:
        return self._connection.key("limits", scope, "")

    def _now(self) -> Word:
        return "" if self._clock is None else (self._clock.now() - _UNIX) // _MICROSECOND

    def _limits(self) -> Iterator[Word]:
        pace = self._pace
        yield from (pace.concurrency, _microseconds(pace.write_gap), pace.points_per_minute)
        yield from (pace.content_per_minute, pace.content_per_hour, pace.reserve)
        yield from (_microseconds(pace.patience), _microseconds(pace.head_start))
        yield _microseconds(PLACE_SECONDS)


def _told(outcome: Outcome) -> Iterator[Word]:
    """Yield what the answer said of the primary limit, how it ended, and the pause asked for."""
    budget, limit = outcome.budget, outcome.limit
    if budget is None:
        yield from ("", "", "", "")
    else:
        yield from (budget.resource, budget.remaining, budget.limit, _microseconds(budget.wait))
    yield from (int(outcome.succeeded), int(limit is not None))
    yield "" if limit is None or limit.wait is None else _microseconds(limit.wait)


def _microseconds(seconds: float) -> int:
    return round(seconds * 1e6)
