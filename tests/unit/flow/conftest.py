"""Worlds to test in: every part of Conductor real, on each kind of store."""

from collections.abc import AsyncGenerator, Generator
from pathlib import Path

import pytest
import structlog

from tests.support.clock import VirtualClock
from tests.support.forge import Forge
from tests.support.world import World


@pytest.fixture(autouse=True)
def _quiet() -> Generator[None]:
    """Tracebacks rendered for nobody cost seconds."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    yield
    structlog.reset_defaults()


@pytest.fixture
def forge() -> Forge:
    return Forge()


@pytest.fixture(params=["memory", "sqlite"])
async def world(
    request: pytest.FixtureRequest, forge: Forge, tmp_path: Path
) -> AsyncGenerator[World]:
    """A world whose books are checked when the test is over."""
    path = tmp_path / "conductor.db" if request.param == "sqlite" else None
    world = World(forge, VirtualClock(), path)
    await world.start()
    yield world
    await world.settle()
    await world.check_accounts()
    await world.close()
