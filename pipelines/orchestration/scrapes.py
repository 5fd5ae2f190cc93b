"""What was read off the metrics pages of one repository's services, in Logs & Metrics."""

from collections.abc import Sequence
from datetime import UTC, datetime

from pipelines.integrations.observability.samples import SampleStore, Scrape
from pipelines.ports import Batch
from pipelines.stores.backend import StorageBackend
from pipelines.stores.logs import LogsAndMetrics, MetricsPage


class StoredScrapes(SampleStore):
    """Remembers scrapes of one tenant at once: they belong to no transition."""

    def __init__(self, backend: StorageBackend, tenant: str) -> None:
        self._backend = backend
        self._logs = LogsAndMetrics(backend)
        self._tenant = tenant

    async def add(self, environment: str, scrape: Scrape) -> None:
        """Keep one scrape; the same moment again replaces it."""
        at = datetime.fromtimestamp(scrape.at, UTC)
        page = MetricsPage(at=at, up=scrape.up, values=scrape.values)
        write = self._logs.page(self._tenant, environment, page)
        await self._backend.commit(Batch(writes=[write]))

    async def range(self, environment: str, *, start: datetime, end: datetime) -> Sequence[Scrape]:
        """Return the scrapes with ``start <= at <= end``, oldest first."""
        pages = await self._logs.pages(self._tenant, environment, start, end)
        return [
            Scrape(at=page.at.timestamp(), up=page.up, values=dict(page.values)) for page in pages
        ]
