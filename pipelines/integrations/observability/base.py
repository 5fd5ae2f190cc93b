"""Where numbers and traces of running services come from."""

from abc import ABC, abstractmethod
from datetime import datetime

from pipelines.model import Series, TraceReport


class MetricsSource(ABC):
    """Answers queries over a span; no data is a series with a reason, never an exception.

    ``Retryable`` means that the source could not be reached.
    """

    name: str

    @abstractmethod
    async def range(
        self, query: str, *, start: datetime, end: datetime, step_seconds: float
    ) -> Series:
        """Evaluate a query at every step of a span."""

    @abstractmethod
    async def close(self) -> None:
        """Close connections."""


class TraceSource(ABC):
    """Summarises the traces of a service."""

    name: str

    @abstractmethod
    async def summary(self, service: str, *, start: datetime, end: datetime) -> TraceReport:
        """Return what the traces of a span say about each operation."""

    @abstractmethod
    async def close(self) -> None:
        """Close connections."""
