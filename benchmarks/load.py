"""A load of signed deliveries over raw keep-alive sockets, from a process of its own.

``closed`` keeps every connection busy; with a rate requests start on a schedule and their time
counts from when they were due, so that a server that stalls cannot hide it.
"""

import asyncio
import re
import sys
import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import cast
from urllib.parse import urlsplit

import uvloop

from bot.deliveries.signature import signature
from pipelines.model import Frozen

MARK = b"#0000000000#"
"""In the body's text; each request has its own number there."""
ANSWER_SECONDS = 30.0
_LENGTH = re.compile(rb"(?i)\r\ncontent-length: (\d+)")


class Order(Frozen):
    """What to send where; ``first`` numbers the first delivery, so that none comes twice."""

    address: str
    body: Path
    secret: str
    first: int
    seconds: float
    connections: int = 32
    rate: float | None = None


class Answers(Frozen):
    """How it was answered; times in milliseconds."""

    count: int
    seconds: float
    statuses: dict[int, int]
    p50: float
    p99: float
    longest: float

    @property
    def per_second(self) -> float:
        return self.count / self.seconds


class _Connection(asyncio.Protocol):
    """One request at a time."""

    def __init__(self, load: "_Load") -> None:
        self._load = load
        self._got = b""
        self.since = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by type

    def send(self, request: bytes, since: float) -> None:
        self.since = since
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._got += data
        head, end, rest = self._got.partition(b"\r\n\r\n")
        length = _LENGTH.search(head)
        if end and len(rest) >= (int(length[1]) if length else 0):
            self._got = b""
            self._load.answered(self, int(head[9:12]))

    def connection_lost(self, exc: Exception | None) -> None:
        self._load.lost(self)

    def close(self) -> None:
        self._transport.close()


class _Load:
    def __init__(self, order: Order, requests: Iterator[bytes]) -> None:
        self._order = order
        self._requests = requests
        self._idle: list[_Connection] = []
        self._due: deque[float] = deque()
        self._busy: set[_Connection] = set()
        self._done = asyncio.Event()
        self._over = False
        self.statuses: Counter[int] = Counter()
        self.times: list[float] = []

    async def run(self) -> float:
        """Send for as long as ordered; returns the seconds that this took."""
        where = urlsplit(self._order.address)
        loop = asyncio.get_running_loop()
        for _ in range(self._order.connections):
            _, connection = await loop.create_connection(
                lambda: _Connection(self), str(where.hostname), where.port or 80
            )
            self._idle.append(connection)
        connections, started = tuple(self._idle), time.perf_counter()
        end = started + self._order.seconds
        if self._order.rate is None:
            while self._idle:
                self._send(self._idle.pop(), time.perf_counter())
            await asyncio.sleep(self._order.seconds)
        else:
            await self._paced(self._order.rate, started, end)
        self._over = True
        if self._busy:
            async with asyncio.timeout(ANSWER_SECONDS):
                await self._done.wait()
        passed = time.perf_counter() - started
        for connection in connections:
            connection.close()
        return passed

    async def _paced(self, rate: float, started: float, end: float) -> None:
        number = 0
        while (due := started + number / rate) < end:
            number += 1
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            if self._idle:
                self._send(self._idle.pop(), due)
            else:
                self._due.append(due)

    def _send(self, connection: _Connection, since: float) -> None:
        self._busy.add(connection)
        connection.send(next(self._requests), since)

    def answered(self, connection: _Connection, status: int) -> None:
        now = time.perf_counter()
        self.times.append((now - connection.since) * 1000)
        self.statuses[status] += 1
        self._busy.discard(connection)
        if self._due:
            self._send(connection, self._due.popleft())
        elif self._order.rate is None and not self._over:
            self._send(connection, now)
        else:
            self._idle.append(connection)
            if self._over and not self._busy:
                self._done.set()

    def lost(self, connection: _Connection) -> None:
        if connection in self._busy:
            self._busy.discard(connection)
            self.statuses[0] += 1
            if self._over and not self._busy:
                self._done.set()


def requests(order: Order) -> Iterator[bytes]:
    """Yield whole requests, each with a body and a GUID of its own; signed before the start."""
    before, after = order.body.read_bytes().split(MARK)
    mark, key = b"#%010d#", order.secret.encode()
    most = int(order.seconds * (order.rate or 6000)) + order.connections
    numbers = range(order.first, order.first + most)
    signed = [signature(key, b"".join((before, mark % n, after))).encode() for n in numbers]
    length = len(before) + len(MARK) + len(after)
    head = (
        b"POST /webhooks/github HTTP/1.1\r\nHost: %s\r\nAccept: */*\r\n"
        b"Content-Type: application/json\r\nContent-Length: %d\r\n"
        b"User-Agent: GitHub-Hookshot/044aadd\r\nX-GitHub-Event: pull_request\r\n"
    ) % (urlsplit(order.address).netloc.encode(), length)
    own = b"X-GitHub-Delivery: 72d3162e-cc78-11e3-81ab-%012d\r\nX-Hub-Signature-256: %s\r\n\r\n"
    return (
        b"".join((head, own % (number, sign), before, mark % number, after))
        for number, sign in zip(numbers, signed, strict=True)
    )


def percentile(values: Sequence[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))] if values else 0.0


async def run(order: Order) -> Answers:
    load = _Load(order, requests(order))
    seconds = await load.run()
    return Answers(
        count=len(load.times),
        seconds=seconds,
        statuses=dict(load.statuses),
        p50=percentile(load.times, 0.5),
        p99=percentile(load.times, 0.99),
        longest=max(load.times, default=0.0),
    )


async def send(order: Order) -> Answers:
    """Carry the order out in a process of its own, as the server must not share its loop."""
    command = (sys.executable, "-m", "benchmarks.load", order.model_dump_json())
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    output, _ = await process.communicate()
    assert process.returncode == 0, "the load ended with an error; see above"
    return Answers.model_validate_json(output)


if __name__ == "__main__":
    print(uvloop.run(run(Order.model_validate_json(sys.argv[1]))).model_dump_json())
