"""Pages: readable, escaped, and acting only for visitors of these pages."""

from tests.unit.simulator.hub import Hub
from tests.unit.simulator.test_graphql import reviewed

ATTACK = "<script>alert(1)</script> [x](javascript:alert(1)) <!-- marker -->"


async def visit(hub: Hub, path: str) -> str:
    answer = await hub.call("GET", path)
    assert answer.status == 200
    assert answer.headers["Content-Type"].startswith("text/html")
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    return answer.body.decode()


async def send(hub: Hub, path: str, origin: str | None = None, **form: str) -> int:
    async with hub.session.post(
        hub.simulator.base_url + path,
        data=form,
        headers={"Origin": origin or hub.simulator.base_url},
        allow_redirects=False,
    ) as answer:
        return answer.status


async def test_every_page_shows_what_there_is(hub: Hub) -> None:
    await reviewed(hub)
    await hub.simulator.settled()
    assert "acme/shop" in await visit(hub, "/")
    assert "topic" in await visit(hub, "/acme/shop")
    page = await visit(hub, "/acme/shop/pull/1")
    assert "+line ten" in page
    assert "src/a.txt:10" in page
    assert "pull_request.opened" in await visit(hub, "/-/deliveries")
    assert (await hub.call("GET", "/acme/nothing")).status == 404


async def test_what_people_write_cannot_become_code(hub: Hub) -> None:
    pull = await hub.pull({"<img src=x>.txt": f"{ATTACK}\n"})
    hub.simulator.comment(hub.repo, 1, hub.bob, ATTACK)
    pull.issue.title = ATTACK
    run = {
        "name": ATTACK,
        "head_sha": pull.head_sha,
        "details_url": "javascript:alert(1)",
        "conclusion": "failure",
        "output": {"title": ATTACK, "summary": ATTACK, "text": ATTACK},
    }
    assert (await hub.api("POST", "~/check-runs", run)).status == 201
    page = await visit(hub, "/acme/shop/pull/1")
    assert "<script" not in page
    assert "<img" not in page
    assert 'href="javascript' not in page


async def test_buttons_act_as_the_chosen_person(hub: Hub) -> None:
    pull = await hub.pull()
    button = {"label": "Fix", "description": "Fix it", "identifier": "fix"}
    body = {"name": "review", "head_sha": pull.head_sha, "actions": [button]}
    run = (await hub.api("POST", "~/check-runs", body)).json["id"]
    assert "Fix it" in await visit(hub, "/acme/shop/pull/1")
    form = {"number": "1", "user": "alice", "run": str(run), "identifier": "fix"}
    assert await send(hub, "/acme/shop/-/press", **form) == 303
    assert await send(hub, "/acme/shop/-/rerequest", **form) == 422
    said = {"number": "1", "user": "bob", "body": "/conductor help"}
    assert await send(hub, "/acme/shop/-/comment", **said) == 303
    await hub.simulator.settled()
    assert ("check_run", "requested_action") in hub.events()
    assert pull.issue.comments[0].user is hub.bob


async def test_a_form_of_another_site_is_refused(hub: Hub) -> None:
    await hub.pull()
    said = {"number": "1", "user": "bob", "body": "hello"}
    assert await send(hub, "/acme/shop/-/comment", "http://evil.test", **said) == 403
    assert hub.repo.issues[1].comments == []


async def test_a_thread_is_resolved_and_a_delivery_repeated_by_button(hub: Hub) -> None:
    await reviewed(hub)
    thread = hub.repo.pulls[0].threads[0]
    form = {"number": "1", "user": "alice", "thread": str(thread.id)}
    assert await send(hub, "/acme/shop/-/resolve", **form) == 303
    assert thread.resolved_by is hub.alice
    first = hub.simulator.deliveries[0]
    assert await send(hub, "/-/redeliver", delivery=str(first.id)) == 303
    assert hub.simulator.deliveries[-1].guid == first.guid


async def test_a_commit_and_the_deployments_have_pages(hub: Hub) -> None:
    pull = await hub.pull()
    made = await hub.simulator.deploy(hub.repo, "main", "staging", hub.bob)
    hub.simulator.set_deployment_status(hub.repo, made, "in_progress", hub.bob)
    made.description = ATTACK
    assert "+line ten" in await visit(hub, f"/acme/shop/commit/{pull.head_sha}")
    page = await visit(hub, "/acme/shop/deployments")
    assert "staging" in page
    assert "in_progress" in page
    assert "<script" not in page
    assert (await hub.call("GET", f"/acme/shop/commit/{'0' * 40}")).status == 404


async def test_the_merge_button_merges_for_those_who_may(hub: Hub) -> None:
    pull = await hub.pull()
    assert "Merge</button>" in await visit(hub, "/acme/shop/pull/1")
    stranger = hub.simulator.create_user("mallory")
    path, number = "/acme/shop/-/merge", str(pull.number)
    assert await send(hub, path, user=stranger.login, number=number) == 403
    assert pull.merged_at is None
    assert await send(hub, path, user="alice", number=number) == 303
    assert pull.merged_by is hub.alice
    page = await visit(hub, "/acme/shop/pull/1")
    assert "merged" in page
    assert "Merge</button>" not in page
