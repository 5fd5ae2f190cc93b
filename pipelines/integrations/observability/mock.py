"""Numbers and traces that a test or a demonstration writes itself."""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta

from pipelines.integrations.observability.base import MetricsSource, TraceSource
from pipelines.model import Point, Series, TraceReport

Curve = Callable[[datetime], float | None]
"""The value at a moment; None where there is none."""


class MockMetrics(MetricsSource):
    """Draws each query's curve; a query without one has no data."""

    name = "mock"

    def __init__(self, curves: Mapping[str, Curve]) -> None:
        self._curves = curves

    async def range(
        self, query: str, *, start: datetime, end: datetime, step_seconds: float
    ) -> Series:
        """Evaluate the query's curve at every step of a span."""
        curve = self._curves.get(query)
        if curve is None:
            return Series(name="", query=query, source=self.name, reason="no curve is given")
        points: list[Point] = []
        moment = start
        while moment <= end:
            value = curve(moment)
            if value is not None:
                points.append(Point(at=moment.timestamp(), value=value))
            moment += timedelta(seconds=step_seconds)
        reason = "" if points else "the curve has no value there"
        return Series(name="", query=query, source=self.name, points=tuple(points), reason=reason)

    async def close(self) -> None:
        """Hold nothing."""


class MockTraces(TraceSource):
    """Gives the same report for every span."""

    name = "mock"

    def __init__(self, report: TraceReport) -> None:
        self._report = report

    async def summary(self, service: str, *, start: datetime, end: datetime) -> TraceReport:
        """Return the report."""
        return self._report

    async def close(self) -> None:
        """Hold nothing."""
