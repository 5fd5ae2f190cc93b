"""Work that takes longer than a lease is done once, and nobody else is given it meanwhile."""

import asyncio

from tests.reliability.shared import SharedWorld
from tests.support.clock import VirtualClock
from tests.support.forge import Forge, Pull
from tests.support.valkey import Server
from tests.support.world import World

CALL = 600
"""Seconds of a model's answer; a lease is 60."""


async def at_work(world: World) -> asyncio.Task[None]:
    """Have an agent begin on a pull request and come to no end."""
    world.agents.hold = asyncio.Event()
    await world.pull_request("opened", 5, "one")
    await world.work("deliveries", "reports")
    lease = await world.claim("agent.review")
    assert lease is not None
    task = asyncio.create_task(world.dispatcher.handle(lease))
    await asyncio.wait_for(world.agents.started.wait(), 5)
    return task


async def ten_minutes_of(world: World, other: World) -> int:
    """Let the call go on; return how often the other process was given the work."""
    given = 0
    for _ in range(CALL // 5):
        await world.clock.advance(5)
        await asyncio.sleep(0.001)
        given += await other.claim("agent.review") is not None
    return given


async def test_a_call_of_ten_leases_is_made_once(world: World, forge: Forge) -> None:
    forge.pulls[5] = Pull(5, "one")
    task = await at_work(world)
    given = await ten_minutes_of(world, world)
    assert world.agents.hold is not None
    world.agents.hold.set()
    await asyncio.wait_for(task, 5)
    await world.settle()
    executions = len(world.agents.tasks)
    print(f"R09: a call of {CALL} s under a lease of 60 s: {executions} execution, {given} others")
    assert (executions, given) == (1, 0)
    assert sum(forge.written().values()) == 1


async def test_another_process_is_not_given_it_and_takes_over_once_its_holder_is_gone(
    server: Server, forge: Forge
) -> None:
    forge.pulls[5] = Pull(5, "one")
    clock = VirtualClock()
    one, two = (SharedWorld(forge, clock, server, name) for name in ("one", "two"))
    await one.start()
    await two.start()
    task = await at_work(one)
    given = await ten_minutes_of(one, two)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await clock.advance(61)
    two.accepted = one.accepted
    await two.settle()
    taken = len(two.agents.tasks)
    print(f"R09: a second process was given it {given} times while its holder lived, {taken} after")
    assert (given, taken) == (0, 1)
    assert sum(forge.written().values()) == 1
    await two.check_accounts()
    await one.close()
    await two.close()
