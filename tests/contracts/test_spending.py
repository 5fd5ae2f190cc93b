"""What model calls cost is added up exactly, over all processes, and without reading it again."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import pytest

from pipelines.model import Change, Usage
from pipelines.orchestration import keys
from pipelines.orchestration.spending import SpendingLedger
from pipelines.ports import Batch, Versioned, Write
from pipelines.stores.backend import StorageBackend
from tests.support.clock import EPOCH, VirtualClock
from tests.support.forge import Faults
from tests.support.samples import REPOSITORY, a_change, a_run
from tests.support.world import FaultyBackend

TODAY = keys.day_of(EPOCH)
COST = Usage(calls=1, cost_usd=0.25)


class Counted(FaultyBackend):
    """A store that counts the records it is asked to read."""

    def __init__(self, inner: StorageBackend) -> None:
        super().__init__(inner, Faults())
        self.read = 0

    async def get(self, key: str) -> Versioned | None:
        self.read += 1
        return await super().get(key)

    async def scan(self, prefix: str, *, after: str = "") -> AsyncIterator[tuple[str, Versioned]]:
        async for found in super().scan(prefix, after=after):
            self.read += 1
            yield found


class Off(VirtualClock):
    """A machine's clock that differs from the others'."""

    def __init__(self, clock: VirtualClock, seconds: float) -> None:
        super().__init__()
        self._clock = clock
        self._off = timedelta(seconds=seconds)

    def now(self) -> datetime:
        return self._clock.now() + self._off


def change(repository: int) -> Change:
    return a_change(repository=REPOSITORY.model_copy(update={"id": repository}))


@dataclass
class Runs:
    """Runs that each cost something once, and what those cost that are stored."""

    clock: VirtualClock
    backend: StorageBackend
    number: int = 0
    stored: Counter[str] = field(default_factory=Counter)
    """How many calls each tenant has paid for."""

    def prepare(self, ledger: SpendingLedger, repository: int = 1) -> tuple[str, list[Write]]:
        self.number += 1
        run = a_run(id=f"run-{self.number:05}", change=change(repository), usage=COST)
        return run.change.repository.tenant, ledger.write(None, run)

    async def store(self, tenant: str, writes: Sequence[Write]) -> None:
        await self.backend.commit(Batch(writes=writes))
        self.stored[tenant] += 1

    async def happen(self, ledger: SpendingLedger, repository: int = 1) -> None:
        await self.store(*self.prepare(ledger, repository))


@pytest.fixture
def runs(clock: VirtualClock, backend: StorageBackend) -> Runs:
    return Runs(clock, backend)


def calls(totals: Mapping[str, Usage]) -> dict[str, int]:
    for usage in totals.values():
        assert usage.cost_usd == usage.calls * COST.cost_usd
    return {tenant: usage.calls for tenant, usage in totals.items()}


async def test_no_more_is_read_the_more_runs_there_were(
    runs: Runs, backend: StorageBackend, clock: VirtualClock
) -> None:
    mine, others = Counted(backend), Counted(backend)
    ledger, elsewhere = SpendingLedger(mine, clock), SpendingLedger(others, clock)
    for number in range(150):
        await runs.happen(ledger, number % 3)
        for store, asked in ((mine, ledger), (others, elsewhere)):
            store.read = 0
            assert calls(await asked.totals(TODAY)) == runs.stored
            assert store.read <= 3
        await clock.advance(1)
    mine.read = 0
    assert calls(await ledger.totals(TODAY)) == runs.stored
    assert mine.read == 1


async def test_a_process_that_starts_reads_a_day_once(
    runs: Runs, backend: StorageBackend, clock: VirtualClock
) -> None:
    for _ in range(40):
        await runs.happen(SpendingLedger(backend, clock))
        await clock.advance(20)
    store = Counted(backend)
    started = SpendingLedger(store, clock)
    assert calls(await started.totals(TODAY)) == runs.stored
    assert 40 <= store.read <= 43
    await asyncio.gather(*(started.totals(TODAY) for _ in range(10)))
    assert store.read <= 53


async def test_what_is_stored_late_is_found_among_what_was_read(
    runs: Runs, backend: StorageBackend, clock: VirtualClock
) -> None:
    ledger = SpendingLedger(backend, clock)
    late = [runs.prepare(ledger, repository) for repository in (1, 2)]
    for _ in range(3):
        await clock.advance(60)
        await runs.happen(ledger)
        assert calls(await ledger.totals(TODAY)) == runs.stored
    # One comes late by itself, one in the same moment as a newer one.
    await runs.store(*late[0])
    assert calls(await ledger.totals(TODAY)) == runs.stored
    await runs.store(*late[1])
    await runs.happen(ledger)
    assert calls(await ledger.totals(TODAY)) == runs.stored


@pytest.mark.parametrize("seed", range(6))
async def test_it_is_exact_in_every_process_whatever_their_clocks_say(
    seed: int, runs: Runs, backend: StorageBackend, clock: VirtualClock
) -> None:
    rng = random.Random(seed)
    ledgers = [SpendingLedger(backend, Off(clock, rng.uniform(-40, 40))) for _ in range(3)]
    for _ in range(5):
        await runs.happen(rng.choice(ledgers))
        assert calls(await ledgers[0].totals(TODAY)) == runs.stored
        await clock.advance(200)
    under_way = list[tuple[str, list[Write]]]()
    for _ in range(120):
        match rng.choice(("begin", "store", "ask", "pass")):
            case "begin":
                under_way.append(runs.prepare(rng.choice(ledgers), rng.randrange(3)))
            case "store" if under_way:
                await runs.store(*under_way.pop(rng.randrange(len(under_way))))
            case "ask":
                assert calls(await rng.choice(ledgers).totals(TODAY)) == runs.stored
            case _:
                await clock.advance(rng.choice((0.001, 1, 10)))
    for ledger in ledgers:
        assert calls(await ledger.totals(TODAY)) == runs.stored


async def test_what_was_stored_before_the_question_is_in_the_answer(
    runs: Runs, backend: StorageBackend, clock: VirtualClock
) -> None:
    ledgers = [SpendingLedger(backend, clock) for _ in range(2)]

    async def ask(ledger: SpendingLedger) -> None:
        before = runs.stored.total()
        answer = sum(calls(await ledger.totals(TODAY)).values())
        assert before <= answer <= runs.number

    for _ in range(20):
        await asyncio.gather(
            *(runs.happen(ledger) for ledger in ledgers * 2),
            *(ask(ledger) for ledger in ledgers * 2),
        )
        await clock.advance(0.01)
    for ledger in ledgers:
        assert calls(await ledger.totals(TODAY)) == runs.stored


async def test_records_that_went_or_were_never_counted_make_it_neither_wrong_nor_slow(
    runs: Runs, backend: StorageBackend, clock: VirtualClock
) -> None:
    ledger = SpendingLedger(backend, clock)
    for repository in (1, 2, 2):
        await runs.happen(ledger, repository)
        await clock.advance(1)
    deleted = [key async for key, _ in backend.scan(keys.spending_prefix(TODAY)) if "/7/2/" in key]
    await backend.commit(Batch(writes=[Write(key, None) for key in deleted]))
    del runs.stored["7/2"]
    store = Counted(backend)
    restarted = SpendingLedger(store, clock)
    assert calls(await restarted.totals(TODAY)) == runs.stored

    tenant, (record, _) = runs.prepare(ledger, 3)
    await runs.store(tenant, [record])
    for _ in range(3):
        await clock.advance(1)
        await runs.happen(ledger)
        assert calls(await restarted.totals(TODAY)) == runs.stored
    store.read = 0
    assert calls(await restarted.totals(TODAY)) == runs.stored
    assert store.read == 1


async def test_each_day_is_counted_by_itself(
    runs: Runs, backend: StorageBackend, clock: VirtualClock
) -> None:
    ledger = SpendingLedger(backend, clock)
    await runs.happen(ledger)
    await clock.advance(24 * 3600)
    tomorrow = keys.day_of(clock.now())
    assert await ledger.totals(tomorrow) == {}
    await runs.happen(ledger, 2)
    assert calls(await ledger.totals(tomorrow)) == {"7/2": 1}
    assert calls(await ledger.totals(TODAY)) == {"7/1": 1}
