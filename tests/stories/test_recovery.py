"""All that was stored is lost, or nothing can be stored: in the end everything is as it should."""

import asyncio
import contextlib
import itertools
import os
import random
import sqlite3
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from bot.simulator import Exchange
from bot.simulator.state import PullRequest
from tests.support.accounting import assert_balanced
from tests.support.town import OWN_EVENTS, Town, running_town
from tests.support.town_model import BROKEN_CART, GUARD, answers, codes, finding

SEEDS = range(int(os.environ.get("CONDUCTOR_RECOVERY_SEEDS", "4")))
"""How many moments of loss are tried; hundreds in the long mode."""
SEEN = answers(finding(), contains=["+     return sum(prices) / len(prices)"])


class Rescue:
    """What befalls a town, and how it finds back."""

    def __init__(self, town: Town) -> None:
        self.town = town

    async def lose_everything(self) -> None:
        """The process ends, the store is gone, another process begins."""
        await self.town.restart(wiped=True)

    async def recovered(self, *pulls: PullRequest, within: float = 600.0) -> None:
        """Return when each pull request has what it should; it must not take ten minutes."""
        town, begun = self.town, self.town.clock.monotonic()
        await town.until(lambda: all(done(town, pull) for pull in pulls), "all is well again")
        assert town.clock.monotonic() - begun <= within
        await town.settled()


def done(town: Town, pull: PullRequest) -> bool:
    """Whether the pull request's head has checks, and all of them came to an end."""
    checks = [run for run in town.repo.checks.values() if run.head_sha == pull.head_sha]
    return bool(checks) and all(run.status == "completed" for run in checks)


@pytest.fixture
async def rescue(town: Town) -> AsyncIterator[Rescue]:
    yield Rescue(town)
    await town.settled()
    town.beside_github = await lost(town)
    await assert_balanced(town.services.store)


async def lost(town: Town) -> int:
    """Deliveries that GitHub was told are stored and that the lost store took along; below 0."""
    brought = [d for d in (await town.deliveries()).values() if d.event not in OWN_EVENTS]
    return len(brought) - len(arrived(town))


def stopping_at(town: Town, stop: Callable[[Exchange], bool]) -> None:
    """Have the worker claim nothing more once GitHub has answered a certain request."""

    worker = town.worker

    class Stopper:
        def exchange(self, exchange: Exchange) -> None:
            if stop(exchange):
                worker.stop()

        def delivery(self, event: str, body: bytes) -> None:
            del event, body

    town.github.observe(Stopper())


async def stopped(town: Town) -> None:
    """Return when the worker was stopped, or has nothing more to do."""
    (running,) = town.running
    async with asyncio.timeout(30):
        while not running.done():
            await town._quiet()
            depth = await town.services.bus.depth()
            if not any(count for queue, count in depth.items() if queue != "timers"):
                return
            await town.clock.pass_to_next()


def posts(path: str) -> Callable[[Exchange], bool]:
    return lambda exchange: exchange.method == "POST" and exchange.path.endswith(path)


@pytest.mark.parametrize("moment", ["/check-runs", "/reviews"])
async def test_a_store_lost_in_the_middle_of_a_review_costs_nothing_but_time(
    town: Town, rescue: Rescue, moment: str
) -> None:
    town.model.script(SEEN)
    stopping_at(town, posts(moment))
    pull = await town.open_pull_request()
    await stopped(town)
    assert not done(town, pull)
    await rescue.lose_everything()
    await rescue.recovered(pull)
    assert len(town.reviews(pull)) == len(pull.threads) == 1
    assert town.check(pull).conclusion == "neutral"
    before, _ = town.repo.checks.values()
    assert (before.status, before.conclusion) == ("completed", "cancelled")


@pytest.mark.parametrize("seed", SEEDS)
async def test_whenever_the_store_is_lost_each_pull_request_has_one_review_and_an_ended_check(
    town: Town, rescue: Rescue, seed: int
) -> None:
    """Losses at moments drawn by chance, some of them before the one before is made up for."""
    rng = random.Random(seed)
    town.model.finds(finding())
    pulls = [await town.open_pull_request(branch=f"topic-{n}") for n in range(3)]
    for _ in range(rng.randrange(1, 4)):
        left = rng.randrange(1, 40)
        stopping_at(town, after(left))
        await stopped(town)
        await rescue.lose_everything()
    await rescue.recovered(*pulls)
    for pull in pulls:
        assert len(town.reviews(pull)) == len(pull.threads) == 1
        assert town.check(pull).conclusion == "neutral"
    assert all(run.status == "completed" for run in town.repo.checks.values())


