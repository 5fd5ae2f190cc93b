"""Messages that ask for nothing: ``python -m benchmarks.messages URL`` is a worker that takes them.

It claims until its standard input ends, then prints how long each message had waited.
"""

import asyncio
import json
import os
import sys
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import uvloop

from pipelines.orchestration.bus.base import MessageBus
from pipelines.orchestration.bus.open import open_bus
from pipelines.ports import Batch, Message
from pipelines.stores.open import open_backend
from pipelines.system import SystemClock

CLOCK = SystemClock()
SLOTS = 16


@asynccontextmanager
async def opened(url: str) -> AsyncGenerator[MessageBus]:
    """Open the bus of one process."""
    store = open_backend(url, CLOCK)
    bus = open_bus(store, CLOCK, worker=f"bench/{os.getpid()}")
    await bus.start()
    try:
        yield bus
    finally:
        await bus.close()
        await store.close()


def message(number: int, tenant: int = 0) -> Message:
    """Return a message that says when it was sent, on the clock that processes share."""
    return Message(
        id=f"m/{number}",
        queue="bench",
        tenant=f"1/{tenant}",
        body={"at": time.monotonic()},
        enqueued_at=CLOCK.now(),
    )


async def consume(bus: MessageBus, waited: list[float]) -> None:
    """Claim and settle until cancelled, noting how many seconds each message had waited."""
    while True:
        leases = await bus.claim(["bench"], limit=SLOTS, wait=5.0, lease=60.0)
        now = time.monotonic()
        waited += [now - float(str(lease.message.body["at"])) for lease in leases]
        await asyncio.gather(*(bus.commit(Batch(settled=[lease])) for lease in leases))


@asynccontextmanager
async def here(bus: MessageBus, waited: list[float]) -> AsyncGenerator[None]:
    """Work in this process while the context is open."""
    working = asyncio.create_task(consume(bus, waited))
    try:
        yield
    finally:
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)


async def work(url: str) -> None:
    """Work until standard input ends."""
    waited: list[float] = []
    async with opened(url) as bus, here(bus, waited):
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.read)
    print(json.dumps(waited))


if __name__ == "__main__":
    uvloop.run(work(sys.argv[1]))
