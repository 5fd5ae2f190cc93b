"""What was answered with 202 is on record, whatever the load, the senders, the logs and the store.

Everything here goes over HTTP to the real web application.
"""

import asyncio
import contextlib
import io
import json
import os
import random
import resource
import uuid
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Generator, Sequence
from pathlib import Path
from typing import TextIO

import aiohttp
import pytest

from bot.deliveries.delivery import Delivery, DeliveryStatus
from bot.redactor import Redactor
from bot.telemetry import Metrics, logging_to
from pipelines.orchestration.bus.base import MessageBus
from pipelines.orchestration.bus.local import LocalBus
from pipelines.orchestration.bus.open import open_bus
from pipelines.orchestration.state import BusJournal
from pipelines.redis.connection import RedisConnection
from pipelines.redis.keyspace import Keyspace
from pipelines.stores.backend import StorageBackend
from pipelines.stores.redis import RedisBackend
from pipelines.stores.sqlite import SqliteBackend
from pipelines.system import SystemClock
from tests.support import valkey
from tests.support.edge import Edge, headers, running_edge

SENDERS = 32
MIB = 1 << 20


def bodies(count: int, rng: random.Random) -> list[bytes]:
    """Most of some kilobytes, one in a hundred and fifty of up to two mebibytes."""
    filler = "x" * (2 * MIB)
    sizes = (rng.randrange(5_000, 30_000) for _ in range(count))
    large = {n: rng.randrange(MIB, 2 * MIB) for n in range(0, count, 150)}
    return [
        json.dumps({"n": n, "text": filler[: large.get(n, size)]}).encode()
        for n, size in enumerate(sizes)
    ]


async def sent(edge: Edge, all_bodies: Sequence[bytes], senders: int = SENDERS) -> dict[str, int]:
    """Deliver each body once over keep-alive connections; return each GUID's status."""
    url = f"http://{edge.address.host}:{edge.address.port}/webhooks/github"
    waiting = iter([(str(uuid.UUID(int=n)), body) for n, body in enumerate(all_bodies)])
    statuses: dict[str, int] = {}

    async def send(client: aiohttp.ClientSession) -> None:
        for guid, body in waiting:
            head = headers(body, X_GitHub_Delivery=guid)
            async with client.post(url, data=io.BytesIO(body), headers=head) as answer:
                statuses[guid] = answer.status

    async with aiohttp.ClientSession() as client:
        await asyncio.gather(*(send(client) for _ in range(senders)))
    return statuses


async def on_record(store: StorageBackend, statuses: dict[str, int]) -> Counter[int]:
    """Assert that what was answered with 202 is stored and queued, and what was refused is not.

    A 503 says that storing took too long to wait for; it may have come to its end since.
    """
    accepted = {guid for guid, status in statuses.items() if status == 202}
    late = {guid for guid, status in statuses.items() if status == 503}
    records = [Delivery.model_validate_json(s.value) async for _, s in store.scan("delivery/")]
    stored = {record.guid for record in records}
    assert accepted <= stored <= accepted | late
    assert {record.status for record in records} <= {DeliveryStatus.ACCEPTED}
    queued = Counter(message.id for message in await store.messages())
    assert queued == Counter({f"delivery/{guid}": 1 for guid in stored})
    return Counter(statuses.values())


async def test_six_thousand_deliveries_of_all_sizes_are_all_stored(tmp_path: Path) -> None:
    clock = SystemClock()
    store = SqliteBackend(tmp_path / "conductor.db", clock)
    bus = LocalBus(store, clock)
    await bus.start()
    async with running_edge(journal=BusJournal(store, bus)) as edge:
        statuses = await sent(edge, bodies(6_000, random.Random(1)))
    answers = await on_record(store, statuses)
    print(f"R01: 6,000 signed deliveries of 5 KB to 2 MB, answered {dict(answers)}, 0 lost")
    assert answers[202] + answers[503] == 6_000
    assert answers[202] > 5_000, "an edge that refuses is no edge"
    await bus.close()
    await store.close()


