"""Events come twice, late, or not in order; commits come while the last one is being reviewed."""

from tests.support.town import Town
from tests.support.town_model import BROKEN_CART, CART, FIXED_CART, answers, finding

NOWHERE = "http://127.0.0.1:9/webhooks/github"
"""Nobody listens there: deliveries fail, and GitHub keeps them."""


async def test_a_redelivery_does_nothing_twice(town: Town) -> None:
    town.model.finds(finding())
    pull = await town.reviewed_pull_request()
    before = len(town.calls)
    for delivery in town.github.deliveries:
        town.github.redeliver(delivery)
    await town.settled()
    again = [delivery for delivery in town.github.deliveries if delivery.redelivery]
    assert {delivery.status_code for delivery in again} == {200}
    assert len(town.calls) == before
    assert len(town.reviews(pull)) == len(pull.threads) == len(town.repo.checks) == 1


async def test_deliveries_out_of_order_end_in_the_newest_head(town: Town) -> None:
    town.model.finds(finding())
    address, town.app.app.webhook_url = town.app.app.webhook_url, NOWHERE
    pull = await town.open_pull_request()
    second = await town.push({"shop/cart.py": '"""Cart."""\n\n' + BROKEN_CART})
    await town.push({"shop/cart.py": BROKEN_CART, "README.md": "# The shop\n"})
    await town.github.settled()
    missed = [delivery for delivery in town.github.deliveries if delivery.status_code == 502]
    town.app.app.webhook_url = address
    for delivery in reversed(missed):
        town.github.redeliver(delivery)
        await town.settled()
    assert town.review(pull).commit == pull.head_sha
    assert [check.head_sha for check in town.repo.checks.values()] == [pull.head_sha]
    ended = {one.event: [] for one in (await town.deliveries()).values()}
    for one in (await town.deliveries()).values():
        ended[one.event].append(one.status)
    assert sorted(ended["pull_request"]) == ["done", "superseded", "superseded"]
    assert town.checks(second) == {}


async def test_a_force_push_during_the_review_supersedes_it(town: Town) -> None:
    town.model.script(
        answers(finding(), contains=["+     return sum(prices) / len(prices)"]), answers()
    )
    town.model.hold()
    pull = await town.open_pull_request()
    old = pull.head_sha
    await town.until(lambda: town.model.asked, "the model was asked")
    base = (await town.repo.git.refs("refs/heads/main"))["refs/heads/main"]
    await town.push({"shop/cart.py": FIXED_CART}, parent=base, message="Another way")
    await town.until(lambda: town.model.cancelled, "the question about the dead head was dropped")
    town.model.release()
    await town.settled()
    (stopped,) = town.checks(old).values()
    assert (stopped.status, stopped.conclusion) == ("completed", "cancelled")
    assert town.shown(stopped.title, pull) == "Superseded by a run for COMMIT-2.\n"
    assert town.reviews(pull) == []
    check = town.check(pull)
    assert (check.conclusion, check.title) == ("success", "No findings")
    assert town.model.cancelled == 1


async def test_a_push_while_the_review_is_being_posted_is_not_mixed_up_with_it(town: Town) -> None:
    town.model.script(
        answers(finding(), contains=["+     return sum(prices) / len(prices)"]), answers()
    )
    pull = await town.open_pull_request()
    await town.until(lambda: town.model.requests, "the model was asked")
    await town.push({"shop/cart.py": FIXED_CART})
    await town.settled()
    assert all(review.commit != pull.head_sha for review in town.reviews(pull))
    assert town.check(pull).conclusion in ("success", "neutral")


async def test_a_draft_is_left_alone_until_it_is_ready(town: Town) -> None:
    pull = await town.reviewed_pull_request(draft=True)
    assert town.checks(pull.head_sha) == {}
    assert town.model.requests == []
    asked = await town.say(pull, "/conductor review")
    assert town.check(pull).conclusion == "success"
    assert town.reactions(asked) == ["eyes", "rocket"]


async def test_closing_a_pull_request_stops_its_review(town: Town) -> None:
    town.model.hold()
    pull = await town.open_pull_request()
    await town.until(lambda: town.model.asked, "the model was asked")
    await town.github.close_pull_request(town.repo, pull, town.ada)
    await town.until(lambda: town.model.cancelled, "the question was dropped")
    town.model.release()
    await town.settled()
    check = town.check(pull)
    assert (check.conclusion, check.title) == ("cancelled", "The pull request was closed.")


async def test_two_pull_requests_do_not_wait_for_each_other(town: Town) -> None:
    town.model.script(
        answers(finding(), contains=["+     return sum(prices) / len(prices)"]), answers()
    )
    one = await town.open_pull_request()
    two = await town.open_pull_request({"shop/cart.py": CART + "\n\nVAT = 19\n"}, branch="vat")
    await town.settled()
    assert town.check(one).title == "1 new finding (1 high)"
    assert town.check(two).title == "No findings"
    assert town.reviews(two) == []
