"""A service's own metrics page as a source, for environments without a Prometheus."""

import asyncio
import math
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from pipelines.errors import UserError
from pipelines.integrations.observability import exposition
from pipelines.integrations.observability.base import MetricsSource
from pipelines.integrations.observability.evaluation import Evaluator
from pipelines.integrations.observability.expression import NeedsPrometheus, names, parse, reach
from pipelines.integrations.observability.samples import SampleStore, Scrape
from pipelines.integrations.observability.signals import SIGNALS
from pipelines.model import Point, Series
from pipelines.net import Answer

NAME = "scrape"
_LOOKBACK_STEPS = 5
_MIN_LOOKBACK, _MAX_LOOKBACK = 5.0, 300.0
_MAX_REACH = 86_400.0


def read_page(answer: Answer, queries: Iterable[str], *, at: float) -> tuple[Scrape, str]:
    """Return what is kept of a page, and what is wrong with it or an empty text.

    Only metrics that a query or a built-in signal reads are kept.
    """
    if answer.status != 200:
        reason = f"the metrics page answered with HTTP {answer.status}"
        return Scrape(at=at, up=False), reason
    try:
        text = answer.body.decode("utf-8")
        return Scrape(at=at, values=exposition.read(text, _wanted(queries))), ""
    except UnicodeDecodeError:
        reason = "the metrics page is not UTF-8"
    except UserError as error:
        reason = str(error)
    # The service answers; only what it says cannot be read.
    return Scrape(at=at), reason


def _wanted(queries: Iterable[str]) -> set[str]:
    wanted: set[str] = set()
    for query in (*queries, *(signal.build({}, 1.0) for signal in SIGNALS.values())):
        try:
            wanted |= names(parse(query))
        except NeedsPrometheus:
            continue
    return wanted


class ScrapedMetrics(MetricsSource):
    """Evaluates queries over the scrapes of one environment, each span of them read once."""

    name = NAME

    def __init__(self, samples: SampleStore, environment: str) -> None:
        self._samples = samples
        self._environment = environment
        self._read: dict[tuple[datetime, datetime], Sequence[Scrape]] = {}
        self._reading = asyncio.Lock()

    async def range(
        self, query: str, *, start: datetime, end: datetime, step_seconds: float
    ) -> Series:
        """Evaluate a query at every step of a span."""
        empty = Series(name="", query=query, source=NAME)
        lookback = min(max(_MIN_LOOKBACK, _LOOKBACK_STEPS * step_seconds), _MAX_LOOKBACK)
        try:
            tree = parse(query)
            before = max(reach(tree), lookback)
            if before > _MAX_REACH:
                raise NeedsPrometheus("a span of more than a day")
            scrapes = await self._scrapes(start - timedelta(seconds=before), end)
            evaluator = Evaluator(scrapes, lookback)
            points: list[Point] = []
            for index in range(int((end - start).total_seconds() / step_seconds) + 1):
                at = start.timestamp() + index * step_seconds
                value = evaluator.value(tree, at)
                if value is not None and math.isfinite(value):
                    points.append(Point(at=at, value=value))
        except UserError as error:
            return empty.model_copy(update={"reason": str(error)})
        reason = "" if points else _why_nothing(scrapes)
        return empty.model_copy(update={"points": tuple(points), "reason": reason})

    async def close(self) -> None:
        """Hold nothing."""

    async def _scrapes(self, start: datetime, end: datetime) -> Sequence[Scrape]:
        async with self._reading:
            if (start, end) not in self._read:
                found = await self._samples.range(self._environment, start=start, end=end)
                self._read[start, end] = found
            return self._read[start, end]


def _why_nothing(scrapes: Sequence[Scrape]) -> str:
    if not scrapes:
        return "the metrics page was not read in that time"
    if not any(scrape.up for scrape in scrapes):
        return "the metrics page did not answer in that time"
    return "the metrics page has no data for it"
