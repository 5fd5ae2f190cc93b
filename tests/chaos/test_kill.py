"""``conductor serve`` is killed at any moment, again and again: nothing is lost, nothing doubled.

The moments are counted in what happens (the n-th request that GitHub answers, the n-th line of the
log), so a seed names a moment and not a machine's speed. A request kills before its answer is sent:
GitHub has done it, and Conductor never learns of it.
"""

import asyncio
import os
import random
import signal
from collections import Counter
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest

from bot.deliveries.delivery import Delivery, DeliveryStatus
from bot.simulator import Exchange, NewApp, Simulator
from pipelines.stores.sqlite import SqliteBackend
from pipelines.system import SystemClock
from tests.support.houses import House, built, model_file
from tests.support.serving import Serving, environment_for

ROUNDS = int(os.environ.get("CONDUCTOR_CHAOS_ROUNDS", "3"))
"""The first is part of every test run, the others are in the lane of long scenarios."""
AT_ONCE = 3
KILLS = 2
"""A message that three workers died of is given up, for all to see; these must not be."""
HOUSES = 3
"""Organisations with an installation each: GitHub takes one write a second from every one."""
CALLS, LINES = 55, 70
"""About how many requests and log lines a round without a kill has."""
DONE_SECONDS = 90.0
DRAIN_SECONDS = 25.0

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(60 + 120 * AT_ONCE)]


@dataclass(frozen=True)
class Moment:
    """When the signal is sent, counted from the start of the process."""

    what: Literal["call", "line"]
    count: int


