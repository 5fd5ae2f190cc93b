"""The storm breaker counts what is stored, whoever comes at the same time."""

import asyncio
from typing import Any, cast

import pytest

from pipelines.model import OpenFeedback
from pipelines.orchestration.acting import Acting, Refused
from pipelines.orchestration.facts import FactFinder
from pipelines.orchestration.policy import PolicyEngine
from pipelines.ports import Receipt
from tests.simulation.plans import HEAD, a_step
from tests.unit.orchestration.test_deeds import closing, incident
from tests.unit.orchestration.yard import Yard, deploying

WATCH = a_step("watch", agent="monitor", options={"environment": "staging"}, attempt=1)
DAY = 24 * 3600.0


async def opened(yard: Yard, *fingerprints: str, occasion: str = "a") -> list[str]:
    """Open these at once; returns how each went."""
    run = deploying("a", HEAD, WATCH)
    wanted = [incident(each).model_copy(update={"occasion": occasion}) for each in fingerprints]
    outcomes = await asyncio.gather(
        *(yard.acting.act(run, WATCH, each) for each in wanted), return_exceptions=True
    )
    unforeseen = [o for o in outcomes if not isinstance(o, Receipt | Refused)]
    assert not unforeseen
    return ["opened" if isinstance(each, Receipt) else "refused" for each in outcomes]


def names(count: int) -> list[str]:
    return [f"abcdef{number:02d}" for number in range(count)]


async def test_of_many_incidents_at_once_five_get_an_issue(yard: Yard) -> None:
    outcomes = await opened(yard, *names(12))
    assert outcomes.count("opened") == 5
    assert len(yard.forge.done) == 5


async def test_a_known_incident_is_counted_up_also_in_a_storm(yard: Yard) -> None:
    first = names(5)
    await opened(yard, *first)
    assert await opened(yard, first[0], occasion="b") == ["opened"]
    assert await opened(yard, "ffffffff") == ["refused"]


async def test_a_new_day_has_room_again(yard: Yard) -> None:
    await opened(yard, *names(5))
    await yard.clock.advance(DAY)
    assert await opened(yard, "ffffffff") == ["opened"]


async def test_an_incident_that_comes_back_after_its_end_is_a_new_one(yard: Yard) -> None:
    (name, *_) = first = names(5)
    await opened(yard, *first)
    run = deploying("a", HEAD, WATCH)
    yard.forge.issues = [OpenFeedback(number=12, payload=incident(name).payload)]
    await yard.acting.act(run, WATCH, closing(12, name))
    assert await opened(yard, name, occasion="again") == ["refused"]
    await yard.clock.advance(DAY)
    assert await opened(yard, name, occasion="again") == ["opened"]


async def test_what_was_opened_between_the_verdict_and_the_note_is_counted(yard: Yard) -> None:
    """Another process opens the day's last issue after this one was allowed to open it."""
    await opened(yard, *names(4))
    here = Yard(yard.inner, yard.clock)
    await here.start()
    find: Any = here.facts

    async def found_before(*asked: Any) -> Any:
        facts = await find(*asked)
        await opened(yard, "eeeeeeee")
        return facts

    late = Acting(
        state=here.state,
        outlets=here.outlets,
        policy=PolicyEngine(),
        facts=cast(FactFinder, found_before),
        bus=here.bus,
        clock=here.clock,
    )
    with pytest.raises(Refused, match="5 issues were opened here"):
        await late.act(deploying("b", HEAD, WATCH), WATCH, incident("ffffffff"))
    assert here.forge.done == []
