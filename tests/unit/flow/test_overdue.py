"""A check that was begun ends, though its worker, its messages and its last report are gone."""

from collections.abc import Sequence

import pytest

from pipelines.errors import UserError
from pipelines.orchestration.overdue import Overdue
from pipelines.ports import Batch, Lease
from tests.support.forge import Forge, Pull
from tests.support.world import World


@pytest.fixture
def forge() -> Forge:
    return Forge(pulls={1: Pull(1, "one")})


def overdue(world: World) -> Overdue:
    return Overdue(world.state, world.bus, world.clock)


async def drop(world: World, *queues: str) -> None:
    """Lose the messages of these queues, as a broker does that forgets."""
    leases: Sequence[Lease] = await world.bus.claim(queues, limit=100, wait=0.0, lease=60.0)
    await world.bus.commit(Batch(settled=leases))


async def test_a_report_that_was_given_up_is_made_up_for(world: World, forge: Forge) -> None:
    await world.pull_request("opened", 1, "one")
    await world.work("deliveries", "reports")
    assert forge.unfinished()
    forge.faults.plan("before check", *[UserError("GitHub would not have it.")] * 9)
    await world.settle()
    forge.faults.planned.clear()
    assert forge.unfinished()

    await world.clock.advance(120)
    assert await overdue(world).sweep() == 1
    await world.settle()
    assert not forge.unfinished()
    assert await overdue(world).sweep() == 0


@pytest.mark.parametrize("stage", ["agent", "effects"])
async def test_a_check_ends_by_its_deadline_though_all_messages_are_gone(
    world: World, forge: Forge, stage: str
) -> None:
    await world.pull_request("opened", 1, "one")
    await world.work("deliveries", "reports")
    if stage == "effects":
        await world.work(*world.coordinator.queues)
    await drop(world, *world.coordinator.queues, "effects", "reports", "timers")
    (run,) = await world.runs()
    (deadline,) = [step.deadline for step in run.steps]
    assert deadline
    await world.clock.advance((deadline - world.clock.now()).total_seconds())

    await world.coordinator.tick_all()
    await drop(world, "reports")
    for _ in range(4):
        await world.clock.advance(60)
        await overdue(world).sweep()
        await world.work("reports")
    assert not forge.unfinished()


async def test_what_is_shown_as_it_is_costs_no_report(world: World, forge: Forge) -> None:
    await world.pull_request("opened", 1, "one")
    await world.settle()
    assert forge.checks
    await world.clock.advance(300)
    assert await overdue(world).sweep() == 0