def moments(seed: int) -> list[Moment]:
    """Where the processes of one round are killed, one after the other."""
    rng = random.Random(seed)
    kinds: tuple[Literal["call", "line"], ...] = ("call", "call", "line")
    spread = {"call": CALLS // KILLS, "line": LINES // KILLS}
    chosen: list[Literal["call", "line"]] = [rng.choice(kinds) for _ in range(KILLS)]
    return [Moment(kind, rng.randint(1, spread[kind])) for kind in chosen]


@dataclass
class Street:
    """Several houses, one App, and a Conductor that does not live long."""

    github: Simulator
    app: NewApp
    houses: list[House]
    serving: Serving
    database: Path
    sign: signal.Signals = signal.SIGKILL
    stirred: asyncio.Event = field(default_factory=asyncio.Event)
    planned: list[Moment] = field(default_factory=list[Moment])
    met: list[Moment] = field(default_factory=list[Moment])
    seen: Counter[str] = field(default_factory=Counter[str])
    struck: bool = False

    # --- what happens is counted -----------------------------------------------------------------

    def exchange(self, exchange: Exchange) -> None:
        """Somebody asked something of GitHub, and it is done."""
        del exchange
        self.notice("call")

    def delivery(self, event: str, body: bytes) -> None:
        """GitHub is about to tell of an event."""
        del event, body
        self.stirred.set()

    def notice(self, what: Literal["call", "line"]) -> None:
        """Count, and send the signal if this was the moment."""
        self.seen[what] += 1
        self.stirred.set()
        # Who is told to stop twice stops at once, so each process is told only once.
        next_one = self.planned[0] if self.planned and not self.struck else None
        if next_one and next_one.what == what and self.seen[what] >= next_one.count:
            self.struck = True
            self.met.append(self.planned.pop(0))
            self.serving.send(self.sign)

    # --- Conductor -------------------------------------------------------------------------------

    async def start(self) -> None:
        """Start a process, tell GitHub where it is, and have it send what nobody was there for."""
        self.seen.clear()
        self.struck = False
        self.app.app.webhook_url = f"{await self.serving.start()}/webhooks/github"
        await self.github.settled()
        taken = {d.guid for d in self.github.deliveries if d.status_code in (200, 202)}
        missed = {d.guid: d for d in self.github.deliveries if d.guid not in taken}
        for delivery in missed.values():
            self.github.redeliver(delivery)

    async def until(self, condition: Callable[[], bool], what: str) -> None:
        """Keep a process running until the condition holds."""
        try:
            async with asyncio.timeout(DONE_SECONDS):
                while not condition():
                    if not self.serving.alive:
                        code = await self.serving.ended(DRAIN_SECONDS)
                        expected = -self.sign if self.sign is signal.SIGKILL else 0
                        assert code == expected, "\n".join(self.serving.log[-60:])
                        await self.start()
                    self.stirred.clear()
                    waiting = asyncio.create_task(self.stirred.wait())
                    await asyncio.wait({waiting}, timeout=0.5)
                    waiting.cancel()
        except TimeoutError:
            raise AssertionError("\n".join([f"{what}: not in time", *self._state()])) from None

    def _state(self) -> list[str]:
        """Where everything is, for whoever has to find out why it is not done."""
        lines = [f"killed at {self.met}, still planned {self.planned}"]
        return [*lines, *(house.state for house in self.houses), *self.serving.log[-60:]]

    # --- what a round is -------------------------------------------------------------------------

    async def play(self) -> None:
        """Everybody opens a pull request, waits for the review, and pushes what it asks for."""
        await self.start()
        for house in self.houses:
            await house.open()
        await self.until(self._judged, "every head is judged")
        for house in self.houses:
            await house.mend()
        await self.until(self._judged, "every fix is judged")

    def _judged(self) -> bool:
        return all(house.judged for house in self.houses)

    async def leave(self) -> None:
        """Ask the last process to go, and be sure that it goes in order."""
        self.planned.clear()
        await self.until(lambda: self.serving.alive, "a process runs")
        self.serving.send(signal.SIGTERM)
        assert await self.serving.ended(DRAIN_SECONDS) == 0, "\n".join(self.serving.log[-30:])
        await self.github.settled()

    # --- what must hold --------------------------------------------------------------------------

    async def check(self) -> None:
        """Nothing is lost and nothing is doubled, on GitHub and in the books."""
        for house in self.houses:
            house.check(self.app.app.bot)
        await self._check_books()

    async def _check_books(self) -> None:
        store = SqliteBackend(self.database, SystemClock())
        try:
            records = [stored async for _, stored in store.scan("delivery/")]
            left = [m.id for m in await store.messages() if m.queue != "timers"]
            live = [key async for key, _ in store.scan("live/")]
            dead = [key async for key, _ in store.scan("dead")]
        finally:
            await store.close()
        ended = [Delivery.model_validate_json(one.value) for one in records]
        statuses = Counter(delivery.status for delivery in ended)
        taken = {d.guid for d in self.github.deliveries if d.status_code in (200, 202)}
        assert (left, live, dead) == ([], [], [])
        assert statuses[DeliveryStatus.ACCEPTED] == statuses[DeliveryStatus.DEAD] == 0, statuses
        assert taken <= {delivery.guid for delivery in ended}


@asynccontextmanager
async def street(folder: Path) -> AsyncGenerator[Street]:
    """Built before Conductor comes for the first time, and left in order."""
    async with Simulator(folder / "github", rng=random.Random(7)) as github:
        app = await github.create_app(github.create_organization("maker"))
        houses = await built(github, app, HOUSES)
        environment = environment_for(app, github.base_url, folder, model_file(folder))
        serving = Serving(folder, environment, lambda _: made.notice("line"))
        made = Street(github, app, houses, serving, folder / "conductor.db")
        github.observe(made)
        try:
            yield made
        finally:
            await serving.close()


async def a_round(folder: Path, planned: list[Moment], sign: signal.Signals) -> list[Moment]:
    """Live through the planned moments to the end; returns those that were met."""
    async with street(folder) as made:
        made.sign, made.planned = sign, planned
        await made.play()
        await made.leave()
        await made.check()
        return made.met


def _folder(parent: Path, seed: int) -> Path:
    folder = parent / f"seed-{seed}"
    folder.mkdir()
    return folder


LATER = [
    pytest.param(range(first, min(first + AT_ONCE, ROUNDS)), marks=pytest.mark.fleet)
    for first in range(1, ROUNDS, AT_ONCE)
]


@pytest.mark.parametrize("seeds", [range(1), *LATER], ids=str)
async def test_killed_anywhere_it_loses_nothing_and_doubles_nothing(
    tmp_path: Path, seeds: range
) -> None:
    async with asyncio.TaskGroup() as group:
        rounds = [
            group.create_task(a_round(_folder(tmp_path, seed), moments(seed), signal.SIGKILL))
            for seed in seeds
        ]
    assert all(one.result() for one in rounds), "a round in which nothing was killed"


async def test_told_to_stop_it_leaves_in_order_and_the_next_one_goes_on(tmp_path: Path) -> None:
    planned = [Moment("call", 14), Moment("line", 20)]
    assert len(await a_round(tmp_path, planned, signal.SIGTERM)) == 2
