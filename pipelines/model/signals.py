"""Numbers about a running service, as the monitor asks for them."""

from pydantic import AwareDatetime, Field

from pipelines.model.base import Frozen


class Point(Frozen):
    """One value at one moment, in seconds since 1970."""

    at: float
    value: float


class Series(Frozen):
    """One signal over a span; ``reason`` says why there are no points, which is not a breach."""

    name: str
    query: str = ""
    unit: str = ""
    points: tuple[Point, ...] = ()
    source: str = ""
    """``prometheus``, ``scrape`` or ``mock``."""
    reason: str = ""


class SignalRequest(Frozen):
    """A span of one signal: a rule of the step by its name, or one of the built-in ones.

    Only names cross over: what is queried comes from the configuration or from Conductor itself.
    """

    name: str = Field(max_length=100)
    start: AwareDatetime
    end: AwareDatetime
    step_seconds: float = Field(default=15.0, gt=0)


class TraceSummary(Frozen):
    """What traces of a service say about one operation in a span of time."""

    operation: str = Field(max_length=200)
    count: int = Field(ge=0)
    errors: int = Field(ge=0)
    p50_seconds: float = Field(ge=0)
    p95_seconds: float = Field(ge=0)
    example: str | None = None
    """Id of one trace with an error, else of the slowest one."""


class TraceReport(Frozen):
    """All operations that were seen; ``reason`` says why there are none."""

    operations: tuple[TraceSummary, ...] = ()
    reason: str = ""
