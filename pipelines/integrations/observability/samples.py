"""What was read off a metrics page over time, and who remembers it."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from pydantic import Field

from pipelines.model import Frozen

MAX_SERIES = 2_000
"""The most series that are kept of one page."""


class Scrape(Frozen):
    """One look at a metrics page; ``at`` is in seconds since 1970.

    ``values`` are by series: the name, then the labels as a JSON object with sorted keys. A page
    that did not answer is a scrape with ``up`` False and no values, so that a gap can be told from
    a service that is gone.
    """

    at: float
    up: bool = True
    values: dict[str, float] = Field(default_factory=dict, max_length=MAX_SERIES)


class SampleStore(Protocol):
    """Remembers scrapes of one repository's environments."""

    async def add(self, environment: str, scrape: Scrape) -> None:
        """Keep one scrape; the same moment again replaces it."""
        ...

    async def range(self, environment: str, *, start: datetime, end: datetime) -> Sequence[Scrape]:
        """Return the scrapes with ``start <= at <= end``, oldest first."""
        ...
