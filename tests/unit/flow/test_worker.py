"""The worker's loops: lanes, slots, draining, signs of life, sweeps."""

import asyncio
import itertools
from collections.abc import Callable
from datetime import timedelta

import pytest

from bot.worker import DRAIN_SECONDS, Lane, Sweep, Worker, check_heartbeat
from pipelines.errors import NotStored, Parked, UserError
from pipelines.model import Conclusion
from pipelines.ports import Batch
from tests.support.forge import Forge, Pull, sha
from tests.support.world import World


@pytest.fixture
def forge() -> Forge:
    return Forge(pulls={number: Pull(number, "one") for number in range(1, 9)})


def worker(world: World, *sweeps: Sweep, name: str = "w1") -> Worker:
    return Worker(
        name=name,
        lanes=(
            Lane("deliveries", ("deliveries",), 2),
            Lane("publishing", ("effects", "reports", "timers"), 2),
            Lane("agents", world.coordinator.queues, 2),
        ),
        dispatcher=world.dispatcher,
        bus=world.bus,
        store=world.store,
        clock=world.clock,
        sweeps=sweeps,
        listener=world.execution.listening,
    )


async def until(world: World, holds: Callable[[], bool], *, seconds: int = 600) -> None:
    """Let virtual seconds pass, each with room for threads, until something holds."""
    for _ in range(seconds):
        if holds():
            return
        await world.clock.advance(1)
        await asyncio.sleep(0.002)
    raise AssertionError("it never came to hold")


async def stop(world: World, working: Worker, task: asyncio.Task[None]) -> None:
    working.stop()
    await until(world, task.done)
    await task


async def test_a_worker_brings_deliveries_to_reviews_and_stops_when_told(
    world: World, forge: Forge
) -> None:
    working = worker(world)
    task = asyncio.create_task(working.run())
    for number in forge.pulls:
        await world.pull_request("opened", number, "one")
    await until(world, lambda: len(forge.done) == len(forge.pulls))
    await stop(world, working, task)


async def test_agents_take_no_more_than_their_slots_and_hold_nobody_else_up(
    world: World, forge: Forge
) -> None:
    world.agents.hold = asyncio.Event()
    working = worker(world)
    task = asyncio.create_task(working.run())
    for number in forge.pulls:
        await world.pull_request("opened", number, "one")
    await until(world, lambda: len(forge.checks) == len(forge.pulls))

    assert len(world.agents.running) == 2
    world.agents.hold.set()
    await until(world, lambda: len(forge.done) == len(forge.pulls))
    await stop(world, working, task)
    assert len(world.agents.tasks) == len(forge.pulls)


async def test_what_is_parked_holds_no_slot_and_comes_back_at_its_time(
    world: World, forge: Forge
) -> None:
    reset = world.clock.now() + timedelta(minutes=5)
    parked = [Parked("Limit.", until=reset, scope="7") for _ in range(2)]
    forge.faults.plan("before submit_review", *parked)
    working = worker(world)
    task = asyncio.create_task(working.run())
    for number in forge.pulls:
        await world.pull_request("opened", number, "one")
    await until(world, lambda: len(forge.done) == len(forge.pulls) - len(parked))
    assert world.clock.now() < reset
    await until(world, lambda: len(forge.done) == len(forge.pulls))
    assert world.clock.now() >= reset
    await stop(world, working, task)


async def test_what_does_not_finish_while_draining_is_given_back_unharmed(
    world: World, forge: Forge
) -> None:
    world.agents.hold = asyncio.Event()
    working = worker(world)
    task = asyncio.create_task(working.run())
    await world.pull_request("opened", 1, "one")
    await until(world, lambda: bool(world.agents.running))
    began = world.clock.monotonic()
    await stop(world, working, task)

    assert DRAIN_SECONDS <= world.clock.monotonic() - began <= DRAIN_SECONDS + 5
    assert len(world.agents.cancelled) == 1
    assert not forge.done

    world.agents.hold = None
    second = worker(world, name="w2")
    task = asyncio.create_task(second.run())
    await until(world, lambda: bool(forge.done))
    await stop(world, second, task)
    assert forge.written() == {f"review/1/{sha('one')}": 1}


