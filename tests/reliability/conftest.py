"""Worlds on each kind of store, whose books are checked when a test is over."""

from collections.abc import AsyncIterator, Generator, Iterator
from pathlib import Path

import pytest
import structlog

from pipelines.model import Task, TaskResult, Usage
from tests.reliability.shared import SharedWorld, valkey_or_skip
from tests.support.agents import review
from tests.support.clock import VirtualClock
from tests.support.forge import Forge
from tests.support.valkey import Server
from tests.support.world import World


@pytest.fixture(autouse=True)
def _quiet() -> Generator[None]:
    """Tracebacks rendered for nobody cost seconds."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    yield
    structlog.reset_defaults()


def free(task: Task) -> TaskResult:
    """What a reviewer hands back, from a model that costs nothing."""
    return review(task).model_copy(update={"usage": Usage()})


@pytest.fixture
def server() -> Iterator[Server]:
    with valkey_or_skip() as server:
        yield server


@pytest.fixture
def forge() -> Forge:
    return Forge()


@pytest.fixture(params=["memory", "sqlite", "valkey"])
async def world(
    request: pytest.FixtureRequest, forge: Forge, tmp_path: Path
) -> AsyncIterator[World]:
    clock = VirtualClock()
    if request.param == "valkey":
        world: World = SharedWorld(forge, clock, request.getfixturevalue("server"))
    else:
        world = World(forge, clock, tmp_path / "a.db" if request.param == "sqlite" else None)
    world.agents.script = free
    await world.start()
    yield world
    await world.settle()
    await world.check_accounts()
    await world.close()
