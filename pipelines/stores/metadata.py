"""Metadata Store: agent executions, what reviews found, pipeline configurations, deployments."""

from collections.abc import Mapping, Sequence

from pydantic import Field, JsonValue

from pipelines.model import Conclusion, Coverage, ExecutionRecord, Finding, Frozen, Usage
from pipelines.ports import Write
from pipelines.stores.backend import StorageBackend
from pipelines.stores.shelf import DAY, Keep, Page, Shelf, redacted
from pipelines.stores.tenants import Origin

EXECUTIONS_KEPT = Keep(seconds=400 * DAY, count=10_000)
REVIEWS_KEPT = Keep(seconds=180 * DAY, count=2_000)
RECORDS_KEPT = Keep(seconds=400 * DAY, count=5_000)


class Execution(Frozen):
    """One attempt of an agent at a task: how it ended and what it asked for and left."""

    origin: Origin
    completed: bool
    conclusion: Conclusion
    title: str
    effects: tuple[str, ...] = ()
    """Keys of the effects that it asked for, in order."""
    artifacts: Mapping[str, int] = Field(default_factory=dict)
    """How many of each kind it left in the stores."""
    left_out: int = Field(default=0, ge=0)
    """Artifacts that were more than the stores take of one attempt."""
    usage: Usage = Usage()
    schema_version: int = 1


class StoredReview(Frozen):
    """What a review found and what it looked at."""

    origin: Origin
    number: int | None
    findings: tuple[Finding, ...]
    coverage: Coverage
    schema_version: int = 1


class StoredRecord(Frozen):
    """A pipeline configuration, a deployment or whatever else an execution decided."""

    origin: Origin
    subject: str
    data: dict[str, JsonValue]
    schema_version: int = 1


class MetadataStore:
    """Executions, reviews and records of each repository, oldest first."""

    def __init__(
        self,
        backend: StorageBackend,
        *,
        executions: Keep = EXECUTIONS_KEPT,
        reviews: Keep = REVIEWS_KEPT,
        records: Keep = RECORDS_KEPT,
    ) -> None:
        self._executions = Shelf(backend, "execution", Execution, executions, lambda e: e.origin.at)
        self._reviews = Shelf(backend, "review", StoredReview, reviews, lambda r: r.origin.at)
        self._records = Shelf(backend, "metadata", StoredRecord, records, lambda r: r.origin.at)

    @property
    def shelves(self) -> tuple[Shelf[Execution], Shelf[StoredReview], Shelf[StoredRecord]]:
        """The kinds of record that this store has."""
        return self._executions, self._reviews, self._records

    def execution(self, execution: Execution) -> Write:
        """Return what stores one attempt."""
        clean, _ = redacted(execution)
        return self._executions.write(clean.origin.tenant, clean.origin.segments, clean)

    def review(
        self,
        origin: Origin,
        number: int | None,
        findings: Sequence[Finding],
        coverage: Coverage,
    ) -> Write:
        """Return what stores the findings of one review."""
        review = StoredReview(
            origin=origin, number=number, findings=tuple(findings), coverage=coverage
        )
        return self._reviews.write(origin.tenant, origin.segments, redacted(review)[0])

    def records(self, origin: Origin, records: Sequence[ExecutionRecord]) -> list[Write]:
        """Return what stores these records."""
        writes: list[Write] = []
        for number, record in enumerate(records):
            stored = StoredRecord(origin=origin, subject=record.subject, data=record.data)
            place = (record.subject, *origin.segments, f"{number:06d}")
            writes.append(self._records.write(origin.tenant, place, redacted(stored)[0]))
        return writes

    async def executions(
        self, tenant: str, *, after: str = "", limit: int = 100
    ) -> Page[Execution]:
        """Return the attempts of a repository's agents."""
        return await self._executions.page(tenant, after=after, limit=limit)

    async def executions_of(self, tenant: str, run_id: str) -> Sequence[Execution]:
        """Return the attempts of one run."""
        return [execution async for execution in self._executions.all(tenant, run_id)]

    async def reviews(
        self, tenant: str, *, after: str = "", limit: int = 100
    ) -> Page[StoredReview]:
        """Return a repository's reviews."""
        return await self._reviews.page(tenant, after=after, limit=limit)

    async def about(
        self, tenant: str, subject: str, *, after: str = "", limit: int = 100
    ) -> Page[StoredRecord]:
        """Return the records of one subject: ``pipeline``, ``deployment``, …"""
        return await self._records.page(tenant, subject, after=after, limit=limit)
