"""Test Data Store: generated data sets with the schema they satisfy, and what test runs said."""

from collections.abc import Sequence

from pydantic import Field

from pipelines.model import Fixture, Frozen, TestReport
from pipelines.ports import Write
from pipelines.stores.backend import StorageBackend
from pipelines.stores.shelf import DAY, Keep, Page, Shelf, redacted
from pipelines.stores.tenants import Origin

FIXTURES_KEPT = Keep(seconds=180 * DAY, count=1_000)
REPORTS_KEPT = Keep(seconds=90 * DAY, count=2_000)


class StoredFixture(Frozen):
    """One data set; ``redacted`` counts the secrets that were taken out of it."""

    origin: Origin
    fixture: Fixture
    redacted: int = Field(default=0, ge=0)
    schema_version: int = 1


class StoredReport(Frozen):
    """One run of a test command, as it claims to have gone."""

    __test__ = False

    origin: Origin
    report: TestReport
    schema_version: int = 1


class TestDataStore:
    """The newest fixture of each path, and the reports of each run, oldest first."""

    __test__ = False

    def __init__(
        self,
        backend: StorageBackend,
        *,
        fixtures: Keep = FIXTURES_KEPT,
        reports: Keep = REPORTS_KEPT,
    ) -> None:
        self._fixtures = Shelf(backend, "fixture", StoredFixture, fixtures, lambda f: f.origin.at)
        self._reports = Shelf(backend, "test-report", StoredReport, reports, lambda r: r.origin.at)

    @property
    def shelves(self) -> tuple[Shelf[StoredFixture], Shelf[StoredReport]]:
        """The kinds of record that this store has."""
        return self._fixtures, self._reports

    def fixtures(self, origin: Origin, fixtures: Sequence[Fixture]) -> list[Write]:
        """Return what stores these data sets, each over the one of its path before it."""
        writes: list[Write] = []
        for path, fixture in {fixture.path: fixture for fixture in fixtures}.items():
            clean, count = redacted(fixture)
            stored = StoredFixture(origin=origin, fixture=clean, redacted=count)
            writes.append(self._fixtures.write(origin.tenant, (path,), stored))
        return writes

    def reports(self, origin: Origin, reports: Sequence[TestReport]) -> list[Write]:
        """Return what stores these reports."""
        writes: list[Write] = []
        for number, report in enumerate(reports):
            stored, _ = redacted(StoredReport(origin=origin, report=report))
            place = (*origin.segments, f"{number:06d}")
            writes.append(self._reports.write(origin.tenant, place, stored))
        return writes

    async def fixture(self, tenant: str, path: str) -> StoredFixture | None:
        """Return the newest data set of a path, or None."""
        return await self._fixtures.get(tenant, path)

    async def all_fixtures(
        self, tenant: str, *, after: str = "", limit: int = 100
    ) -> Page[StoredFixture]:
        """Return a repository's data sets by path."""
        return await self._fixtures.page(tenant, after=after, limit=limit)

    async def all_reports(
        self, tenant: str, *, after: str = "", limit: int = 100
    ) -> Page[StoredReport]:
        """Return a repository's test reports."""
        return await self._reports.page(tenant, after=after, limit=limit)

    async def reports_of(self, tenant: str, run_id: str) -> Sequence[StoredReport]:
        """Return the test reports of one run."""
        return [report async for report in self._reports.all(tenant, run_id)]
