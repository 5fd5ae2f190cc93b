"""Logs & Metrics: what agents wrote of their work, what it cost, what was measured of services."""

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime

from pydantic import AwareDatetime, Field

from pipelines.model import Conclusion, Frozen, LogLine, Measurement, Point, Series, Usage
from pipelines.ports import Write
from pipelines.stores.backend import StorageBackend
from pipelines.stores.shelf import DAY, Keep, Shelf, redacted
from pipelines.stores.tenants import Origin

LINES_KEPT = Keep(seconds=30 * DAY, count=5_000)
METRICS_KEPT = Keep(seconds=400 * DAY, count=10_000)
SAMPLES_KEPT = Keep(seconds=30 * DAY, count=20_000)
PAGES_KEPT = Keep(seconds=8 * DAY, count=2_000)
"""Metrics pages are large, and a week is as far as the monitor compares."""


class StoredLog(Frozen):
    """What one attempt wrote about its work, in order."""

    origin: Origin
    lines: tuple[LogLine, ...]
    schema_version: int = 1


class ExecutionMetrics(Frozen):
    """What one attempt cost and how it ended, by the time of its end."""

    origin: Origin
    conclusion: Conclusion
    usage: Usage
    findings: int = 0
    effects: int = 0
    schema_version: int = 1


class Sample(Frozen):
    """Values of one signal of one environment that were stored together."""

    series: Series
    at: AwareDatetime
    schema_version: int = 1


class MetricsPage(Frozen):
    """All values that were read off a service's metrics page at one moment."""

    at: AwareDatetime
    up: bool = True
    """False if the page did not answer."""
    values: Mapping[str, float] = Field(default_factory=dict)
    schema_version: int = 1


class LogsAndMetrics:
    """Logs by run, metrics by time, samples and pages by environment and time."""

    def __init__(
        self,
        backend: StorageBackend,
        *,
        lines: Keep = LINES_KEPT,
        metrics: Keep = METRICS_KEPT,
        samples: Keep = SAMPLES_KEPT,
        pages: Keep = PAGES_KEPT,
    ) -> None:
        self._logs = Shelf(backend, "log", StoredLog, lines, lambda log: log.origin.at)
        self._metrics = Shelf(backend, "metric", ExecutionMetrics, metrics, lambda m: m.origin.at)
        self._samples = Shelf(backend, "sample", Sample, samples, lambda sample: sample.at)
        self._pages = Shelf(backend, "metrics-page", MetricsPage, pages, lambda page: page.at)

    @property
    def shelves(
        self,
    ) -> tuple[Shelf[StoredLog], Shelf[ExecutionMetrics], Shelf[Sample], Shelf[MetricsPage]]:
        """The kinds of record that this store has."""
        return self._logs, self._metrics, self._samples, self._pages

    def lines(self, origin: Origin, lines: Sequence[LogLine]) -> list[Write]:
        """Return what stores an attempt's log; nothing if it is empty."""
        if not lines:
            return []
        stored, _ = redacted(StoredLog(origin=origin, lines=tuple(lines)))
        return [self._logs.write(origin.tenant, origin.segments, stored)]

    def metrics(self, metrics: ExecutionMetrics) -> Write:
        """Return what stores the metrics of an attempt."""
        place = (_moment(metrics.origin.at), *metrics.origin.segments)
        return self._metrics.write(metrics.origin.tenant, place, metrics)

    def measurements(self, tenant: str, measurements: Sequence[Measurement]) -> list[Write]:
        """Return what stores measurements; the same signal at the same moment is stored once."""
        writes: dict[str, Write] = {}
        for measured in measurements:
            place = (measured.environment, measured.series.name, _moment(measured.at))
            sample, _ = redacted(Sample(series=measured.series, at=measured.at))
            write = self._samples.write(tenant, place, sample)
            writes[write.key] = write
        return list(writes.values())

    def page(self, tenant: str, environment: str, page: MetricsPage) -> Write:
        """Return what stores a metrics page, over one of the same moment."""
        return self._pages.write(tenant, (environment, _moment(page.at)), page)

    async def log_of(self, tenant: str, run_id: str) -> Sequence[StoredLog]:
        """Return the logs of one run, by step and attempt."""
        return [log async for log in self._logs.all(tenant, run_id)]

    async def executions(
        self, tenant: str, start: datetime, end: datetime
    ) -> AsyncIterator[ExecutionMetrics]:
        """Yield the metrics of what ended from ``start`` up to, not including, ``end``."""
        async for metrics in self._metrics.all(tenant, after=_moment(start)):
            if metrics.origin.at >= end:
                return
            if metrics.origin.at >= start:
                yield metrics

    async def series(
        self, tenant: str, environment: str, name: str, start: datetime, end: datetime
    ) -> Series:
        """Return the stored points of a signal from ``start`` up to ``end``, both included.

        Points that were stored twice are there once. Without any the series says so.
        """
        found: dict[float, Point] = {}
        latest = Series(name=name, reason="nothing was stored for this span")
        first, last = start.timestamp(), end.timestamp()
        async for sample in self.samples(tenant, environment, name, since=start):
            inside = [point for point in sample.series.points if first <= point.at <= last]
            found |= {point.at: point for point in inside}
            if inside:
                latest = sample.series
        points = tuple(found[at] for at in sorted(found))
        return latest.model_copy(update={"points": points})

    async def samples(
        self, tenant: str, environment: str, name: str, *, since: datetime
    ) -> AsyncIterator[Sample]:
        """Yield what was stored at or after a moment, oldest first."""
        after = _moment(since, before=True)
        async for sample in self._samples.all(tenant, environment, name, after=after):
            yield sample

    async def pages(
        self, tenant: str, environment: str, start: datetime, end: datetime
    ) -> Sequence[MetricsPage]:
        """Return the metrics pages from ``start`` up to ``end``, both included, oldest first."""
        found: list[MetricsPage] = []
        after = _moment(start, before=True)
        async for page in self._pages.all(tenant, environment, after=after):
            if page.at > end:
                break
            if page.at >= start:
                found.append(page)
        return found


def _moment(at: datetime, *, before: bool = False) -> str:
    """Return milliseconds since 1970 in a form that sorts by time; ``before``: just below it."""
    return f"{max(0, int(at.timestamp() * 1000) - (1 if before else 0)):015d}"
