"""What several processes decide at once on one store: whose turn it is, who fires a schedule."""

import asyncio

from bot.intake.schedules import PREFIX, Scheduled, ScheduleRecord, Schedules
from pipelines.ports import Batch, Write
from pipelines.stores.codec import encode
from tests.contracts.conftest import Stores
from tests.support.clock import EPOCH
from tests.support.samples import REPOSITORY
from tests.unit.orchestration.test_concurrency import Office


async def test_of_runs_that_two_processes_start_at_once_one_works_and_one_waits(
    stores: Stores,
) -> None:
    backend = stores.open()
    buses = [stores.bus(backend) for _ in range(2)]
    offices = [Office(backend, stores.clock, seed, bus) for seed, bus in enumerate(buses)]
    started: list[str] = []
    for turn in range(4):
        names = [f"w{turn}-{number}" for number in range(2)]
        starts = (office.start(name) for office, name in zip(offices, names, strict=True))
        started += await asyncio.gather(*starts)
        standing = await offices[0].standing(*started)
        assert sorted(state for state in standing if state != "cancelled") == ["waits", "works"]

    for office in offices:
        standing = await office.standing(*started)
        await office.finish(started[standing.index("works")])
    ended = await offices[0].standing(*started)
    assert sorted(ended) == ["cancelled"] * 6 + ["success"] * 2
    for bus in buses:
        await bus.close()


async def test_of_three_workers_that_look_at_once_one_fires_a_schedule(stores: Stores) -> None:
    backend, clock = stores.open(), stores.clock
    buses = [stores.bus(backend) for _ in range(3)]
    workers = [Schedules(backend, bus, clock) for bus in buses]
    hourly = Scheduled(workflow="nightly", cron="0 * * * *", fired=EPOCH)
    record = ScheduleRecord(repository=REPOSITORY, scheduled=(hourly,), read_at=EPOCH)
    place = f"{PREFIX}{REPOSITORY.tenant}"
    await backend.commit(Batch(writes=[Write(place, encode(record))]))
    for passed in range(1, 4):
        await clock.advance(3600)
        await asyncio.gather(*(worker.sweep() for worker in workers))
        assert len(await backend.messages()) == passed
    for bus in buses:
        await bus.close()
