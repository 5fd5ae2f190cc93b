"""pydocket on Redis: each step is a task that adds those which it made ready.

pydocket has no joins, so the counter of a join is ours. ``… worker URL NAME`` is the worker.
"""

import asyncio
import itertools
import os
import subprocess
import sys
from datetime import timedelta
from typing import Any

import redis.asyncio
from docket import CurrentDocket, Docket, Worker

from benchmarks.dag import NEEDS, ROOTS, THEN
from benchmarks.measuring import measure, tell

URL = sys.argv[2] if len(sys.argv) > 2 else ""
NAME = sys.argv[3] if len(sys.argv) > 3 else ""
counters: Any = redis.asyncio.Redis.from_url(URL) if URL else None


async def step(run: str, name: str, docket: Docket = CurrentDocket()) -> None:  # noqa: B008
    """Do nothing, and add what waited for this."""
    for then in THEN[name]:
        arrived = await counters.hincrby(f"join:{run}", then, 1)
        if arrived == len(NEEDS[then]):
            await docket.add(step, key=f"{run}/{then}")(run, then)
    if await counters.hincrby(f"join:{run}", "done", 1) == len(NEEDS):
        await counters.publish("finished", run)
        await counters.expire(f"join:{run}", 60)


async def work() -> None:
    async with Docket(name=NAME, url=URL) as docket:
        docket.register(step)
        check = timedelta(milliseconds=5)
        async with Worker(docket, concurrency=32, minimum_check_interval=check) as worker:
            await worker.run_forever()


async def main(serial: int, seconds: float) -> None:
    waiting: dict[str, asyncio.Future[None]] = {}
    numbers = itertools.count()
    async with Docket(name=NAME, url=URL) as docket, counters.pubsub() as listening:
        docket.register(step)
        await listening.subscribe("finished")

        async def hear() -> None:
            async for message in listening.listen():
                if message["type"] == "message":
                    waiting.pop(message["data"].decode()).set_result(None)

        hearing = asyncio.create_task(hear())

        async def run() -> None:
            number = f"{os.getpid()}-{next(numbers)}"
            done = waiting[number] = asyncio.get_running_loop().create_future()
            for name in ROOTS:
                await docket.add(step, key=f"{number}/{name}")(number, name)
            await done

        tell(await measure(run, serial=serial, seconds=seconds))
        hearing.cancel()


if __name__ == "__main__":
    if sys.argv[1] == "worker":
        asyncio.run(work())
    else:
        command = [sys.executable, "-m", "benchmarks.peers.docket_redis", "worker", URL, NAME]
        with subprocess.Popen(command) as worker:
            try:
                asyncio.run(main(int(sys.argv[4]), float(sys.argv[5])))
            finally:
                worker.kill()
