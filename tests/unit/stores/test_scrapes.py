"""Scrapes of a service outlive the process that made them, and stay with their repository."""

from datetime import timedelta

from pipelines.integrations.observability.samples import Scrape
from pipelines.orchestration.scrapes import StoredScrapes
from pipelines.stores.memory import MemoryBackend
from tests.support.clock import EPOCH, VirtualClock


async def test_scrapes_come_back_in_order_and_only_to_their_own_repository() -> None:
    store = MemoryBackend(VirtualClock())
    mine, theirs = StoredScrapes(store, "7/42"), StoredScrapes(store, "7/43")
    scrapes = [Scrape(at=EPOCH.timestamp() + 15.25 * n, values={"up": float(n)}) for n in range(6)]
    for scrape in (*reversed(scrapes), scrapes[2]):
        await mine.add("staging", scrape)
    await mine.add("production", Scrape(at=EPOCH.timestamp(), up=False))

    span = {"start": EPOCH + timedelta(seconds=15.25), "end": EPOCH + timedelta(seconds=61)}
    assert await mine.range("staging", **span) == scrapes[1:5]
    (gap,) = await mine.range("production", start=EPOCH, end=EPOCH)
    assert not gap.up
    assert await theirs.range("staging", **span) == []
