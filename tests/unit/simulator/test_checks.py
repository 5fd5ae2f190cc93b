"""Check runs: limits, ownership, and that what is completed stays completed."""

from typing import Any

import pytest

from tests.unit.simulator.hub import Hub, Reply

NOTE = {
    "path": "src/a.txt",
    "start_line": 1,
    "end_line": 1,
    "annotation_level": "notice",
    "message": "m",
}
BUTTON = {"label": "Fix", "description": "Fix it", "identifier": "fix"}


def output(*notes: Any, **rest: Any) -> dict[str, Any]:
    return {"title": "t", "summary": "s", "annotations": list(notes), **rest}


async def create(hub: Hub, **rest: Any) -> Reply:
    head = (await hub.repo.git.refs())["refs/heads/main"]
    return await hub.api("POST", "~/check-runs", {"name": "review", "head_sha": head, **rest})


REFUSED: list[dict[str, Any]] = [
    {"head_sha": "0" * 40},
    {"head_sha": None},
    {"status": "completed"},
    {"conclusion": "stale"},
    {"status": "sleeping"},
    {"actions": [BUTTON] * 4},
    {"actions": [{**BUTTON, "label": "x" * 21}]},
    {"actions": [{**BUTTON, "description": "x" * 41}]},
    {"actions": [{**BUTTON, "identifier": "x" * 21}]},
    {"output": {"summary": "s"}},
    {"output": {"title": "t"}},
    {"output": output(summary="x" * 65_536)},
    {"output": output(*[NOTE] * 51)},
    {"output": output({**NOTE, "start_line": 2})},
    {"output": output({**NOTE, "end_line": 2, "start_column": 1})},
    {"output": output({**NOTE, "message": "x" * 65_537})},
    {"output": output({k: v for k, v in NOTE.items() if k != "end_line"})},
    {"output": output({**NOTE, "annotation_level": "error"})},
]


async def test_what_github_does_not_take_changes_nothing(hub: Hub) -> None:
    for body in REFUSED:
        assert (await create(hub, **body)).status == 422, body
    assert hub.repo.checks == {}


async def test_annotations_grow_by_fifty_a_request(hub: Hub) -> None:
    run = (await create(hub, output=output(*[NOTE] * 50))).json
    path = f"~/check-runs/{run['id']}"
    await hub.api("PATCH", path, {"output": output(*[NOTE] * 50)})
    assert (await hub.api("PATCH", path, {"output": output(*[NOTE] * 51)})).status == 422
    answer = await hub.api("GET", f"{path}/annotations?per_page=100")
    assert len(answer.json) == 100
    page = await hub.api("GET", f"{path}/annotations?per_page=40&page=2")
    assert len(page.json) == 40
    assert {part.split("; ")[1] for part in page.headers["Link"].split(", ")} == {
        'rel="prev"',
        'rel="first"',
        'rel="next"',
        'rel="last"',
    }


async def test_a_completed_run_cannot_be_opened_again(hub: Hub) -> None:
    run = (await create(hub)).json
    path = f"~/check-runs/{run['id']}"
    assert run["status"] == "queued"
    done = (await hub.api("PATCH", path, {"conclusion": "neutral"})).json
    assert (done["status"], done["conclusion"]) == ("completed", "neutral")
    assert done["completed_at"]
    assert (await hub.api("PATCH", path, {"status": "in_progress"})).status == 422
    assert (await hub.api("PATCH", path, {"output": output()})).status == 200
    await hub.simulator.settled()
    assert hub.events().count(("check_run", "completed")) == 1


async def test_only_the_app_that_made_a_run_changes_it(hub: Hub) -> None:
    run = (await create(hub)).json
    other = await hub.simulator.create_app(hub.org, "other")
    installation = hub.simulator.install(other.app, hub.org)
    path = f"/app/installations/{installation.id}/access_tokens"
    token = (await hub.call("POST", path, token=hub.jwt_of(other))).json["token"]
    body = {"conclusion": "success"}
    refused = await hub.call("PATCH", f"~/check-runs/{run['id']}", body, token=token)
    assert refused.status == 403
    assert "Invalid app_id" in refused.json["message"]


async def test_runs_of_a_commit_are_filtered_and_the_newest_of_a_name_is_shown(hub: Hub) -> None:
    first, second = (await create(hub)).json, (await create(hub)).json
    tests = (await create(hub, name="tests", conclusion="success")).json
    path = "~/commits/main/check-runs"

    async def ids(query: str) -> set[int]:
        found = (await hub.api("GET", path + query)).json
        assert found["total_count"] == len(found["check_runs"])
        return {run["id"] for run in found["check_runs"]}

    assert await ids("") == {second["id"], tests["id"]}
    assert await ids("?filter=all") == {first["id"], second["id"], tests["id"]}
    assert await ids("?check_name=tests") == {tests["id"]}
    assert await ids("?status=completed") == {tests["id"]}
    assert await ids(f"?app_id={hub.new_app.app.id + 1}") == set()
    assert first["check_suite"] == tests["check_suite"]


async def test_a_run_names_its_pull_requests_but_never_those_of_forks(hub: Hub) -> None:
    pull = await hub.pull()
    body = {"name": "review", "head_sha": pull.head_sha}
    run = (await hub.api("POST", "~/check-runs", body)).json
    assert [one["number"] for one in run["pull_requests"]] == [1]
    fork = await hub.simulator.fork(hub.repo, hub.bob)
    await hub.simulator.push(fork, "main", {"b": "b\n"}, hub.bob)
    outside = await hub.simulator.open_pull_request(hub.repo, "main", hub.bob, source=fork)
    body = {"name": "review", "head_sha": outside.head_sha}
    assert (await hub.api("POST", "~/check-runs", body)).json["pull_requests"] == []


async def test_buttons_and_re_runs_reach_only_the_app_that_owns_the_check(hub: Hub) -> None:
    other = await hub.simulator.create_app(
        hub.org, "other", webhook_url=hub.new_app.app.webhook_url
    )
    hub.simulator.install(other.app, hub.org)
    made = (await create(hub, actions=[BUTTON], conclusion="failure")).json
    run = hub.repo.checks[made["id"]]
    with pytest.raises(ValueError, match="no button"):
        await hub.simulator.press_button(hub.repo, run, "other", hub.alice)
    await hub.simulator.press_button(hub.repo, run, "fix", hub.alice)
    await hub.simulator.rerequest(hub.repo, run, hub.alice)
    told = [d for d in hub.simulator.deliveries if d.action in ("requested_action", "rerequested")]
    assert [d.app for d in told] == [hub.new_app.app] * 2
