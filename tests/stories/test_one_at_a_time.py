"""Concurrency groups, as people see them: a run that waits says so, and begins by itself."""

import pytest

from bot.simulator.state import PullRequest
from tests.support.town import Town

GROUPED = """\
version: 1
workflows:
  pull-request:
    on: {{ pull_request: {{}} }}
    concurrency: {{ group: "to-{{branch}}"{more} }}
    steps: {{ review: {{ agent: review }} }}
"""


async def two_at_once(town: Town, more: str = "") -> tuple[PullRequest, PullRequest]:
    """Two pull requests into one branch, of which the first is being reviewed."""
    await town.configure(GROUPED.format(more=more))
    town.model.hold()
    first = await town.open_pull_request(branch="one")
    await town.until(lambda: town.model.asked, "the first is being reviewed")
    second = await town.open_pull_request({"README.md": "# Shops\n"}, branch="two")
    await town.until(lambda: town.checks(second.head_sha), "the second is shown")
    return first, second


async def test_a_run_that_waits_for_its_group_is_shown_and_begins_when_the_other_ends(
    town: Town,
) -> None:
    first, second = await two_at_once(town)
    waiting = town.check(second)
    assert (waiting.status, waiting.title) == (
        "queued",
        "Waits for another run in the concurrency group 'to-main'",
    )
    await town.until(lambda: town.check(first).status == "in_progress", "the first one works")

    town.model.release()
    await town.settled()
    assert town.check(first).conclusion == town.check(second).conclusion == "success"


async def test_with_cancel_superseded_the_newer_run_takes_the_older_ones_place(
    town: Town,
) -> None:
    first, second = await two_at_once(town, ", cancel-superseded: true")
    town.model.release()
    await town.settled()
    assert town.check(first).conclusion == "cancelled"
    assert town.check(second).conclusion == "success"


@pytest.mark.parametrize("who", ["waiting", "working"])
async def test_either_run_can_be_cancelled_and_the_other_goes_on(town: Town, who: str) -> None:
    first, second = await two_at_once(town)
    stopped, other = (second, first) if who == "waiting" else (first, second)
    town.comment(stopped, "/conductor cancel")
    await town.until(lambda: town.check(stopped).status == "completed", "it is cancelled")
    town.model.release()
    await town.settled()
    assert town.check(stopped).conclusion == "cancelled"
    assert town.check(other).conclusion == "success"
