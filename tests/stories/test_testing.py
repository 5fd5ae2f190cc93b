"""The test agents: what fails is told on its line, what is generated needs proof or a schema."""

from pathlib import Path

from tests.support.town import Town, running_town
from tests.support.town_model import CART, answers

CONFIG = """\
version: 1
workflows:
  pull-request:
    on: { pull_request: {} }
    steps:
      tests: { agent: test, run: python3 -m unittest -v, generate: false }
"""
HEAD = (
    "import unittest\n\nfrom shop.cart import average, total\n\n\nclass Cart(unittest.TestCase):\n"
)
TOTAL = "    def test_total(self):\n        self.assertEqual(total([1, 2]), 3)\n"
SUM = "    def test_average(self):\n        self.assertEqual(average([2, 4]), 6)\n"
WRONG = CART.replace(
    "def total(prices):\n    return sum(prices)", "def total(prices):\n    return 0"
)


async def shop(town: Town, tests: str = TOTAL + SUM, cart: str = CART) -> None:
    files = {"shop/__init__.py": "", "tests/__init__.py": "", "shop/cart.py": cart}
    files |= {"tests/test_cart.py": HEAD + tests, ".conductor.yml": CONFIG}
    await town.push(files, "main", message="Open the shop")
    town.model.script(answers())


async def test_a_new_failure_is_told_on_its_line(town: Town) -> None:
    await shop(town)
    pull = await town.reviewed_pull_request({"shop/cart.py": WRONG})
    check = town.check(pull)
    assert (check.conclusion, len(check.annotations)) == ("failure", 1)
    (annotation,) = check.annotations
    assert (annotation["path"], annotation["start_line"]) == ("tests/test_cart.py", 8)
    assert annotation["annotation_level"] == "failure"


async def test_a_failure_that_was_there_before_does_not_block(town: Town) -> None:
    await shop(town, cart=WRONG)
    pull = await town.reviewed_pull_request({"shop/cart.py": WRONG + "# Later.\n"})
    check = town.check(pull)
    assert (check.conclusion, check.annotations) == ("neutral", [])
    assert "fail on base, too" in (check.title or "")


async def test_without_a_sandbox_nothing_is_run(tmp_path: Path) -> None:
    async with running_town(tmp_path, settings={"conductor_sandbox": "none"}) as town:
        await shop(town)
        pull = await town.reviewed_pull_request({"shop/cart.py": WRONG})
        check = town.check(pull)
        assert check.conclusion == "neutral"
        assert "switched sandboxes off" in f"{check.title} {check.summary}"
        assert town.agents.jobs == []


async def test_a_fork_s_code_waits_for_a_writer(town: Town) -> None:
    await shop(town)
    mallory = town.github.create_user("mallory")
    town.github.set_role(town.repo, mallory, "read")
    fork = await town.github.fork(town.repo, mallory)
    pull = await town.reviewed_pull_request({"shop/cart.py": WRONG}, by=mallory, source=fork)
    assert town.check(pull).conclusion == "action_required"
    assert town.agents.jobs == []
    await town.say(pull, "/conductor approve")
    assert town.check(pull).conclusion == "failure"
    assert town.agents.jobs
