"""The first pull request: what comes in, and what people see."""

import re

from bot.simulator.state import CheckRun
from tests.support.town import Town
from tests.support.town_model import BROKEN_CART, CART, finding

BLOCKING = """\
version: 1
workflows:
  pull-request:
    on: { pull_request: {} }
    steps:
      review: { agent: review, block_on: high }
"""


def buttons(check: CheckRun) -> list[str]:
    return [action["label"] for action in check.actions]


async def test_a_signed_webhook_becomes_a_review(town: Town) -> None:
    town.model.finds(finding())
    pull = await town.reviewed_pull_request()
    review = town.review(pull)
    assert (review.state, review.commit) == ("COMMENTED", pull.head_sha)
    assert (
        town.shown(review.body, pull)
        == """\
1 new finding (1 high).

Looked at 1 of 1 files.

Commit COMMIT-1
"""
    )
    (thread,) = pull.threads
    assert (thread.first.path, thread.first.side, thread.first.line) == ("shop/cart.py", "RIGHT", 6)
    assert (
        town.shown(thread.first.body, pull)
        == """\
**The average of an empty cart divides by zero**

`high` · correctness

An empty cart has no prices, so `len(prices)` is 0.
"""
    )


async def test_without_a_file_a_repository_gets_advice_and_nothing_is_blocked(town: Town) -> None:
    town.model.finds(finding(severity="critical"))
    check = town.check(await town.reviewed_pull_request())
    assert check.name == "conductor / pull-request / review"
    assert (check.status, check.conclusion) == ("completed", "neutral")
    assert check.title == "1 new finding (1 critical)"
    assert (
        re.sub(r"\d+ tokens", "so many tokens", check.summary or "")
        == """\
1 new finding (1 critical).

Looked at 1 of 1 files.

1 model call with `mock:model.json`, so many tokens, 0.0000 USD."""
    )
    assert buttons(check) == ["Retry", "Fix this"]
    (annotation,) = check.annotations
    assert annotation == {
        "path": "shop/cart.py",
        "start_line": 6,
        "end_line": 6,
        "annotation_level": "failure",
        "title": "The average of an empty cart divides by zero",
        "message": "An empty cart has no prices, so `len(prices)` is 0.\n\n[critical, correctness]",
    }


async def test_block_on_makes_the_check_fail(town: Town) -> None:
    await town.configure(BLOCKING)
    town.model.finds(finding(severity="high"))
    check = town.check(await town.reviewed_pull_request())
    assert (check.conclusion, check.title) == ("failure", "1 finding at or above high")


async def test_what_is_below_block_on_is_advice(town: Town) -> None:
    await town.configure(BLOCKING)
    town.model.finds(finding(severity="medium"))
    check = town.check(await town.reviewed_pull_request())
    assert (check.conclusion, check.title) == ("neutral", "1 new finding (1 medium)")


async def test_success_means_that_everything_was_looked_at_and_nothing_was_found(
    town: Town,
) -> None:
    pull = await town.reviewed_pull_request()
    check = town.check(pull)
    assert (check.conclusion, check.title) == ("success", "No findings")
    assert town.reviews(pull) == []


async def test_a_remedy_is_offered_as_a_suggestion(town: Town) -> None:
    remedy = "    return sum(prices) / len(prices) if prices else 0"
    town.model.finds(finding(suggestion=remedy))
    pull = await town.reviewed_pull_request()
    (thread,) = pull.threads
    assert town.shown(thread.first.body, pull).endswith(
        f"`len(prices)` is 0.\n\n```suggestion\n{remedy}\n```\n"
    )


async def test_a_finding_outside_the_diff_is_told_in_the_text(town: Town) -> None:
    long = "".join(f"line_{number} = {number}\n" for number in range(1, 40))
    await town.push({"shop/lines.py": long}, "main")
    town.model.finds(
        finding(path="shop/lines.py", line=2, quote="line_2 = 2", title="Two is too little")
    )
    pull = await town.reviewed_pull_request(
        {"shop/lines.py": long.replace("line_30 = 30", "line_30 = 31")}
    )
    assert pull.threads == []
    assert (
        town.shown(town.review(pull).body, pull)
        == """\
1 new finding (1 high).

**Two is too little**

`high` · correctness · `shop/lines.py` line 2

An empty cart has no prices, so `len(prices)` is 0.

```py
line_2 = 2
```

Looked at 1 of 1 files.

Commit COMMIT-1
"""
    )


async def test_a_finding_that_quotes_what_is_not_there_is_dropped_and_counted(town: Town) -> None:
    town.model.finds(finding(quote="    return 0 / 0"), finding(severity="low"))
    pull = await town.reviewed_pull_request()
    assert len(pull.threads) == 1
    assert (
        town.shown(town.review(pull).body, pull)
        == """\
1 new finding (1 low).

1 further remark of the model did not survive verification.

Looked at 1 of 1 files.

Commit COMMIT-1
"""
    )


async def test_ten_files_cost_at_most_ten_calls_the_first_time(town: Town) -> None:
    address, town.app.app.webhook_url = town.app.app.webhook_url, None
    files = {f"shop/part_{number}.py": BROKEN_CART for number in range(10)}
    await town.push(dict.fromkeys(files, CART), "main")
    await town.push(files)
    town.app.app.webhook_url = address
    town.model.finds(finding(path="shop/part_3.py"))
    pull = await town.github.open_pull_request(town.repo, "topic", town.ada)
    await town.settled()
    assert town.review(pull)
    assert town.check(pull).summary
    assert len(town.calls) <= 10, "\n".join(town.listed())


async def test_a_webhook_that_github_did_not_sign_does_nothing(town: Town) -> None:
    town.app.app.webhook_secret = "not the secret that Conductor knows, by far"
    await town.open_pull_request()
    await town.github.settled()
    assert {delivery.status_code for delivery in town.github.deliveries} == {401}
    assert town.calls == []
    assert await town.deliveries() == {}
