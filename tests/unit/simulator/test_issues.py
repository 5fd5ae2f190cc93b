"""Issues: who changed what and when, as REST, GraphQL and the webhooks tell it."""

import json
from datetime import timedelta
from typing import Any

from tests.unit.simulator.hub import Hub

QUERY = """query Q($number: Int!) { repository(owner: "acme", name: "shop") {
  issue(number: $number) { title lastEditedAt
  timelineItems(last: 5, itemTypes: [RENAMED_TITLE_EVENT]) {
    nodes { ... on RenamedTitleEvent { createdAt previousTitle currentTitle } }
  } } } }"""


async def ask(hub: Hub, number: int) -> dict[str, Any]:
    body = {"query": QUERY, "variables": {"number": number}}
    return (await hub.api("POST", "/graphql", body)).json


async def test_edits_and_renamings_are_remembered_with_their_times(hub: Hub) -> None:
    issue = hub.simulator.open_issue(hub.repo, hub.alice, "Old", "Body.", labels=["urgent"])
    asked = (await ask(hub, issue.number))["data"]["repository"]["issue"]
    assert asked == {"title": "Old", "lastEditedAt": None, "timelineItems": {"nodes": []}}
    await hub.clock.advance(60)
    hub.simulator.edit_issue(hub.repo, issue, hub.bob, title="New", body="Other.")
    asked = (await ask(hub, issue.number))["data"]["repository"]["issue"]
    (renaming,) = asked["timelineItems"]["nodes"]
    assert (renaming["previousTitle"], renaming["currentTitle"]) == ("Old", "New")
    assert asked["lastEditedAt"] == renaming["createdAt"]
    await hub.simulator.settled()
    edited = json.loads(hub.inbox[-1].body)
    assert edited["changes"] == {"title": {"from": "Old"}, "body": {"from": "Body."}}
    hub.simulator.label_issue(hub.repo, issue, "fix-me", hub.bob)
    hub.simulator.close_issue(hub.repo, issue, hub.bob)
    await hub.simulator.settled()
    assert hub.events()[-5:] == [
        ("issues", "opened"),
        ("issues", "labeled"),
        ("issues", "edited"),
        ("issues", "labeled"),
        ("issues", "closed"),
    ]


async def test_a_pull_request_is_no_issue_and_neither_is_nothing(hub: Hub) -> None:
    await hub.pull()
    for number in (1, 99):
        assert (await ask(hub, number))["errors"][0]["type"] == "NOT_FOUND"


async def test_the_apps_own_issues_are_listed_by_creator_age_and_change(hub: Hub) -> None:
    hub.simulator.open_issue(hub.repo, hub.alice, "Hers")
    await hub.api("POST", "~/issues", {"title": "First", "body": "x", "labels": ["a"]})
    await hub.clock.advance(timedelta(days=2).total_seconds())
    hub.expire_token()
    await hub.api("POST", "~/issues", {"title": "Second"})

    async def titles(query: str) -> list[str]:
        return [one["title"] for one in (await hub.api("GET", f"~/issues?{query}")).json]

    mine = "creator=conductor%5Bbot%5D"
    assert await titles(mine) == ["Second", "First"]
    assert await titles(f"{mine}&direction=asc") == ["First", "Second"]
    assert await titles(f"{mine}&labels=a") == ["First"]
    since = f"{hub.clock.now():%Y-%m-%dT%H:%M:%SZ}"
    assert await titles(f"{mine}&since={since}") == ["Second"]
    assert await titles(f"{mine}&state=closed") == []


async def test_a_text_that_is_too_long_is_refused(hub: Hub) -> None:
    long = {"title": "T", "body": "x" * 65_537}
    assert (await hub.api("POST", "~/issues", long)).status == 422


async def test_an_answer_that_has_not_changed_is_304_and_costs_nothing(hub: Hub) -> None:
    first = await hub.api("GET", "~/git/ref/heads/main")
    tag, used = first.headers["ETag"], first.headers["X-RateLimit-Used"]
    again = await hub.api("GET", "~/git/ref/heads/main", If_None_Match=tag)
    assert (again.status, again.body) == (304, b"")
    assert again.headers["X-RateLimit-Used"] == used
    await hub.simulator.push(hub.repo, "main", {"c.txt": "c\n"}, hub.alice)
    changed = await hub.api("GET", "~/git/ref/heads/main", If_None_Match=tag)
    assert changed.status == 200
    assert changed.headers["ETag"] != tag
