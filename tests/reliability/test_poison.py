"""What cannot be handled is given up after three attempts, for all to see; the rest goes on."""

from collections import Counter

import pytest

from bot.deliveries.delivery import DeliveryStatus
from pipelines.model import Change, Trigger
from pipelines.orchestration.bus.dead import DeadLetters
from tests.support.accounting import assert_balanced
from tests.support.forge import Forge, Pull
from tests.support.world import World

EVENTS = range(1, 1001)
PART = 25
"""Events between two rounds of work."""


class Poisoned(Forge):
    """A forge of which every twentieth pull request brings out a mistake of ours."""

    tries: Counter[int]

    def __init__(self) -> None:
        super().__init__(pulls={number: Pull(number, f"head {number}") for number in EVENTS})
        self.tries = Counter()

    async def change(self, trigger: Trigger) -> Change:
        number = getattr(trigger, "number", 0)
        if number % 20 == 0:
            self.tries[number] += 1
            raise ZeroDivisionError
        return await super().change(trigger)


@pytest.fixture
def forge() -> Poisoned:
    return Poisoned()


@pytest.mark.parametrize("world", ["memory"], indirect=True)
async def test_fifty_poisonous_events_in_a_thousand_keep_no_other_from_its_end(
    world: World, forge: Poisoned
) -> None:
    for first in EVENTS[::PART]:
        for number in range(first, first + PART):
            await world.pull_request("opened", number, f"head {number}")
        await world.work()
        await world.clock.advance(1)
    await world.settle()

    ended = await assert_balanced(world.store, accepted=world.accepted)
    letters = await DeadLetters(world.store, world.bus, world.clock).list()
    told = Counter(check.name for check in forge.checks.values() if "#failure" in check.state)
    tries = set(forge.tries.values())
    print(f"R10: 1,000 events: {dict(ended)}, {len(letters)} letters, {told}, tried {tries} times")
    assert ended == {DeliveryStatus.DONE: 950, DeliveryStatus.DEAD: 50}
    assert len(letters) == len(forge.tries) == 50
    assert tries == {3}
    assert told == {"(intake) / event": 50}
    assert sum(forge.written().values()) == 950
