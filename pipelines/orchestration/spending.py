"""What model calls cost, by day and tenant: one record a transition, added up when asked."""

from collections.abc import Mapping
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


class SpendingLedger:
    """Adds up days, and remembers the sum of what cannot change any more.

    Policy asks before every task, so a day's records must not be read again each time.
    """

    def __init__(self, backend: StorageBackend, clock: Clock) -> None:
        self._backend = backend
        self._clock = clock
        self._settled: dict[date, tuple[str, Mapping[str, Usage]]] = {}

    async def totals(self, day: date) -> Mapping[str, Usage]:
        """Return what each tenant's runs cost on a day (UTC)."""
        last, known = self._settled.get(day, ("", {}))
        horizon = keys.spend_moment(self._clock.now() - _SETTLES)
        settled, recent = dict(known), dict[str, Usage]()
        async for key, record in self._backend.scan(keys.spending_prefix(day), after=last):
            cost = read(Spending, key, record)
            if key < horizon:
                last = key
                _add(settled, cost.tenant, cost.usage)
            else:
                _add(recent, cost.tenant, cost.usage)
        others = [item for item in self._settled.items() if item[0] != day]
        self._settled = dict([*others[-_DAYS_REMEMBERED:], (day, (last, settled))])
        totals = dict(settled)
        for tenant, usage in recent.items():
            _add(totals, tenant, usage)
        return totals

    def write(self, before: WorkflowRun | None, after: WorkflowRun) -> list[Write]:
        """Return the record of what a transition cost; none if it cost nothing."""
        cost = _difference(after.usage, before.usage if before else Usage())
        if cost == Usage():
            return []
        tenant = after.change.repository.tenant
        key = keys.spend_key(self._clock.now(), tenant, after.id, after.version)
        return [Write(key, encode(Spending(tenant=tenant, usage=cost)), ttl=KEPT_SECONDS)]


def _add(totals: dict[str, Usage], tenant: str, usage: Usage) -> None:
    totals[tenant] = totals.get(tenant, Usage()) + usage


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
