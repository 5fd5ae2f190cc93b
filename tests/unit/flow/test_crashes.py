"""The process dies wherever it touches the outside; nothing is lost, nothing doubled."""

from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from tests.support.clock import VirtualClock
from tests.support.forge import Crash, Faults, Forge, Pull, sha
from tests.support.world import World

Story = Callable[[World, Forge], Coroutine[Any, Any, None]]


async def opened(world: World, forge: Forge) -> None:
    """A pull request is opened and reviewed."""
    await world.pull_request("opened", 5, "one", guid="a")
    await world.settle()


async def superseded(world: World, forge: Forge) -> None:
    """A second push arrives while the first run is being shown."""
    await world.pull_request("opened", 5, "one", guid="a")
    await world.work("deliveries", "reports")
    forge.pulls[5].head = "two"
    await world.pull_request("synchronize", 5, "two", guid="b")
    await world.settle()


async def commanded(world: World, forge: Forge) -> None:
    """Somebody asks for a review and for the status."""
    await world.comment(5, "/conductor review", guid="a")
    await world.settle()
    await world.comment(5, "/conductor status", guid="b")
    await world.settle()


EXPECTED: dict[Story, set[str]] = {
    opened: {f"review/5/{sha('one')}"},
    superseded: {f"review/5/{sha('two')}"},
    commanded: {
        f"review/5/{sha('one')}",
        "reaction/issue/5001/eyes",
        "reaction/issue/5001/rocket",
        "reaction/issue/5002/eyes",
        "reaction/issue/5002/rocket",
        "comment/5/command/5002/b",
    },
}


async def _points(story: Story) -> int:
    """How many points the story passes when nothing happens to it."""
    forge = Forge(faults=Faults(), pulls={5: Pull(5, "one")})
    world = World(forge, VirtualClock())
    await world.start()
    await story(world, forge)
    await world.check_accounts()
    await world.close()
    assert set(forge.written()) == EXPECTED[story]
    return len(forge.faults.passed)


async def _crash(world: World) -> None:
    """Leave everything as a dead process does, and start anew on what was stored."""
    world.forge.faults.crash_at = None
    await world.close()
    await world.clock.advance(61)
    await world.start()


@pytest.mark.parametrize("store", ["memory", "sqlite"])
@pytest.mark.parametrize("story", list(EXPECTED), ids=["opened", "superseded", "commanded"])
async def test_a_crash_at_any_point_loses_and_doubles_nothing(
    story: Story, store: str, tmp_path: Path
) -> None:
    every = 1 if store == "memory" else 5
    for point in range(0, await _points(story), every):
        forge = Forge(faults=Faults(), pulls={5: Pull(5, "one")})
        path = tmp_path / f"{point}.db" if store == "sqlite" else None
        world = World(forge, VirtualClock(), path)
        await world.start()
        forge.faults.crash_at = len(forge.faults.passed) + point
        for _ in range(2):  # GitHub redelivers what was not acknowledged
            try:
                await story(world, forge)
                break
            except Crash:
                await _crash(world)
        await world.settle()
        await world.check_accounts()
        assert set(forge.written()) == EXPECTED[story], f"crash at {forge.faults.passed[point]}"
        await world.close()
