"""A bare engine on Redis Streams and Lua: coordinator, a stream an agent, worker, nothing else.

``python -m benchmarks.floors.streams URL`` is the worker. Every transition is one script, and what
it makes ready is in the agents' streams when it returns.
"""

import asyncio
import itertools
import os
import sys
from typing import Any, cast

from redis.asyncio import BlockingConnectionPool, Redis

from benchmarks.dag import NEEDS, RESULT, THEN

TAG = "{floor}"
RESULTS = f"{TAG}:results"
GROUP = "workers"
SLOTS = 32
STREAMS = {f"{TAG}:agent:{step}".encode(): step for step in NEEDS}

_START = """
for i = 2, #ARGV, 3 do
  redis.call('HSET', KEYS[1], ARGV[i] .. ':missing', ARGV[i + 1], ARGV[i] .. ':state', '0')
  if ARGV[i + 1] == '0' then
    redis.call('XADD', ARGV[i + 2], '*', 'run', ARGV[1], 'step', ARGV[i])
  end
end
"""
_COMPLETE = """
redis.call('XACK', KEYS[2], 'coordinators', ARGV[1])
redis.call('XDEL', KEYS[2], ARGV[1])
if redis.call('HGET', KEYS[1], ARGV[3] .. ':state') ~= '0' then return -1 end
redis.call('HSET', KEYS[1], ARGV[3] .. ':state', '2', ARGV[3] .. ':result', ARGV[4])
for i = 5, #ARGV, 2 do
  if redis.call('HINCRBY', KEYS[1], ARGV[i] .. ':missing', -1) == 0 then
    redis.call('XADD', ARGV[i + 1], '*', 'run', ARGV[2], 'step', ARGV[i])
  end
end
return redis.call('HINCRBY', KEYS[1], 'done', 1)
"""


def connect(url: str) -> "Redis":
    pool: Any = cast("Any", BlockingConnectionPool).from_url(
        url, max_connections=64, socket_timeout=10, protocol=2
    )
    return Redis.from_pool(pool)


async def prepare(redis: "Redis") -> None:
    for stream in STREAMS:
        await redis.xgroup_create(stream, GROUP, id="0", mkstream=True)
    await redis.xgroup_create(RESULTS, "coordinators", id="0", mkstream=True)


class Floor:
    """The coordinator: starts runs and takes the worker's results."""

    def __init__(self, url: str) -> None:
        self._redis, self._reading = connect(url), connect(url)
        self._start = self._redis.register_script(_START)
        self._complete = self._redis.register_script(_COMPLETE)
        self._numbers = itertools.count(1)
        self._waiting: dict[bytes, asyncio.Future[None]] = {}
        self._closing = False
        self._reader = asyncio.create_task(self._read())

    async def run(self) -> None:
        run = str(next(self._numbers)).encode()
        done = self._waiting[run] = asyncio.get_running_loop().create_future()
        steps = [(step, len(needs), _stream(step)) for step, needs in NEEDS.items()]
        await self._start([f"{TAG}:run:{run.decode()}"], [run, *itertools.chain(*steps)])
        await done

    async def _read(self) -> None:
        me: dict[Any, Any] = {RESULTS: ">"}
        while not self._closing:
            found = await self._reading.xreadgroup("coordinators", "c", me, count=64, block=1000)
            for _, entries in cast("list[Any]", found):
                await asyncio.gather(*(self._take(entry, fields) for entry, fields in entries))

    async def _take(self, entry: bytes, fields: dict[bytes, bytes]) -> None:
        run, step = fields[b"run"], fields[b"step"].decode()
        then = itertools.chain(*((after, _stream(after)) for after in THEN[step]))
        keys = [f"{TAG}:run:{run.decode()}", RESULTS]
        done = await self._complete(keys, [entry, run, step, fields[b"result"], *then])
        if done == len(NEEDS):
            await self._redis.expire(keys[0], 60)
            self._waiting.pop(run).set_result(None)

    async def close(self) -> None:
        self._closing = True  # redis-py may swallow a cancellation, so the block is waited out
        await self._reader
        await self._redis.aclose()
        await self._reading.aclose()


def _stream(step: str) -> str:
    return f"{TAG}:agent:{step}"


async def work(url: str) -> None:
    """Take steps and hand in results; an entry leaves its stream with its result."""
    redis, reading = connect(url), connect(url)
    me = str(os.getpid())
    wanted: dict[Any, Any] = dict.fromkeys(STREAMS, ">")

    async def one(stream: bytes, entry: bytes, fields: dict[bytes, bytes]) -> None:
        async with redis.pipeline(transaction=True) as pipe:
            pipe.xadd(RESULTS, {**fields, b"result": RESULT})
            pipe.xack(stream, GROUP, entry)
            pipe.xdel(stream, entry)
            await pipe.execute()

    print("ready", flush=True)
    while True:
        found = await reading.xreadgroup(GROUP, me, wanted, count=SLOTS // 4, block=1000)
        work = [
            one(stream, *entry) for stream, entries in cast("list[Any]", found) for entry in entries
        ]
        await asyncio.gather(*work)


if __name__ == "__main__":
    asyncio.run(work(sys.argv[1]))
