"""One search for a delivery, a run or a pull request finds every line about it."""

import io
import json
from typing import Any

import pytest

from bot.redactor import Redactor
from bot.telemetry import Metrics, logging_to
from tests.support.forge import Forge, Pull
from tests.support.world import World


@pytest.fixture
def forge() -> Forge:
    return Forge(pulls={5: Pull(5, "one")})


async def test_every_line_says_what_it_is_about(world: World) -> None:
    stream = io.StringIO()
    with logging_to(
        stream, level="INFO", log_format="json", redactor=Redactor(), metrics=Metrics()
    ):
        await world.pull_request("opened", 5, "one", guid="guid-of-the-push")
        await world.settle()
    lines: list[dict[str, Any]] = [json.loads(line) for line in stream.getvalue().splitlines()]
    handled = next(line for line in lines if line["event"] == "delivery handled")
    assert handled["github_delivery_id"] == "guid-of-the-push"
    assert handled["github_event_type"] == "pull_request"
    assert (handled["github_pr_num"], handled["github_installation_id"]) == (5, "7")
    started = next(line for line in lines if line["event"] == "agent started")
    assert (started["step"], started["attempt"], started["github_pr_num"]) == ("review", 1, 5)
    (run,) = await world.runs()
    assert started["run_id"] == run.id
    for line in (handled, started):
        repository = run.change.repository
        owner_and_name = (line["github_repository_owner"], line["github_repository_name"])
        assert owner_and_name == (repository.owner, repository.name)
