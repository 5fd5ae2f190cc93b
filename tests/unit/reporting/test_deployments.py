"""Deployments: one a key, nothing merged for them, statuses forward only."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from bot.simulator.faults import Fault
from pipelines.model import CreateDeployment, SetDeploymentStatus
from tests.unit.reporting.shop import SECRET, Shop, opened


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Shop]:
    async with opened(tmp_path) as shop:
        yield shop


def wish(shop: Shop, **fields: Any) -> CreateDeployment:
    values: dict[str, Any] = {
        "head_sha": shop.base,
        "sha": shop.base,
        "environment": "production",
        "production": True,
        "occasion": "run1/ship",
    }
    return CreateDeployment(**{**values, **fields})


def status(shop: Shop, number: int, state: Any, **fields: Any) -> SetDeploymentStatus:
    return SetDeploymentStatus(
        head_sha=shop.base, environment="production", deployment_id=number, state=state, **fields
    )


async def test_a_deployment_asks_github_to_merge_and_wait_for_nothing(shop: Shop) -> None:
    receipt = await shop.do(wish(shop))
    (made,) = shop.repo.deployments.values()
    assert (receipt.status, receipt.number) == ("done", made.id)
    assert (made.sha, made.environment, made.production, made.transient) == (
        shop.base,
        "production",
        True,
        False,
    )
    assert made.payload == {"key": wish(shop).key, "run": "run1"}
    sent = json.loads(
        next(
            one.request_body
            for one in shop.wire.exchanges
            if one.method == "POST" and one.path.endswith("/deployments")
        )
    )
    assert (sent["auto_merge"], sent["required_contexts"]) == (False, [])
    assert shop.permissions_minted() == [{"deployments": "write", "metadata": "read"}]


async def test_a_rollback_is_a_deployment_of_its_own(shop: Shop) -> None:
    first = await shop.do(wish(shop))
    back = await shop.do(wish(shop, rollback=True, occasion="run1/back"))
    assert back.number != first.number
    assert [one.task for one in shop.repo.deployments.values()] == ["deploy", "rollback"]


async def test_a_repeat_finds_its_own_and_nobody_elses(shop: Shop) -> None:
    theirs = await shop.simulator.deploy(shop.repo, "main", "production", shop.alice)
    theirs.payload = {"key": wish(shop).key}
    other = await shop.do(wish(shop, occasion="run0/ship"))
    first = await shop.do(wish(shop), repeated=True)
    assert first.status == "done"
    assert first.number not in (theirs.id, other.number)
    again = await shop.do(wish(shop), repeated=True)
    assert (again.status, again.number) == ("found", first.number)


@pytest.mark.parametrize("cut", ["before", "after"])
async def test_a_cut_connection_leaves_exactly_one_deployment(shop: Shop, cut: Any) -> None:
    fault = Fault(method="POST", path="*/deployments", cut=cut)
    receipt = await shop.survive(wish(shop), fault)
    (made,) = shop.repo.deployments.values()
    assert receipt.number == made.id


async def test_statuses_move_forward_and_never_back(shop: Shop) -> None:
    number = (await shop.do(wish(shop))).number or 0
    fates = [
        (await shop.do(status(shop, number, state))).status
        for state in ("in_progress", "queued", "in_progress", "success", "failure", "inactive")
    ]
    assert fates == ["done", "found", "found", "done", "found", "done"]
    made = shop.repo.deployments[number]
    assert [one.state for one in made.statuses] == ["in_progress", "success", "inactive"]
    assert (await shop.do(status(shop, number, "error"))).message == "It is inactive already."


@pytest.mark.parametrize("cut", ["before", "after"])
async def test_a_cut_connection_leaves_exactly_one_status(shop: Shop, cut: Any) -> None:
    number = (await shop.do(wish(shop))).number or 0
    fault = Fault(method="POST", path="*/statuses", cut=cut)
    await shop.survive(status(shop, number, "in_progress"), fault)
    assert [one.state for one in shop.repo.deployments[number].statuses] == ["in_progress"]


async def test_a_status_says_where_to_look_without_secrets_or_odd_links(shop: Shop) -> None:
    number = (await shop.do(wish(shop))).number or 0
    effect = status(
        shop,
        number,
        "success",
        description=f"Up with {SECRET}\nand more",
        environment_url="https://shop.example/",
        log_url="javascript:alert(1)",
    )
    await shop.do(effect)
    (made,) = shop.repo.deployments[number].statuses
    assert made.description == "Up with [redacted] and more"
    assert made.environment_url == "https://shop.example/"
    assert made.log_url == ""
    assert (await shop.do(status(shop, number, "inactive"))).status == "done"
    assert shop.repo.deployments[number].statuses[-1].log_url.startswith("https://conductor")


async def test_what_is_not_allowed_or_gone_is_said(tmp_path: Path, shop: Shop) -> None:
    assert (await shop.do(status(shop, 5, "success"))).message == "The deployment is gone."
    refused = await shop.do(wish(shop, sha="f" * 40))
    assert (refused.status, "No ref found" in refused.message) == ("denied", True)
    async with opened(tmp_path / "other", deployments="none") as other:
        assert (await other.do(wish(other))).status == "denied"
