"""A fix that a person takes back is remembered, and told to whoever codes next."""

import pytest

from bot.simulator.merging import Method
from tests.support.town import Town
from tests.support.town_model import BROKEN_CART, GUARD, answers, codes

ASK = """\
version: 1
workflows:
  ask:
    on: { issues: { labels: [conductor] } }
    steps: { fix: { agent: coding } }
"""
WHY = "The shop's till counts empty carts itself."


async def asked(town: Town, title: str) -> None:
    """Ada asks for work on the cart, and Conductor does what it can."""
    words = "The average of an empty cart fails. See shop/cart.py."
    town.github.open_issue(town.repo, town.ada, title, words, ["conductor"])
    await town.settled()


def prompt(town: Town, title: str) -> str:
    return next(one for one in town.model.prompts if title in one)


@pytest.mark.parametrize("method", ["squash", "merge"])
async def test_a_fix_that_a_person_reverts_is_told_to_the_next_who_codes(
    town: Town, method: Method
) -> None:
    await town.configure(ASK)
    await town.push({"shop/cart.py": BROKEN_CART}, "main", message="Average carts")
    town.model.script(*codes(GUARD), answers())
    await asked(town, "Empty carts crash")
    assert "reverted" not in prompt(town, "Empty carts crash")
    (fix,) = town.pull_requests()

    merged = await town.github.merge(town.repo, fix, town.ada, method=method)
    words = f'Revert "{fix.issue.title}"\n\n{WHY}\n\nThis reverts commit {merged}.'
    await town.push({"shop/cart.py": BROKEN_CART}, "main", message=words)
    await town.settled()

    await asked(town, "Carts without prices crash")
    told = prompt(town, "Carts without prices crash")
    assert "this fix was reverted after it had been merged" in told
    assert "Give an empty cart an average" in told


async def test_what_a_stranger_s_push_says_it_reverts_is_no_lesson_about_us(town: Town) -> None:
    """The commit that it names was a person's own, so there is nothing to learn of it."""
    await town.configure(ASK)
    theirs = await town.push({"shop/cart.py": BROKEN_CART}, "main", message="Average carts")
    words = f'Revert "Average carts"\n\nThis reverts commit {theirs}.'
    await town.push({"shop/cart.py": BROKEN_CART + "\n"}, "main", message=words)
    await town.settled()

    town.model.script(*codes(GUARD), answers())
    await asked(town, "Empty carts crash")
    assert "reverted after" not in prompt(town, "Empty carts crash")
    assert "reverted commits not known" not in town.log.getvalue()
