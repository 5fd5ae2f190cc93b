"""A write whose answer is lost is looked up before it is repeated."""

from pipelines.errors import Ambiguous
from tests.support.agents import review
from tests.support.forge import Forge, Pull
from tests.support.world import World

EVENTS = range(1, 301)
PART = 25
"""Events between two rounds of work."""


async def test_of_three_hundred_reviews_whose_answer_is_lost_none_is_written_twice() -> None:
    forge = Forge(pulls={number: Pull(number, f"head {number}") for number in EVENTS})
    lost = Ambiguous("The connection was cut after the request.", dependency="github")
    forge.faults.plan("after submit_review", *[lost] * len(EVENTS))
    world = await World.started(forge, script=review)
    for first in EVENTS[::PART]:
        for number in range(first, first + PART):
            await world.pull_request("opened", number, f"head {number}")
        await world.work()
        await world.clock.advance(301)
    await world.settle()
    left = len(forge.faults.planned["after submit_review"])
    times = forge.written()
    print(f"R16: {len(EVENTS) - left} writes cut after they were done: {times.total()} written")
    assert left == 0, "each of them was cut"
    assert len(times) == times.total() == len(EVENTS)
    await world.check_accounts()
    await world.close()