def after(count: int) -> Callable[[Exchange], bool]:
    """Whether so many requests were answered."""
    numbers = itertools.count(1)
    return lambda _: next(numbers) >= count


CONFIG = """\
version: 1
workflows:
  pull-request:
    on: { pull_request: {} }
    steps: { review: { agent: review } }
  ask:
    on: { issues: { labels: [conductor] } }
    steps: { fix: { agent: coding } }
"""


async def test_a_fix_that_is_being_reviewed_is_proposed_and_reviewed_once(
    town: Town, rescue: Rescue
) -> None:
    await town.push({".conductor.yml": CONFIG, "shop/cart.py": BROKEN_CART}, "main")
    await town.settled()
    town.model.script(*codes(GUARD), answers())
    stopping_at(town, lambda _: proposed(town))
    town.github.open_issue(town.repo, town.ada, "Empty carts crash", "", ["conductor"])
    await stopped(town)
    (pull,) = town.pull_requests()
    assert not done(town, pull)
    await rescue.lose_everything()
    await rescue.recovered(pull)
    assert town.pull_requests() == [pull]
    assert len(town.reviews(pull)) <= 1
    assert town.step(pull.head_sha, "review").conclusion == "success"


def proposed(town: Town) -> bool:
    return bool(town.pull_requests())


async def test_what_is_finished_is_left_alone_after_a_loss(town: Town, rescue: Rescue) -> None:
    town.model.finds(finding())
    pull = await town.reviewed_pull_request()
    await rescue.lose_everything()
    before, asked = len(town.github.calls), len(town.model.requests)
    calls = town.github.calls
    await town.until(lambda: any("hook" in call.path for call in calls[before:]), "it is looked")
    await town.settled()
    assert len(town.reviews(pull)) == len(town.repo.checks) == 1
    assert len(town.model.requests) == asked
    assert {call.method for call in calls[before:] if "/graphql" not in call.path} <= {
        "GET",
        "POST",
    }
    assert await town.deliveries() == {}


async def test_a_pull_request_that_was_there_before_conductor_is_not_reviewed(
    tmp_path: Path,
) -> None:
    async with running_town(tmp_path) as town:
        town.model.finds(finding())
        webhook, town.app.app.webhook_url = town.app.app.webhook_url, None
        old = await town.open_pull_request()
        await town.clock.advance(3600)
        town.installation.created_at = town.github.world.now()
        town.app.app.webhook_url = webhook
        rescue = Rescue(town)
        await rescue.lose_everything()
        await town.clock.advance(60)
        new = await town.open_pull_request({"README.md": "# New\n"}, branch="new")
        await rescue.recovered(new)
        assert not town.checks(old.head_sha)
        assert not town.reviews(old)


async def test_a_push_that_was_accepted_and_lost_is_looked_at(town: Town, rescue: Rescue) -> None:
    town.model.script(SEEN)
    pull = await town.reviewed_pull_request()
    town.worker.stop()
    await town.push({"README.md": "# The shop\n"})
    await town.github.settled()
    assert not done(town, pull)
    await rescue.lose_everything()
    await rescue.recovered(pull)
    assert len(town.reviews(pull)) == len(pull.threads) == 1
    assert town.check(pull).title == "0 new findings, 1 still open"


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that gives up at once when somebody else has locked it."""
    monkeypatch.setattr("pipelines.stores.sqlite._BUSY_SECONDS", 0.05)


async def test_what_was_refused_while_nothing_could_be_stored_comes_again(
    impatient: None, town: Town, rescue: Rescue
) -> None:
    """GitHub is told 503 for each, and the sweep brings each to exactly one end."""
    town.model.finds(finding())
    await town.settled()
    town.github_repeats = False
    before = len(town.github.deliveries)
    other = sqlite3.connect(town.database, isolation_level=None)
    with contextlib.closing(other):
        other.execute("BEGIN IMMEDIATE")
        pull = await town.open_pull_request()
        for number in range(20):
            town.comment(pull, f"Remark {number}.")
        await town.github.settled()
        other.execute("ROLLBACK")
    refused = town.github.deliveries[before:]
    assert len(refused) >= 22
    assert {delivery.status_code for delivery in refused} == {503}

    await rescue.recovered(pull)
    missed = {delivery.guid for delivery in refused}
    await town.until(lambda: arrived(town) >= missed, "each was sent again")
    await town.settled()
    again = [call for call in town.github.calls if call.path.endswith("/attempts")]
    assert len(again) == len(missed)
    assert set(await town.deliveries()) >= missed
    assert len(town.reviews(pull)) == 1


def arrived(town: Town) -> set[str]:
    return {one.guid for one in town.github.deliveries if one.status_code in (200, 202)}
