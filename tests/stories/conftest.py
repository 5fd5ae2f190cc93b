"""Every story plays in a town of its own, whose books are checked when it ends."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.town import Town, running_town


@pytest.fixture
async def town(tmp_path: Path) -> AsyncIterator[Town]:
    """A repository without a configuration, with Conductor installed."""
    async with running_town(tmp_path) as running:
        yield running
