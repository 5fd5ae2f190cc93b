"""A connection that ends after the write: the caller is told what became of it, and it is once."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from pipelines.errors import Conflict, NotStored
from pipelines.orchestration.bus.streams import RedisBus
from pipelines.ports import ABSENT, Append, Batch, Write
from pipelines.redis.failures import Unanswered
from pipelines.stores.redis import RedisBackend
from tests.contracts.conftest import Stores, over
from tests.contracts.make import message
from tests.support.proxy import Proxy, proxy_before

FEW = (0.0, 0.0, 0.0)


@pytest.fixture
async def proxy(shared: Stores) -> AsyncIterator[Proxy]:
    assert shared.server
    async with proxy_before(shared.server.host, shared.server.port) as proxy:
        yield proxy


@pytest.fixture
async def cut(shared: Stores, proxy: Proxy) -> AsyncIterator[RedisBackend]:
    """A storage behind the proxy, with its scripts loaded."""
    backend = over(f"redis://127.0.0.1:{proxy.port}/0", shared.clock, FEW)
    await backend.commit(Batch())
    yield backend
    await backend.close()


@pytest.fixture
async def bus(shared: Stores, cut: RedisBackend) -> AsyncIterator[RedisBus]:
    bus = RedisBus(cut, cut.keyspace, shared.clock, "worker")
    await bus.start()
    yield bus
    await bus.close()


def everything(identity: str = "m") -> Batch:
    return Batch(
        writes=[Write("a", b"1", expect=ABSENT)],
        appends=[Append("log", b"x")],
        messages=[message(identity)],
    )


@pytest.mark.parametrize("losses", [1, 2, 3])
async def test_a_commit_whose_answers_were_lost_is_stored_once_and_says_so(
    shared: Stores, proxy: Proxy, cut: RedisBackend, losses: int
) -> None:
    proxy.answers_to_lose = losses
    await cut.commit(everything())
    await see_it_once(shared)
    assert proxy.answers_to_lose == 0


async def test_a_request_that_was_cut_in_half_is_sent_again(
    shared: Stores, proxy: Proxy, cut: RedisBackend
) -> None:
    proxy.requests_to_lose = 2
    await cut.commit(everything())
    await see_it_once(shared)


async def test_every_caller_of_a_group_gets_its_own_answer(
    shared: Stores, proxy: Proxy, cut: RedisBackend
) -> None:
    await cut.commit(Batch(writes=[Write("k/3", b"")]))
    proxy.answers_to_lose = 1
    batches = [Batch(writes=[Write(f"k/{n}", b"", expect=ABSENT)]) for n in range(8)]
    outcomes = await asyncio.gather(*map(cut.commit, batches), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [
        Conflict if n == 3 else type(None) for n in range(8)
    ]
    found = [record.version async for _, record in shared.open().scan("k/")]
    assert found == [1] * 8


async def test_only_when_the_server_stays_away_the_end_is_unknown(
    shared: Stores, proxy: Proxy, cut: RedisBackend
) -> None:
    proxy.answers_to_lose = 100
    with pytest.raises(Unanswered, match="unknown"):
        await cut.commit(everything())
    proxy.answers_to_lose = 0
    await see_it_once(shared)
    with pytest.raises(Conflict):
        await cut.commit(everything("another"))


async def test_what_was_never_sent_is_plainly_not_stored(
    shared: Stores, proxy: Proxy, cut: RedisBackend
) -> None:
    assert shared.server
    shared.server.command("CLIENT", "KILL", "TYPE", "normal")
    away = over("redis://127.0.0.1:1/0", shared.clock, FEW)
    with pytest.raises(NotStored) as caught:
        await away.commit(everything())
    assert not isinstance(caught.value, Unanswered)
    await away.close()


async def test_a_claim_whose_answer_was_lost_has_the_leases_it_was_given(
    shared: Stores, proxy: Proxy, bus: RedisBus
) -> None:
    await bus.commit(Batch(messages=[message(f"m{n}") for n in range(5)]))
    await bus.claim(["elsewhere"], limit=1, wait=0, lease=60)
    proxy.answers_to_lose = 1
    leases = await bus.claim(["deliveries"], limit=3, wait=0, lease=60)
    assert proxy.answers_to_lose == 0
    assert [(lease.message.id, lease.token) for lease in leases] == [
        ("m0", 1),
        ("m1", 1),
        ("m2", 1),
    ]
    rest = await bus.claim(["deliveries"], limit=5, wait=0, lease=60)
    assert [lease.message.id for lease in rest] == ["m3", "m4"]
    await bus.commit(Batch(settled=[*leases, *rest]))
    assert await bus.depth() == {}


async def test_a_renewal_and_a_release_whose_answers_were_lost_are_true(
    shared: Stores, proxy: Proxy, bus: RedisBus
) -> None:
    await bus.commit(Batch(messages=[message("m")]))
    (lease,) = await bus.claim(["deliveries"], limit=1, wait=0, lease=60)
    proxy.answers_to_lose = 1
    lease = await bus.renew(lease, 90)
    assert lease.expires_at == 90
    proxy.answers_to_lose = 1
    await bus.release(lease)
    (again,) = await bus.claim(["deliveries"], limit=1, wait=0, lease=60)
    assert again.token == 2


@pytest.mark.parametrize("way", ["settle", "bury"])
async def test_an_end_whose_answer_was_lost_is_no_lost_lease(
    shared: Stores, proxy: Proxy, bus: RedisBus, way: str
) -> None:
    await bus.commit(Batch(messages=[message("m")]))
    (lease,) = await bus.claim(["deliveries"], limit=1, wait=0, lease=60)
    proxy.answers_to_lose = 1
    await (bus.commit(Batch(settled=[lease])) if way == "settle" else bus.bury(lease, "why"))
    assert await bus.depth() == {}


async def test_a_server_killed_under_load_keeps_what_it_acknowledged_and_nothing_twice(
    shared: Stores,
) -> None:
    """Every commit counts one up and adds one item: both tell how often it was carried out."""
    assert shared.server
    backend = shared.open()
    stored = 0
    marks = {80: asyncio.Event(), 200: asyncio.Event()}

    async def count_up(lane: int) -> None:
        nonlocal stored
        for n in range(40):
            batch = Batch(
                writes=[Write(f"count/{lane}", b"", expect=n)],
                appends=[Append(f"log/{lane}", b"%d" % n)],
            )
            while True:
                try:
                    await backend.commit(batch)
                    break
                except Unanswered:
                    raise
                except NotStored:
                    await asyncio.sleep(0.01)
            stored += 1
            if stored in marks:
                marks[stored].set()

    lanes = asyncio.gather(*(count_up(lane) for lane in range(8)))
    for mark in marks.values():
        await mark.wait()
        # Not in a thread: the server would end with it.
        shared.server.restart()
    await lanes
    for lane in range(8):
        record = await backend.get(f"count/{lane}")
        assert record is not None
        assert record.version == 40
        items = await backend.read_log(f"log/{lane}")
        assert [int(item) for _, item in items] == list(range(40))


async def see_it_once(shared: Stores) -> None:
    other = shared.open()
    record = await other.get("a")
    assert record is not None
    assert record.version == 1
    assert await other.read_log("log") == [(1, b"x")]
    assert await other.messages() == [message("m")]
