"""What people and production said about earlier work changes what is done later."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.storefront import DOWN, open_storefront
from tests.support.town import Town, running_town
from tests.support.town_model import BROKEN_CART, CART, answers, codes, create, finding

WHY = "callers never pass an empty cart"


async def test_a_dismissed_finding_is_not_raised_in_another_pull_request(town: Town) -> None:
    """The model raises it as long as it has not read what people said about it."""
    town.model.script(answers(finding(), lacks=[WHY]), answers())
    first = await town.reviewed_pull_request()
    assert len(first.threads) == 1
    (found,) = [
        found.fingerprint
        for run in await town.runs()
        for result in (await town.services.orchestration.state.results(run)).values()
        for found in result.findings
    ]
    await town.say(first, f"/conductor dismiss {found[:8]} {WHY}")
    second = await town.reviewed_pull_request(branch="another")
    assert WHY in town.model.prompts[-1]
    assert second.threads == []
    assert town.check(second).conclusion == "success"


@pytest.fixture
async def deploying(tmp_path: Path) -> AsyncIterator[Town]:
    settings = {"conductor_allowed_hosts": ("127.0.0.1",)}
    async with running_town(tmp_path, settings=settings) as running:
        yield running


async def test_a_rolled_back_deployment_is_told_to_the_next_who_codes(deploying: Town) -> None:
    town = deploying
    async with open_storefront(town.repo, town.clock) as front:
        await town.configure(
            f"""\
version: 1
environments: {{ staging: {{ {front.config} }} }}
workflows:
  deliver:
    on: {{ push: {{ branches: [main] }} }}
    steps: {{ ship: {{ agent: deploy, environment: staging }} }}
  ask:
    on: {{ issues: {{ labels: [conductor] }} }}
    steps: {{ fix: {{ agent: coding }} }}
"""
        )
        town.model.script(*codes(create("shop/new.py", "NEW = 1\n")), answers())
        await town.push({"shop/cart.py": BROKEN_CART + DOWN}, "main", message="Average carts")
        await town.settled()
        assert len(town.repo.deployments) == 3
        await town.push({"shop/cart.py": CART}, "main", message="Put the cart back")
        await town.settled()
        words = "The deployment of the cart to staging fails. See shop/cart.py."
        town.github.open_issue(town.repo, town.ada, "Cart in staging", words, ["conductor"])
        await town.settled()
        prompt = next(p for p in town.model.prompts if "Cart in staging" in p)
        assert "this deployment was rolled back" in prompt
        (pull,) = town.pull_requests()
        assert "deployment rolled back" in (pull.issue.body or "")
