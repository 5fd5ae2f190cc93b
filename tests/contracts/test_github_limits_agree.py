"""Both keepers of GitHub's limits decide alike, whatever happens in whatever order."""

import random
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest

from bot.github.errors import Limit
from bot.github.local_limits import LocalLedger
from bot.github.shared_limits import RedisLedger
from bot.github.throttle import Ask, Budget, Outcome, Pace, Verdict
from pipelines.redis.connection import RedisConnection
from tests.contracts.conftest import Servers
from tests.support.clock import VirtualClock

TICK = 1 / 64
"""In seconds: whole microseconds, and exact as a float."""
STEPS = 250
PACE = Pace(concurrency=4, points_per_minute=60, content_per_minute=5, content_per_hour=20)


@pytest.fixture
async def shared(clock: VirtualClock, servers: Servers) -> AsyncIterator[RedisLedger]:
    connection = RedisConnection(servers.empty("valkey").url)
    yield RedisLedger(connection, PACE, clock=clock)
    await connection.aclose()


@dataclass
class Play:
    """Random requests that come, wait, go, end, are refused, and die."""

    rng: random.Random
    clock: VirtualClock
    local: LocalLedger
    shared: RedisLedger
    held: dict[str, Ask] = field(default_factory=dict)
    waiting: dict[str, tuple[Ask, float]] = field(default_factory=dict)
    names: int = 0

    async def step(self) -> Verdict | float:
        doings = ("come", "again", "renew", "end", "die", "pass")
        match self.rng.choices(doings, (6, 4, 2, 5, 1, 5))[0]:
            case "come":
                self.names += 1
                return await self._ask(f"place{self.names}", self._wish(), 0.0)
            case "again" if self.waiting:
                place = self.rng.choice(list(self.waiting))
                ask, since = self.waiting.pop(place)
                return await self._ask(place, ask, self.clock.monotonic() - since)
            case "renew" if self.held:
                place = self.rng.choice(list(self.held))
                await self.local.renew(self.held[place], place)
                await self.shared.renew(self.held[place], place)
            case "end" if self.held:
                place = self.rng.choice(list(self.held))
                return await self._settle(place, self.held.pop(place))
            case "die" if self.held or self.waiting:
                place = self.rng.choice([*self.held, *self.waiting])
                self.held.pop(place, None)
                self.waiting.pop(place, None)
            case _:
                pass
        ticks = self.rng.choice((1, 16, 64, 64, 200, 3000))
        await self.clock.advance(ticks * TICK)
        return 0.0

    def _wish(self) -> Ask:
        write = self.rng.random() < 0.7
        return Ask(
            self.rng.choice("aab"),
            resource=self.rng.choice(("core", "core", "graphql")),
            write=write,
            content=write and self.rng.random() < 0.4,
            urgent=write and self.rng.random() < 0.3,
            purpose=self.rng.choice(("", "one", "two", "a third")) if write else "",
        )

    async def _ask(self, place: str, ask: Ask, waited: float) -> Verdict:
        here = await self.local.admit(ask, place, waited)
        there = await self.shared.admit(ask, place, waited)
        assert (here.what, here.seconds) == (there.what, pytest.approx(there.seconds, abs=1e-4))
        if here.what == "go":
            self.held[place] = ask
        else:
            assert here.reason == there.reason
        if here.what == "wait":
            self.waiting[place] = (ask, self.clock.monotonic() - waited)
        return here

    async def _settle(self, place: str, ask: Ask) -> float:
        outcome = Outcome()
        if self.rng.random() < 0.5:
            left = self.rng.choice((40, 60, 4000))
            budget = Budget(ask.resource, left, 5000, 3000 * TICK)
            outcome = Outcome(budget, succeeded=True)
        if self.rng.random() < 0.06:
            wait = self.rng.choice((None, 500 * TICK))
            outcome = Outcome(outcome.budget, Limit("secondary", wait))
        here = await self.local.settle(ask, place, outcome)
        there = await self.shared.settle(ask, place, outcome)
        assert here == pytest.approx(there, abs=1e-4)
        return here


@pytest.mark.parametrize("seed", range(12))
async def test_the_books_of_one_process_and_of_many_say_the_same(
    seed: int, clock: VirtualClock, shared: RedisLedger
) -> None:
    play = Play(random.Random(seed), clock, LocalLedger(clock, PACE), shared)
    seen = [await play.step() for _ in range(STEPS)]
    verdicts = {verdict.what for verdict in seen if isinstance(verdict, Verdict)}
    assert verdicts == {"go", "wait", "park"}
