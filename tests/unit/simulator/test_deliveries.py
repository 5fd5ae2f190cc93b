"""Webhooks: signed, recorded, never repeated unless asked."""

import hashlib
import hmac
import json
import re

from tests.unit.simulator.hub import Hub


async def test_a_delivery_is_signed_and_says_what_it_is(hub: Hub) -> None:
    await hub.pull()
    await hub.simulator.settled()
    got = next(one for one in hub.inbox if one.headers["X-GitHub-Event"] == "pull_request")
    key = hub.new_app.webhook_secret.encode()
    signature = hmac.new(key, got.body, hashlib.sha256).hexdigest()
    assert got.headers["X-Hub-Signature-256"] == f"sha256={signature}"
    assert got.headers["User-Agent"].startswith("GitHub-Hookshot/")
    assert got.headers["X-GitHub-Hook-ID"] == str(hub.new_app.app.hook_id)
    uuid = r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
    assert re.fullmatch(uuid, got.headers["X-GitHub-Delivery"])
    payload = json.loads(got.body)
    assert payload["installation"]["id"] == hub.installation.id
    assert payload["organization"]["login"] == "acme"
    assert payload["sender"]["login"] == "alice"


async def test_a_failed_delivery_is_recorded_and_not_repeated(hub: Hub) -> None:
    hub.statuses += [503]
    hub.simulator.ping(hub.new_app.app)
    await hub.simulator.settled()
    pings = [d for d in hub.simulator.deliveries if d.event == "ping"]
    assert [(d.status_code, d.status) for d in pings] == [(503, "Invalid HTTP Response: 503")]
    listed = await hub.call("GET", "/app/hook/deliveries?status=failure", token=hub.jwt())
    assert [one["id"] for one in listed.json] == [pings[0].id]


async def test_redelivery_keeps_the_guid_and_the_bytes(hub: Hub) -> None:
    hub.statuses += [500]
    hub.simulator.ping(hub.new_app.app)
    await hub.simulator.settled()
    failed = hub.simulator.deliveries[-1]
    path = f"/app/hook/deliveries/{failed.id}/attempts"
    assert (await hub.call("POST", path, token=hub.jwt())).status == 202
    await hub.simulator.settled()
    again = hub.simulator.deliveries[-1]
    assert (again.guid, again.redelivery, again.status) == (failed.guid, True, "OK")
    assert again.id != failed.id
    assert hub.inbox[-1].body == hub.inbox[-2].body
    detail = await hub.call("GET", f"/app/hook/deliveries/{again.id}", token=hub.jwt())
    assert detail.json["request"]["headers"]["X-GitHub-Delivery"] == failed.guid
    assert detail.json["response"]["payload"] == "ok"


async def test_deliveries_are_paged_by_cursor_newest_first(hub: Hub) -> None:
    for _ in range(4):
        hub.simulator.ping(hub.new_app.app)
    await hub.simulator.settled()
    seen: list[int] = []
    path = "/app/hook/deliveries?per_page=2"
    while path:
        answer = await hub.call("GET", path, token=hub.jwt())
        seen += [one["id"] for one in answer.json]
        link = answer.headers.get("Link", "")
        path = link[1 : link.index(">")].removeprefix(hub.simulator.base_url) if link else ""
    assert seen == [d.id for d in reversed(hub.simulator.deliveries)]


async def test_nobody_listening_is_a_failed_delivery(hub: Hub) -> None:
    hub.new_app.app.webhook_url = "http://127.0.0.1:1/hook"
    hub.simulator.ping(hub.new_app.app)
    await hub.simulator.settled()
    last = hub.simulator.deliveries[-1]
    assert (last.status_code, last.status.startswith("failed to connect")) == (502, True)


async def test_only_subscribed_events_of_covered_repositories_are_sent(hub: Hub) -> None:
    other = await hub.simulator.create_app(
        hub.org, "quiet", webhook_url=hub.new_app.app.webhook_url, subscribed=("issues",)
    )
    elsewhere = await hub.simulator.create_repository(hub.alice, "own", {"a": "a\n"})
    hub.simulator.install(other.app, hub.org, [hub.repo])
    before = len(hub.simulator.deliveries)
    await hub.pull()
    hub.simulator.open_issue(elsewhere, hub.alice, "not here")
    hub.simulator.open_issue(hub.repo, hub.alice, "here")
    told = [(d.app.slug, d.event) for d in hub.simulator.deliveries[before:]]
    assert told.count(("quiet", "issues")) == 1
    assert {event for slug, event in told if slug == "quiet"} == {"issues"}
    assert ("conductor", "pull_request") in told
