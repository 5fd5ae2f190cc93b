"""What a run works on is taken away from it, at each moment: it ends, and nothing is repeated."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import pytest

from bot.deliveries.delivery import DeliveryStatus
from pipelines.errors import Dropped
from pipelines.model import Change, Effect, Trigger, WorkflowRun
from pipelines.orchestration.bus.dead import DeadLetters
from pipelines.ports import Receipt
from tests.support.agents import review
from tests.support.forge import Forge, Pull
from tests.support.world import World

Event = Callable[[World, "Withdrawing"], Awaitable[object]]


class Withdrawing(Forge):
    """A forge that may refuse everything from some moment on."""

    async def change(self, trigger: Trigger) -> Change:
        self.refuse()
        return await super().change(trigger)

    async def carry_out(self, run: WorkflowRun, effect: Effect, *, repeated: bool) -> Receipt:
        self.refuse()
        return await super().carry_out(run, effect, repeated=repeated)

    def refuse(self) -> None:
        if self.gone:
            raise Dropped("The installation is gone, or may not see this repository.")


async def closed(world: World, forge: Withdrawing, **fields: Any) -> None:
    forge.pulls[5].open = False
    forge.pulls[5].merged = fields.get("merged", False)
    await world.pull_request("closed", 5, "one", **fields)


async def merged(world: World, forge: Withdrawing) -> None:
    await closed(world, forge, merged=True)


async def forced(world: World, forge: Withdrawing) -> None:
    forge.pulls[5].head = "two"
    await world.pull_request("synchronize", 5, "two")


async def forced_unheard(world: World, forge: Withdrawing) -> None:
    forge.pulls[5].head = "two"


async def drafted(world: World, forge: Withdrawing) -> None:
    forge.pulls[5].draft = True
    await world.pull_request("converted_to_draft", 5, "one", draft=True)


async def closed_unheard(world: World, forge: Withdrawing) -> None:
    forge.pulls[5].open = False


async def suspended(world: World, forge: Withdrawing) -> None:
    await told_of_installation(world, forge, "suspend")


async def uninstalled(world: World, forge: Withdrawing) -> None:
    await told_of_installation(world, forge, "deleted")


async def told_of_installation(world: World, forge: Withdrawing, action: str) -> None:
    forge.gone = True
    about = {"id": 7, "app_id": 99}
    await world.deliver("installation", action=action, installation=about, repositories=[])


async def refused_unheard(world: World, forge: Withdrawing) -> None:
    forge.gone = True


async def denied(world: World, forge: Withdrawing) -> None:
    forge.denied = {"submit_review"}


EVENTS: Mapping[str, Event] = {
    "closed": closed,
    "merged": merged,
    "force-push": forced,
    "force-push that nobody told": forced_unheard,
    "made a draft": drafted,
    "closed, and nobody told": closed_unheard,
    "suspended": suspended,
    "uninstalled": uninstalled,
    "repository out of reach, and nobody told": refused_unheard,
    "permission withdrawn": denied,
}


async def withdrawn(event: Event, point: int) -> tuple[bool, int]:
    """Return whether there were so many messages, and how often an agent worked on one commit."""
    forge = Withdrawing(pulls={5: Pull(5, "one")})
    world = await World.started(forge, script=review)
    await world.pull_request("opened", 5, "one")
    messages = 0
    while messages < point and (lease := await world.claim()) is not None:
        await world.dispatcher.handle(lease)
        messages += 1
    await event(world, forge)
    await world.settle()
    heads = [task.change.head_sha for task in world.agents.tasks]
    letters = await DeadLetters(world.store, world.bus, world.clock).list()
    assert not letters, "nothing of it is a mistake of ours"
    assert [run async for run in world.state.live()] == []
    assert all(run.reason or run.conclusion for run in await world.runs())
    if forge.gone:
        forge.checks.clear()  # nobody may end them any more
    await world.check_accounts()
    statuses = {delivery.status for delivery in (await world.deliveries()).values()}
    assert DeliveryStatus.FAILED not in statuses
    await world.close()
    return messages == point, max(map(heads.count, heads), default=0)


@pytest.mark.parametrize("name", list(EVENTS))
async def test_whatever_is_taken_away_at_whatever_moment_the_run_ends(name: str) -> None:
    point, most = 0, 0
    while (outcome := await withdrawn(EVENTS[name], point))[0]:
        point, most = point + 1, max(most, outcome[1])
    print(f"R31: {name}: at each of {point} moments the run ended; one commit {most} times at most")
    assert point > 5
    assert most <= 1, "nothing is worked on again"
