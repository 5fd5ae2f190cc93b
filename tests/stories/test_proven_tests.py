"""What a change leaves untested gets a generated test, if that test proves itself."""

from typing import Any

from bot.simulator.state import PullRequest
from bot.simulator.views.repositories import verification
from tests.support.town import Town
from tests.support.town_model import BROKEN_CART, CART, Rule

CONFIG = """\
version: 1
workflows:
  pull-request:
    on: { pull_request: {} }
    steps:
      tests: { agent: test, run: python3 -m unittest -v, generate: true }
"""
HEADING = "import unittest\n\nfrom shop.cart import average, total\n\n\n"
SUITE = (
    f"{HEADING}class Cart(unittest.TestCase):\n"
    "    def test_total(self):\n        self.assertEqual(total([1, 2]), 3)\n"
)
MORE = f"{HEADING}class Average(unittest.TestCase):\n"
OF_TWO = f"{MORE}    def test_of_two(self):\n        self.assertEqual(average([2, 4]), 3)\n"
"""Passes with the change; fails without it."""
OF_ONE = f"{MORE}    def test_of_one(self):\n        self.assertEqual(average([2]), 2)\n"
"""Passes with the change and before it; fails with the changed line broken."""
OF_TOTAL = f"{MORE}    def test_of_total(self):\n        self.assertEqual(total([4]), 4)\n"
"""Passes whatever becomes of the change."""
NEW = "tests/test_cart_more.py"
PROVING: list[tuple[str, ...]] = [("head", NEW)] * 3 + [("base", NEW)]
"""The runs that every candidate that passes goes through."""


def writes(content: str) -> list[Rule]:
    """Rules of a model that writes this test as long as it is not there."""
    test = {"source": "shop/cart.py", "title": "The average of a cart", "content": content}
    nothing: dict[str, Any] = {"json": {"tests": []}}
    missing = [f'"test": "{NEW}"']
    return [
        {"purpose": "test", "contains": missing, "replies": [{"json": {"tests": [test]}}]},
        {"purpose": "test", "replies": [nothing]},
        {"purpose": "test.again", "replies": [nothing]},
    ]


async def untested(town: Town, content: str) -> PullRequest:
    """A pull request that changes the cart's average, of which there is no test."""
    files = {"shop/__init__.py": "", "tests/__init__.py": "", "shop/cart.py": CART}
    files |= {"tests/test_cart.py": SUITE, ".conductor.yml": CONFIG}
    await town.push(files, "main", message="Open the shop")
    town.model.script(*writes(content))
    return await town.reviewed_pull_request({"shop/cart.py": BROKEN_CART})


def proving(town: Town) -> list[tuple[str, ...]]:
    """The runs of the candidate: on which commit, and with which files written over it."""
    return [(job.at, *(edit.path for edit in job.edits)) for job in town.agents.jobs if job.edits]


async def test_a_test_that_fails_without_the_change_joins_its_branch(town: Town) -> None:
    pull = await untested(town, OF_TWO)
    first, second = pull.heads
    assert proving(town) == PROVING
    told = town.step(first, "tests")
    assert told.conclusion == "success"
    assert f"Kept `{NEW}` (`The average of a cart`): passes 3 times and fails when the " in (
        told.summary or ""
    )

    commit = await town.repo.git.commit(second)
    assert (pull.head_ref, commit.parents) == ("topic", (first,))
    assert verification(town.github.world, commit)["verified"]
    assert commit.message.startswith("Add tests for shop/cart.py\n")
    asked = next(run for run in await town.runs() if run.trigger.provenance.depth == 0)
    assert f"\nConductor-Run: {asked.id}\n" in commit.message
    changed = await town.repo.git.text("diff", "--name-status", first, second)
    assert changed.split() == ["A", NEW]
    assert await town.file(second, NEW) == OF_TWO.rstrip()


async def test_the_commit_of_a_test_is_tested_and_starts_no_chain(town: Town) -> None:
    pull = await untested(town, OF_TWO)
    told = town.step(pull.head_sha, "tests")
    assert (told.conclusion, told.title) == ("success", "2 tests, none fails")
    assert "The model finds no test missing." in (told.summary or "")
    assert sorted(run.trigger.provenance.depth for run in await town.runs()) == [0, 1]


async def test_a_test_of_what_was_true_before_is_proven_by_breaking_the_change(town: Town) -> None:
    pull = await untested(town, OF_ONE)
    assert await town.file(pull.head_sha, NEW) == OF_ONE.rstrip()
    assert proving(town)[:4] == PROVING
    assert all(run == ("head", "shop/cart.py", NEW) for run in proving(town)[4:])
    message = (await town.repo.git.commit(pull.head_sha)).message
    assert "fails when line 6 of the change is mutated" in message
    assert "/ len(prices)" in await town.file(pull.head_sha, "shop/cart.py")


async def test_a_test_that_passes_without_the_change_is_not_committed(town: Town) -> None:
    pull = await untested(town, OF_TOTAL)
    (head,) = pull.heads
    assert proving(town)[:4] == PROVING
    assert len(proving(town)) > len(PROVING)
    told = town.step(head, "tests")
    assert (told.conclusion, told.title) == ("success", "1 test, none fails")
    assert f"Discarded `{NEW}` (`The average of a cart`): it does not fail without the change" in (
        told.summary or ""
    )
    assert [request.purpose for request in town.model.requests] == ["test", "test.again"]
    assert "it does not fail without the change" in town.model.prompts[-1]