async def test_what_finishes_while_draining_is_kept(world: World, forge: Forge) -> None:
    world.agents.hold = asyncio.Event()
    working = worker(world)
    task = asyncio.create_task(working.run())
    await world.pull_request("opened", 1, "one")
    await until(world, lambda: bool(world.agents.running))
    working.stop()
    await world.clock.advance(5)
    world.agents.hold.set()
    await until(world, task.done)
    await task
    await world.settle()

    assert len(world.agents.tasks) == 1
    assert world.agents.cancelled == []


async def test_a_worker_shows_that_it_lives_and_is_missed_when_it_does_not(world: World) -> None:
    with pytest.raises(UserError, match="conductor worker"):
        await check_heartbeat(world.store)
    working = worker(world, name="host/12")
    task = asyncio.create_task(working.run())
    await world.clock.advance(60)
    await asyncio.sleep(0.05)
    await check_heartbeat(world.store)
    await stop(world, working, task)

    await world.clock.advance(60)
    with pytest.raises(UserError):
        await check_heartbeat(world.store)


async def test_a_sweep_that_fails_is_tried_again_next_time(forge: Forge) -> None:
    """In memory: while a thread stores something, virtual time would go on."""
    world, seen = await World.started(forge), list[float]()

    async def sweep() -> None:
        seen.append(world.clock.monotonic())
        if len(seen) == 1:
            raise NotStored("full")
        if len(seen) == 2:
            raise ValueError("unreadable")

    working = worker(world, Sweep("storage", 60.0, sweep))
    task = asyncio.create_task(working.run())
    await until(world, lambda: len(seen) == 3)
    await stop(world, working, task)

    assert [later - earlier for earlier, later in itertools.pairwise(seen)] == [60.0, 60.0]


async def test_a_round_is_done_by_one_of_many_workers_and_by_another_if_that_one_dies(
    world: World,
) -> None:
    rounds: list[tuple[str, float]] = []

    def sweeping(name: str) -> Worker:
        async def sweep() -> None:
            rounds.append((name, world.clock.monotonic()))

        return worker(world, Sweep("storage", 60.0, sweep), name=name)

    crew = {name: sweeping(name) for name in ("w1", "w2", "w3")}
    tasks = {name: asyncio.create_task(each.run()) for name, each in crew.items()}
    await until(world, lambda: len(rounds) == 4)
    first = rounds[-1][0]
    await stop(world, crew.pop(first), tasks.pop(first))
    await until(world, lambda: len(rounds) == 6)
    for name, each in crew.items():
        await stop(world, each, tasks[name])

    times = [at for _, at in rounds]
    assert all(later - earlier >= 54.0 for earlier, later in itertools.pairwise(times))
    assert first not in {name for name, _ in rounds[4:]}


async def test_what_every_worker_does_by_itself_is_done_by_every_worker(world: World) -> None:
    seen: set[str] = set()

    def sweeping(name: str) -> Worker:
        async def sweep() -> None:
            seen.add(name)

        return worker(world, Sweep("own", 60.0, sweep, everywhere=True), name=name)

    crew = [sweeping("w1"), sweeping("w2")]
    tasks = [asyncio.create_task(each.run()) for each in crew]
    await until(world, lambda: len(seen) == 2)
    for each, task in zip(crew, tasks, strict=True):
        await stop(world, each, task)


async def test_a_run_whose_wake_up_was_lost_ends_at_its_deadline_all_the_same(
    world: World, forge: Forge
) -> None:
    await world.pull_request("opened", 1, "one")
    await world.work("deliveries", "reports")
    messages = await world.store.messages()
    wakes = [message.id for message in messages if message.queue in ("timers", "agent.review")]
    assert len(wakes) == 2
    while (lease := await world.claim("timers", "agent.review")) is not None:
        await world.bus.commit(Batch(settled=[lease]))
    await world.clock.advance(7 * 3600)
    while (lease := await world.claim("timers")) is not None:
        await world.bus.commit(Batch(settled=[lease]))

    working = worker(world, Sweep("deadlines", 60.0, world.coordinator.tick_all))
    task = asyncio.create_task(working.run())
    await until(world, lambda: not forge.unfinished())
    await stop(world, working, task)
    (run,) = await world.runs()
    assert run.conclusion is Conclusion.TIMED_OUT
