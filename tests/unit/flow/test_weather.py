"""Bad weather: random faults while all lanes work at once; the books balance all the same."""

import asyncio
import random
from datetime import timedelta

import pytest

from bot.worker import Lane, Worker
from pipelines.errors import Ambiguous, ModelUnavailable, Parked, Retryable
from tests.support.clock import VirtualClock
from tests.support.forge import Forge, Pull, sha
from tests.support.world import World

PLACES = (
    *("source.change", "before check", "after check", "before submit_review"),
    *("after submit_review", "agent", "agent done", "before react", "after react"),
)
VERBS = ("review", "cancel", "retry", "status", "pause", "resume")


def _fault(rng: random.Random, world: World) -> Exception:
    until = world.clock.now() + timedelta(seconds=rng.randint(1, 600))
    return rng.choice(
        [
            Retryable("GitHub answered 502.", dependency="github"),
            Ambiguous("The connection broke.", dependency="github"),
            Parked("A limit was hit.", until=until, scope="7"),
            ModelUnavailable("No model answered."),
            ValueError("a defect"),
        ]
    )


async def _something(rng: random.Random, world: World, forge: Forge) -> None:
    number = rng.choice(list(forge.pulls))
    pull = forge.pulls[number]
    what = rng.choice(["push", "push", "close", "reopen", "command", "fault", "fault", "fault"])
    if what == "push":
        pull.head = f"{number}-{rng.random()}"
        await world.pull_request("synchronize", number, pull.head)
    elif what in ("close", "reopen"):
        pull.open = what == "reopen"
        await world.pull_request("closed" if what == "close" else "reopened", number, pull.head)
    elif what == "command":
        await world.comment(number, f"/conductor {rng.choice(VERBS)}")
    else:
        forge.faults.plan(rng.choice(PLACES), _fault(rng, world))


@pytest.mark.parametrize("seed", range(25))
async def test_whatever_fails_and_whatever_happens_meanwhile_the_books_balance(seed: int) -> None:
    rng = random.Random(seed)
    forge = Forge(pulls={number: Pull(number, f"{number}") for number in (1, 2)})
    world = World(forge, VirtualClock())
    await world.start()
    lanes = [("deliveries",), ("effects", "reports", "timers"), world.coordinator.queues]
    worker = Worker(
        name="w",
        lanes=[Lane(queues[0], queues, 3) for queues in lanes],
        dispatcher=world.dispatcher,
        bus=world.bus,
        store=world.store,
        clock=world.clock,
        listener=world.execution.listening,
    )
    task = asyncio.create_task(worker.run())
    for _ in range(40):
        await _something(rng, world, forge)
        await world.clock.advance(rng.choice([0, 0, 1, 30]))
    worker.stop()
    while not task.done():
        await world.clock.advance(1)
    await task
    forge.faults.planned.clear()
    for number, pull in forge.pulls.items():
        pull.open = True
        pull.head = f"{number}-last"
        await world.comment(number, "/conductor resume")
        await world.settle(hours=8)
        await world.pull_request("synchronize", number, pull.head)
    await world.settle(hours=8)

    await world.check_accounts()
    for number in forge.pulls:
        assert forge.conclusions(f"{number}-last") == {
            "pull-request / review": "neutral: 1 finding"
        }
        assert f"review/{number}/{sha(f'{number}-last')}" in forge.written()
    await world.close()
