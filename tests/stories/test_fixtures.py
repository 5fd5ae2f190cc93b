"""Fixtures of a repository's own schemas: valid, the same every time, and known to the tests."""

import hashlib
import json
import sqlite3
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
      fixtures: { agent: test-data, commit: true }
      tests: { agent: test, run: python3 -m unittest -v, needs: [fixtures] }
"""
SCHEMA = """\
CREATE TABLE customers (
    id INTEGER PRIMARY KEY,
    email VARCHAR(80) NOT NULL UNIQUE
);
CREATE TABLE orders (
    id INTEGER PRIMARY KEY,
    customer_id INTEGER NOT NULL REFERENCES customers (id),
    note TEXT
);
"""
SUITE = (
    "import unittest\n\nfrom shop.cart import total\n\n\nclass Cart(unittest.TestCase):\n"
    "    def test_total(self):\n        self.assertEqual(total([1, 2]), 3)\n"
)
ORDERS, CUSTOMERS = (f"tests/fixtures/generated/{table}.json" for table in ("orders", "customers"))
NEW = "tests/test_cart_more.py"
WITH_ORDERS = f"""\
import json
import unittest
from pathlib import Path

from shop.cart import average


class Average(unittest.TestCase):
    def test_is_not_above_all_orders(self):
        numbers = [order["id"] for order in json.loads(Path("{ORDERS}").read_text())]
        self.assertLessEqual(average(numbers), max(numbers))
"""
PLANS: Rule = {
    "purpose": "test_data",
    "replies": [{"json": {"schemas": [{"path": "db/schema.sql", "name": "orders"}]}}],
}
WRITES_NOTHING: list[Rule] = [
    {"purpose": purpose, "replies": [{"json": {"tests": []}}]} for purpose in ("test", "test.again")
]


async def with_schema(town: Town, *rules: Rule) -> PullRequest:
    """A pull request to a shop with a schema of its database."""
    files = {"shop/__init__.py": "", "tests/__init__.py": "", "shop/cart.py": CART}
    files |= {"tests/test_cart.py": SUITE, "db/schema.sql": SCHEMA, ".conductor.yml": CONFIG}
    await town.push(files, "main", message="Open the shop")
    town.model.script(PLANS, *rules, *WRITES_NOTHING)
    return await town.reviewed_pull_request({"shop/cart.py": BROKEN_CART})


def told_to_tests(town: Town) -> list[tuple[str, dict[str, str]]]:
    """Of each test step: its commit, and path and digest of each fixture that it is told of."""
    told: list[tuple[str, dict[str, str]]] = []
    for task in town.agents.tasks:
        if task.step == "tests":
            made: Any = task.inputs["fixtures"]
            digests = {each["path"]: each["sha256"] for each in made["fixtures"]}
            told.append((task.change.head_sha, digests))
    return told


async def test_fixtures_of_a_schema_are_committed_to_the_branch(town: Town) -> None:
    pull = await with_schema(town)
    first, second = pull.heads
    commit = await town.repo.git.commit(second)
    assert (pull.head_ref, commit.parents) == ("topic", (first,))
    assert verification(town.github.world, commit)["verified"]
    asked = next(run for run in await town.runs() if run.trigger.provenance.depth == 0)
    assert f"\nConductor-Run: {asked.id}\n" in commit.message
    changed = await town.repo.git.text("diff", "--name-status", first, second)
    assert changed.split() == ["A", CUSTOMERS, "A", ORDERS]
    told = town.step(second, "fixtures")
    assert (told.conclusion, told.title) == ("success", "40 valid records for 2 of 2 schemas")


async def test_a_database_with_that_schema_takes_every_record(town: Town) -> None:
    pull = await with_schema(town)
    database = sqlite3.connect(":memory:")
    try:
        database.execute("PRAGMA foreign_keys = ON")
        database.executescript(SCHEMA)
        customers = json.loads(await town.file(pull.head_sha, CUSTOMERS))
        database.executemany("INSERT INTO customers VALUES (:id, :email)", customers)
        orders = json.loads(await town.file(pull.head_sha, ORDERS))
        database.executemany("INSERT INTO orders VALUES (:id, :customer_id, :note)", orders)
        joined = "SELECT count(*) FROM orders JOIN customers ON customers.id = customer_id"
        assert database.execute(joined).fetchone() == (20,)
    finally:
        database.close()
    assert len(customers) == 20
    assert all(len(customer["email"]) <= 80 for customer in customers)
    assert any(order["note"] is None for order in orders)


async def test_a_second_run_makes_the_same_bytes_and_commits_nothing(town: Town) -> None:
    pull = await with_schema(town)
    head = pull.head_sha
    await town.say(pull, "/conductor review")
    assert pull.head_sha == head
    digests = {
        path: hashlib.sha256(await town.repo.git.run("show", f"{head}:{path}")).hexdigest()
        for path in (CUSTOMERS, ORDERS)
    }
    told = told_to_tests(town)
    assert [sha for sha, _ in told].count(head) == 2
    assert all(made == digests for _, made in told)
    assert "The branch has these fixtures already." in (town.step(head, "fixtures").summary or "")


async def test_a_written_test_may_rest_on_the_fixtures(town: Town) -> None:
    test = {"source": "shop/cart.py", "title": "Orders", "content": WITH_ORDERS}
    writes = {"purpose": "test", "contains": [f'"test": "{NEW}"', ORDERS]}
    pull = await with_schema(town, {**writes, "replies": [{"json": {"tests": [test]}}]})
    _, with_fixtures, with_test = pull.heads
    changed = await town.repo.git.text("diff", "--name-status", with_fixtures, with_test)
    assert changed.split() == ["A", NEW]
    message = (await town.repo.git.commit(with_test)).message
    assert "passes 3 times and fails when the change is reverted" in message
    assert town.step(with_test, "tests").title == "2 tests, none fails"
