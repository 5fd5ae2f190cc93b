"""GitHub fails, refuses, hangs up, forgets tokens: everything is said once, in the end."""

from pathlib import Path
from typing import Literal

import pytest

from bot.simulator import Fault
from tests.stories.test_second_push import SEEN
from tests.support.town import Town, running_town
from tests.support.town_model import FIXED_CART, answers, finding


def trouble(town: Town, **fault: object) -> None:
    town.github.faults.add(Fault(**fault))  # pyright: ignore[reportArgumentType]


async def test_a_few_502s_only_take_time(town: Town) -> None:
    town.model.finds(finding())
    for method, path in (("GET", "*/files"), ("POST", "/graphql"), ("POST", "*/check-runs")):
        trouble(town, method=method, path=path, status=502, times=2)
    pull = await town.reviewed_pull_request()
    assert town.review(pull)
    assert len(town.repo.checks) == len(pull.threads) == 1
    assert town.github.faults.waiting == ()


async def test_a_secondary_limit_is_waited_for_as_long_as_github_says(town: Town) -> None:
    town.model.finds(finding())
    message = {"message": "You have exceeded a secondary rate limit."}
    trouble(
        town,
        method="POST",
        path="*/reviews",
        status=403,
        body=message,
        headers={"Retry-After": "90"},
    )
    pull = await town.reviewed_pull_request()
    assert town.review(pull)
    refused, posted = [call for call in town.calls if call.template.endswith("/reviews")]
    assert (refused.status, posted.status) == (403, 200)
    assert (posted.at - refused.at).total_seconds() >= 90
    between = [call for call in town.calls if refused.at < call.at < posted.at]
    assert [c for c in between if (c.at - refused.at).total_seconds() < 90] == []


@pytest.mark.parametrize("cut", ["before", "after"])
@pytest.mark.parametrize("write", ["POST */reviews", "POST */check-runs", "PATCH */check-runs/*"])
async def test_a_connection_that_is_cut_doubles_nothing(
    town: Town, write: str, cut: Literal["before", "after"]
) -> None:
    town.model.finds(finding())
    method, path = write.split()
    trouble(town, method=method, path=path, cut=cut)
    pull = await town.reviewed_pull_request()
    assert town.github.faults.waiting == ()
    assert len(town.reviews(pull)) == len(pull.threads) == len(town.repo.checks) == 1
    assert town.check(pull).status == "completed"


async def test_an_answer_in_a_thread_that_is_cut_off_is_given_once(town: Town) -> None:
    town.model.script(SEEN, answers())
    pull = await town.reviewed_pull_request()
    trouble(town, method="POST", path="*/replies", cut="after")
    await town.push({"shop/cart.py": FIXED_CART})
    await town.settled()
    (thread,) = pull.threads
    assert len(thread.comments) == 2
    assert thread.resolved_by


async def test_a_token_that_ends_mid_run_is_renewed_once(town: Town) -> None:
    town.model.finds(finding())
    town.model.hold()
    pull = await town.open_pull_request()
    await town.until(lambda: town.model.asked, "the model was asked")
    await town.until(lambda: town.check(pull).status == "in_progress", "the check says so")
    before = len(town.calls)
    town.github.world.state.tokens.clear()
    town.model.release()
    await town.settled()
    assert town.review(pull)
    later = town.calls[before:]
    assert [call.status for call in later].count(401) == 1
    assert [call.template for call in later].count(
        "/app/installations/{installation_id}/access_tokens"
    ) == 1


async def test_an_installation_that_is_suspended_mid_run_is_left_in_peace(town: Town) -> None:
    town.model.finds(finding())
    town.model.hold()
    pull = await town.open_pull_request()
    await town.until(lambda: town.model.asked, "the model was asked")
    before = len(town.calls)
    town.github.suspend(town.installation)
    await town.github.settled()
    town.model.release()
    await town.settled()
    assert town.reviews(pull) == []
    assert len(town.calls) - before <= 4, town.listed(town.calls[before:])
    town.github.suspend(town.installation, suspended=False)
    await town.push({"README.md": "# The shop\n"})
    await town.settled()
    assert town.review(pull)


async def test_a_permission_that_was_not_granted_is_named(tmp_path: Path) -> None:
    granted = {"checks": "write", "contents": "read", "pull_requests": "read"}
    async with running_town(tmp_path, permissions=granted) as town:
        town.model.finds(finding())
        pull = await town.reviewed_pull_request()
        assert town.reviews(pull) == []
        check = town.check(pull)
        assert check.conclusion != "success"
        assert "pull_requests" in f"{check.title} {check.summary}"


async def test_when_github_is_down_for_an_hour_the_review_comes_after_it(town: Town) -> None:
    town.model.finds(finding())
    trouble(town, path="/graphql", status=503, times=30)
    pull = await town.open_pull_request()
    await town.until(lambda: len(town.calls) > 5, "Conductor has tried")
    town.github.faults.clear()
    await town.settled()
    assert town.review(pull)