@pytest.fixture
def many_files() -> Generator[None]:
    """As many open files as the system lets us have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


BEGINNINGS = (
    b"",
    b"POST /webhooks/github HTTP/1.1\r\nHost: a\r\nX-Slow: ",
    b"POST /webhooks/github HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n"
    b"Content-Type: application/json\r\nX-Hub-Signature-256: sha256=" + b"0" * 64 + b"\r\n\r\n{",
)


@contextlib.asynccontextmanager
async def slow_senders(edge: Edge, count: int) -> AsyncGenerator[list[asyncio.StreamReader]]:
    """Connections that began a request, or not even that, and do not go on."""
    opened = [
        await asyncio.open_connection(edge.address.host, edge.address.port) for _ in range(count)
    ]
    for number, (_, writer) in enumerate(opened):
        writer.write(BEGINNINGS[number % len(BEGINNINGS)])
        await writer.drain()
    yield [reader for reader, _ in opened]
    for _, writer in opened:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


@pytest.mark.usefixtures("many_files")
async def test_five_hundred_slow_senders_keep_no_delivery_out() -> None:
    async with running_edge() as edge, slow_senders(edge, 500) as slow:
        statuses = await sent(edge, bodies(200, random.Random(2)))
        held = sum(not reader.at_eof() for reader in slow)
        answers = await on_record(edge.store, statuses)
    print(f"R22: beside {held} slow connections 200 deliveries were answered {dict(answers)}")
    assert held == 500, "the senders must have been there all the time"
    assert answers == {202: 200}


@contextlib.contextmanager
def full_disk() -> Generator[TextIO]:
    """A file on a device without room."""
    sink = Path("/dev/full").open("w")  # noqa: SIM115 (closing it fails, as its disk is full)
    yield sink
    with contextlib.suppress(OSError):
        sink.close()


@contextlib.contextmanager
def blocked_pipe() -> Generator[TextIO]:
    """A pipe that nobody reads; once it is full, whoever writes to it waits."""
    reading, writing = os.pipe()
    sink = os.fdopen(writing, "w")
    yield sink
    os.close(reading)
    with contextlib.suppress(OSError):
        sink.close()


@pytest.mark.parametrize("sink", [full_disk, blocked_pipe])
async def test_no_delivery_is_lost_though_no_log_line_can_be_written(
    sink: Callable[[], contextlib.AbstractContextManager[TextIO]],
) -> None:
    metrics, redactor = Metrics(), Redactor()
    with (
        sink() as stream,
        logging_to(stream, level="INFO", log_format="json", redactor=redactor, metrics=metrics),
    ):
        async with running_edge() as edge:
            statuses = await sent(edge, [b'{"n": %d}' % n for n in range(1_000)])
            answers = await on_record(edge.store, statuses)
    print(f"R33: logs into a {sink.__name__}: 1,000 deliveries were answered {dict(answers)}")
    assert answers == {202: 1_000}


@contextlib.asynccontextmanager
async def over(server: valkey.Server) -> AsyncGenerator[tuple[RedisBackend, MessageBus]]:
    """Store and bus of one process on the server."""
    store = RedisBackend(Keyspace(RedisConnection(server.url)))
    bus = open_bus(store, SystemClock(), "web")
    await bus.start()
    try:
        yield store, bus
    finally:
        await bus.close()
        await store.close()


@pytest.mark.parametrize("kind", ["valkey", "redis"])
async def test_a_full_server_costs_answers_and_no_delivery_and_takes_again_when_there_is_room(
    kind: str,
) -> None:
    if kind not in valkey.binaries():
        pytest.skip(f"there is no {kind} server on this machine")
    with valkey.running(binary=valkey.binaries()[kind]) as server:
        async with (
            over(server) as (store, bus),
            running_edge(journal=BusJournal(store, bus)) as edge,
        ):
            used = int(server.info("memory")["used_memory"])
            server.command("CONFIG", "SET", "maxmemory", used + 2 * MIB)
            all_bodies = bodies(400, random.Random(3))
            statuses = await sent(edge, all_bodies)
            full = await on_record(store, statuses)
            server.command("CONFIG", "SET", "maxmemory", 0)
            statuses |= await sent(edge, all_bodies)
            after = Counter(statuses.values())
        print(f"R15: {kind} with 2 MiB of room: {dict(full)}; as soon as there was more: {after}")
        assert set(full) == {202, 503}
        assert set(after) == {200, 202}
