"""What GitHub could not hand over is asked for: once each, slowly, and only what is missing."""

import asyncio
from datetime import timedelta
from itertools import pairwise

import pytest

from bot.deliveries import sweeper as rules
from bot.simulator import Fault
from pipelines.errors import Parked
from tests.support.waiting import passing
from tests.unit.deliveries.conftest import Post


async def test_three_hundred_failures_of_which_forty_were_repeated_cost_260_requests(
    post: Post,
) -> None:
    post.closed = True
    missed = await post.happen(300)
    post.closed = False
    failed = [one for one in post.github.deliveries if one.guid in missed]
    for delivery in failed[100:140]:
        post.github.redeliver(delivery)
    await post.github.settled()

    asked = await post.sweep_for(600)

    assert asked == len(post.attempts()) == 260
    assert await post.stored() >= set(missed)
    gaps = [(b.at - a.at).total_seconds() for a, b in pairwise(post.attempts())]
    assert min(gaps) >= 1.0
    assert (post.attempts()[-1].at - post.attempts()[0].at) < timedelta(minutes=10)
    assert await post.sweep_for(1800) == 0


async def test_what_arrived_costs_one_call_a_pass(post: Post) -> None:
    await post.happen(250)
    await post.sweep_for(240)
    before = len(post.github.calls)
    for _ in range(5):
        assert (await post.sweep()).asked == 0
        await post.clock.advance(60)
    assert [call.template for call in post.github.calls[before:]] == ["/app/hook/deliveries"] * 5


async def test_a_delivery_that_was_stored_though_github_gave_up_is_not_asked_for(
    post: Post,
) -> None:
    post.deaf = True
    await post.happen(3)
    post.deaf = False
    await post.happen()
    assert await post.sweep_for(600) == 0


async def test_two_workers_and_a_restart_ask_once(post: Post) -> None:
    post.closed = True
    await post.happen(4)
    failed = post.github.deliveries[-4:]
    post.closed = False
    await post.happen()
    both = asyncio.gather(post.sweeper().sweep(), post.sweeper().sweep())
    await passing(post.clock, both)
    await post.github.settled()
    assert len(post.attempts()) <= 4
    await post.sweep_for(900)
    assert len(post.attempts()) == 4
    assert {call.path for call in post.attempts()} == {
        f"/app/hook/deliveries/{one.id}/attempts" for one in failed
    }


async def test_while_nothing_gets_through_one_delivery_a_pass_is_tried(post: Post) -> None:
    post.closed = True
    missed = await post.happen(20)
    passes: list[int] = []
    for _ in range(2 * 60):
        passes.append((await post.sweep()).asked)
        await post.clock.advance(60)
    assert passes == [1] * 120
    post.closed = False
    before = len(post.attempts())
    await post.sweep_for(600)
    assert await post.stored() >= set(missed)
    assert len(post.attempts()) - before == 20


async def test_what_we_refuse_while_others_arrive_is_given_up_in_the_end(post: Post) -> None:
    post.refusing = 400
    (bad,) = await post.happen()
    post.refusing = None
    await post.happen()
    post.refusing = 400
    assert await post.sweep_for(2.5 * 24 * 3600, every=3600) == rules.MOST_ATTEMPTS
    assert post.received.count(bad) == 1 + rules.MOST_ATTEMPTS


async def test_what_is_older_than_three_days_is_left(post: Post) -> None:
    post.closed = True
    await post.happen(2)
    await post.clock.advance(3 * 24 * 3600 + 60)
    post.closed = False
    await post.happen()
    assert await post.sweep_for(300) == 0


async def test_a_long_list_is_read_over_several_passes(
    post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rules, "MOST_PAGES", 2)
    post.closed = True
    missed = await post.happen(230)
    post.closed = False
    await post.happen()
    assert await post.sweep_for(900) == 230
    assert await post.stored() >= set(missed)


async def test_a_pass_that_github_cut_short_is_made_up_for(post: Post) -> None:
    post.closed = True
    missed = await post.happen(5)
    post.closed = False
    await post.happen()
    limit = {"Retry-After": "30"}
    post.github.faults.add(Fault(method="POST", path="*/attempts", status=429, headers=limit))
    with pytest.raises(Parked):
        await post.sweep()
    await post.clock.advance(60)
    await post.sweep_for(600)
    assert await post.stored() >= set(missed)
    assert len([call for call in post.attempts() if call.status == 202]) == 5


async def test_a_delivery_that_github_has_forgotten_is_dropped(post: Post) -> None:
    post.closed = True
    (gone,) = await post.happen()
    post.closed = False
    await post.happen()
    post.github.faults.add(Fault(method="POST", path="*/attempts", status=404))
    assert await post.sweep_for(3600, every=600) == 1
    assert gone not in await post.stored()
