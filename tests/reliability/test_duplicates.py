"""An event that comes several times, to several senders' knowledge at once, is dealt with once."""

import asyncio
import random
from collections import Counter
from collections.abc import Iterator

import pytest

from bot.deliveries.inbox import Accepted, Verdict
from tests.support.forge import Forge, Pull
from tests.support.world import World

EVENTS = range(1, 501)
AT_ONCE = 16
PART = 25
"""Events between two rounds of work."""


@pytest.mark.parametrize("world", ["memory"], indirect=True)
async def test_five_hundred_events_in_many_copies_start_one_run_each(
    world: World, forge: Forge
) -> None:
    rng, told, sent = random.Random(3), Counter[Verdict](), set[int]()
    forge.pulls = {number: Pull(number, f"head {number}") for number in EVENTS}

    async def send(copies: Iterator[int]) -> None:
        for number in copies:
            guid, known = f"event-{number}", number in sent
            sent.add(number)
            sending = world.redeliver(guid) if known else opened(guid, number)
            told[(await sending).verdict] += 1

    async def opened(guid: str, number: int) -> Accepted:
        return await world.pull_request("opened", number, f"head {number}", guid=guid)

    for first in EVENTS[::PART]:
        copies = [n for n in range(first, first + PART) for _ in range(rng.randint(1, 5))]
        rng.shuffle(copies)
        left = iter(copies)
        await asyncio.gather(*(send(left) for _ in range(AT_ONCE)))
        await world.work()
        await world.clock.advance(1)
    await world.settle()

    runs, reviews = await world.runs(), forge.written()
    print(f"R03: 500 events in {told.total()} copies, {AT_ONCE} at once: {len(runs)} runs")
    assert told == {Verdict.STORED: 500, Verdict.DUPLICATE: told.total() - 500}
    assert len(runs) == len(reviews) == reviews.total() == 500
    assert Counter(d.status for d in (await world.deliveries()).values()) == {"done": 500}
