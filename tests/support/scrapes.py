"""Scrapes of metrics pages, remembered in memory."""

from collections.abc import Sequence
from datetime import datetime

from pipelines.integrations.observability.samples import Scrape


class MemoryScrapes:
    """Implements ``SampleStore``."""

    def __init__(self) -> None:
        self.scrapes: dict[str, list[Scrape]] = {}

    async def add(self, environment: str, scrape: Scrape) -> None:
        self.scrapes.setdefault(environment, []).append(scrape)

    async def range(self, environment: str, *, start: datetime, end: datetime) -> Sequence[Scrape]:
        first, last = start.timestamp(), end.timestamp()
        return [s for s in self.scrapes.get(environment, []) if first <= s.at <= last]
