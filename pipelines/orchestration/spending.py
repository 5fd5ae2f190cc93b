"""What model calls cost, by day and tenant: one record a transition, added up when asked."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta

from pipelines.model import Usage, WorkflowRun
from pipelines.orchestration import keys
from pipelines.orchestration.records import Spending, read
from pipelines.ports import Clock, Write
from pipelines.stores.backend import StorageBackend
from pipelines.stores.codec import encode

KEPT_SECONDS = 400 * 24 * 3600.0

_SETTLES = timedelta(minutes=5)
"""No commit takes so long: records of moments before that are all there."""
_DAYS_REMEMBERED = 31
_TRIES = 3
"""How often what was stored meanwhile is read after the rest; then something came late."""


@dataclass(slots=True)
class _Sum:
    """What the records up to a key cost."""

    last: str = ""
    count: int = 0
    """How many records of the store's own count are in it."""
    usage: dict[str, Usage] = field(default_factory=dict[str, Usage])

    def add(self, key: str, cost: Spending) -> None:
        self.last = key
        self.count += 1
        self.usage[cost.tenant] = self.usage.get(cost.tenant, Usage()) + cost.usage

    def copy(self) -> "_Sum":
        return _Sum(self.last, self.count, dict(self.usage))


@dataclass(slots=True)
class _Day:
    """A day's sum of all that was seen, and that of the part to which nothing comes any more."""

    settled: _Sum = field(default_factory=_Sum)
    seen: _Sum = field(default_factory=_Sum)


class SpendingLedger:
    """Adds up days, reading only what is new, as policy asks before every task.

    Records are in the order of their writers' clocks, in which one may come late. The store counts
    them, by the version of a mark that each is written with: whoever has seen as many as there are
    has seen all of them; whoever has not reads the last minutes again.
    """

    def __init__(self, backend: StorageBackend, clock: Clock) -> None:
        self._backend = backend
        self._clock = clock
        self._days: dict[date, _Day] = {}
        self._asking = asyncio.Lock()

    async def totals(self, day: date) -> Mapping[str, Usage]:
        """Return what each tenant's runs cost on a day (UTC)."""
        async with self._asking:
            known = self._days.get(day)
            if known is None or not await self._follow(day, known.seen):
                known = await self._read_again(day, known or _Day())
                others = [item for item in self._days.items() if item[0] != day]
                self._days = dict([*others[-_DAYS_REMEMBERED:], (day, known)])
            return dict(known.seen.usage)

    async def _follow(self, day: date, seen: _Sum) -> bool:
        """Add what is new; False if that is not all there is."""
        for _ in range(_TRIES):
            if await self._count(day) == seen.count:
                return True
            async for key, record in self._backend.scan(keys.spending_prefix(day), after=seen.last):
                seen.add(key, read(Spending, key, record))
        return await self._count(day) == seen.count

    async def _read_again(self, day: date, known: _Day) -> _Day:
        """Return the day's sums with all that is stored by now."""
        horizon = keys.spend_moment(self._clock.now() - _SETTLES)
        settled, seen, before = known.settled.copy(), known.settled.copy(), await self._count(day)
        async for key, record in self._backend.scan(keys.spending_prefix(day), after=settled.last):
            cost = read(Spending, key, record)
            seen.add(key, cost)
            if key < horizon:
                settled.add(key, cost)
        if not before <= seen.count <= await self._count(day):
            # Records were deleted or not counted; all that were counted before are in the sum.
            seen.count = before
        return _Day(settled, seen)

    async def _count(self, day: date) -> int:
        """Return how many records of that day were stored."""
        mark = await self._backend.get(keys.spending_count_key(day))
        return mark.version if mark else 0

    def write(self, before: WorkflowRun | None, after: WorkflowRun) -> list[Write]:
        """Return the record of what a transition cost; none if it cost nothing.

        A batch has room for one run that cost something: the mark that counts records is in each.
        """
        cost = _difference(after.usage, before.usage if before else Usage())
        if cost == Usage():
            return []
        tenant, now = after.change.repository.tenant, self._clock.now()
        key = keys.spend_key(now, tenant, after.id, after.version)
        return [
            Write(key, encode(Spending(tenant=tenant, usage=cost)), ttl=KEPT_SECONDS),
            Write(keys.spending_count_key(keys.day_of(now)), key.encode(), ttl=KEPT_SECONDS),
        ]


def _difference(after: Usage, before: Usage) -> Usage:
    """Return what was added; usage only ever grows."""
    return Usage(
        calls=after.calls - before.calls,
        input_tokens=after.input_tokens - before.input_tokens,
        output_tokens=after.output_tokens - before.output_tokens,
        cache_read_tokens=after.cache_read_tokens - before.cache_read_tokens,
        cache_write_tokens=after.cache_write_tokens - before.cache_write_tokens,
        cost_usd=max(0.0, after.cost_usd - before.cost_usd),
        latency_seconds=max(0.0, after.latency_seconds - before.latency_seconds),
        models=after.models if after.calls > before.calls else (),
    )
