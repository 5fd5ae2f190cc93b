"""Deployments: made for a commit, moved on by statuses, as GitHub's rules have it."""

from typing import Any

import pytest

from bot.simulator.state import CheckRun
from tests.unit.simulator.hub import Hub

CAREFUL: dict[str, Any] = {
    "ref": "main",
    "environment": "staging",
    "auto_merge": False,
    "required_contexts": [],
}


async def deploy(hub: Hub, **fields: Any) -> dict[str, Any]:
    answer = await hub.api("POST", "~/deployments", {**CAREFUL, **fields})
    assert answer.status == 201, answer.json
    return answer.json


async def say(hub: Hub, deployment: dict[str, Any], state: str) -> int:
    path = f"~/deployments/{deployment['id']}/statuses"
    return (await hub.api("POST", path, {"state": state})).status


async def latest(hub: Hub, deployment: dict[str, Any]) -> str:
    path = f"~/deployments/{deployment['id']}/statuses?per_page=1"
    return (await hub.api("GET", path)).json[0]["state"]


async def test_a_deployment_is_found_by_commit_and_environment(hub: Hub) -> None:
    made = await deploy(hub, payload={"key": "k"})
    await deploy(hub, environment="other")
    sha = await hub.repo.git.resolve("main")
    found = (await hub.api("GET", f"~/deployments?sha={sha}&environment=staging")).json
    assert [one["id"] for one in found] == [made["id"]]
    assert found[0]["payload"] == {"key": "k"}
    assert (await hub.api("GET", f"~/deployments?sha={'0' * 40}")).json == []


async def test_a_success_makes_its_forerunners_inactive_but_not_in_production(hub: Hub) -> None:
    first, second = await deploy(hub), await deploy(hub)
    live = await deploy(hub, environment="production")
    assert live["production_environment"]
    for one in (first, live, second, await deploy(hub, environment="production")):
        assert await say(hub, one, "success") == 201
    assert await latest(hub, first) == "inactive"
    assert await latest(hub, second) == "success"
    assert await latest(hub, live) == "success"


async def test_without_a_list_every_check_must_have_succeeded(hub: Hub) -> None:
    pull = await hub.pull()
    run = {"name": "ci", "head_sha": pull.head_sha, "status": "in_progress"}
    check = (await hub.api("POST", "~/check-runs", run)).json["id"]
    wish = {"ref": pull.head_sha, "auto_merge": False}
    assert (await hub.api("POST", "~/deployments", wish)).status == 409
    assert isinstance(hub.repo.checks[check], CheckRun)
    await hub.api("PATCH", f"~/check-runs/{check}", {"conclusion": "success"})
    assert (await hub.api("POST", "~/deployments", wish)).status == 201


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("~/deployments", {**CAREFUL, "ref": "nowhere"}, 422),
        ("~/deployments", {}, 422),
        ("~/deployments/1/statuses", {"state": "success"}, 404),
        ("~/deployments/x/statuses", {"state": "success"}, 404),
    ],
)
async def test_what_cannot_be_deployed_is_refused(
    hub: Hub, path: str, body: Any, status: int
) -> None:
    assert (await hub.api("POST", path, body)).status == status


async def test_a_status_has_a_short_description_and_a_known_state(hub: Hub) -> None:
    made = await deploy(hub)
    path = f"~/deployments/{made['id']}/statuses"
    long = {"state": "success", "description": "x" * 141}
    assert (await hub.api("POST", path, long)).status == 422
    assert await say(hub, made, "great") == 422


async def test_deployments_need_their_permission(hub: Hub) -> None:
    token = await hub.token(permissions={"contents": "write"})
    assert (await hub.call("POST", "~/deployments", CAREFUL, token=token)).status == 403
    assert (await hub.call("GET", "~/deployments", token=token)).status == 403


async def test_a_branch_that_lags_behind_is_not_deployed_by_merging(hub: Hub) -> None:
    await hub.pull()
    await hub.simulator.push(hub.repo, "main", {"b.txt": "b\n"}, hub.alice)
    assert (await hub.api("POST", "~/deployments", {"ref": "topic"})).status == 409
    assert (await hub.api("POST", "~/deployments", {**CAREFUL, "ref": "topic"})).status == 201


async def test_people_deploy_too(hub: Hub) -> None:
    made = await hub.simulator.deploy(hub.repo, "main", "staging", hub.bob)
    hub.simulator.set_deployment_status(hub.repo, made, "in_progress", hub.bob)
    await hub.simulator.settled()
    assert hub.events()[-2:] == [("deployment", "created"), ("deployment_status", "created")]
