"""A yard on each kind of store."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from pipelines.stores.open import open_backend
from tests.support.clock import VirtualClock
from tests.unit.orchestration.yard import Yard


@pytest.fixture(params=["memory", "sqlite"])
async def yard(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Yard]:
    clock = VirtualClock()
    url = {"memory": "memory://", "sqlite": f"sqlite:///{tmp_path}/yard.db"}[request.param]
    backend = open_backend(url, clock)
    yard = Yard(backend, clock)
    await yard.start()
    yield yard
    await yard.bus.close()
    await backend.close()
