"""Every operation once: the fixture holds each request, answer and delivery to GitHub's schemas."""

from bot.simulator.server import OPERATIONS as SERVED
from tests.support.github_schema import OPERATIONS
from tests.unit.simulator.hub import Hub

AS_APP = ("/app", "/app/installations", "/app/hook/deliveries", "~/installation")
READS = (
    "/installation/repositories",
    "/users/alice",
    "/users/conductor[bot]",
    "~",
    "~/commits/main",
    "~/compare/main...topic",
    "~/contents/src/a.txt",
    "~/contents/src",
    "~/contents/",
    "~/collaborators/bob/permission",
    "~/git/ref/heads/main",
    "~/git/matching-refs/heads/",
    "~/git/trees/main?recursive=1",
    "~/pulls",
    "~/pulls/1",
    "~/pulls/1/files",
    "~/pulls/1/commits",
    "~/pulls/1/reviews",
    "~/pulls/1/comments",
    "~/issues",
    "~/issues/1",
    "~/issues/1/comments",
    "~/issues/1/labels",
    "~/issues?creator=conductor[bot]&state=all&since=2020-01-01T00:00:00Z&sort=updated",
    "~/deployments",
    "~/deployments?environment=staging&task=deploy",
    "~/commits/topic/check-runs",
    "~/commits/topic/check-suites",
)
ANNOTATION = {
    "path": "src/a.txt",
    "start_line": 10,
    "end_line": 10,
    "annotation_level": "warning",
    "message": "wrong",
}


async def test_every_document_that_can_be_read_is_githubs(hub: Hub) -> None:
    pull = await hub.pull()
    await hub.simulator.settled()
    delivery = hub.simulator.deliveries[0].id
    installation = f"/app/installations/{hub.installation.id}"
    for path in (*AS_APP, installation, f"/app/hook/deliveries/{delivery}"):
        answer = await hub.call("GET", path, token=hub.jwt())
        assert answer.status == 200, (path, answer.json)
    await fill(hub, pull.head_sha)
    for path in READS:
        answer = await hub.api("GET", path)
        assert answer.status == 200, (path, answer.json)


async def fill(hub: Hub, head: str) -> None:
    comments = [
        {"path": "src/a.txt", "line": 10, "side": "RIGHT", "body": "one"},
        {"path": "src/a.txt", "line": 30, "side": "LEFT", "body": "other"},
        {
            "path": "src/a.txt",
            "start_line": 8,
            "start_side": "RIGHT",
            "line": 10,
            "side": "RIGHT",
            "body": "several",
        },
    ]
    review = {"commit_id": head, "event": "COMMENT", "body": "hi", "comments": comments}
    made = (await hub.api("POST", "~/pulls/1/reviews", review)).json
    await hub.api("GET", f"~/pulls/1/reviews/{made['id']}")
    await hub.api("PUT", f"~/pulls/1/reviews/{made['id']}", {"body": "better"})
    first = (await hub.api("GET", "~/pulls/1/comments")).json[0]["id"]
    await hub.api("POST", f"~/pulls/1/comments/{first}/replies", {"body": "indeed"})
    await hub.api("POST", f"~/pulls/comments/{first}/reactions", {"content": "eyes"})
    await hub.api("GET", f"~/pulls/comments/{first}")
    await hub.api("PATCH", f"~/pulls/comments/{first}", {"body": "new words"})
    await hub.api("PATCH", "~/pulls/1", {"title": "Better"})
    comment = (await hub.api("POST", "~/issues/1/comments", {"body": "hello"})).json["id"]
    await hub.api("PATCH", f"~/issues/comments/{comment}", {"body": "hello!"})
    await hub.api("GET", f"~/issues/comments/{comment}")
    await hub.api("POST", f"~/issues/comments/{comment}/reactions", {"content": "rocket"})
    await hub.api("POST", "~/issues/1/labels", {"labels": ["bug", "urgent"]})
    await hub.api("DELETE", "~/issues/1/labels/urgent")
    await hub.api("POST", "~/issues/1/reactions", {"content": "+1"})
    opened = {"title": "Broken", "body": "It is.", "labels": ["bug"]}
    issue = (await hub.api("POST", "~/issues", opened)).json["number"]
    await hub.api("PATCH", f"~/issues/{issue}", {"title": "Broken!", "labels": ["urgent"]})
    await hub.api("PATCH", f"~/issues/{issue}", {"state": "closed"})
    await hub.api("PATCH", f"~/issues/{issue}", {"state": "open"})
    wish = {"ref": head, "environment": "staging", "payload": {"key": "k"}}
    wish |= {"auto_merge": False, "required_contexts": []}
    deployment = (await hub.api("POST", "~/deployments", wish)).json["id"]
    await hub.api("GET", f"~/deployments/{deployment}")
    status = {"state": "success", "environment_url": "http://127.0.0.1/", "description": "Up."}
    await hub.api("POST", f"~/deployments/{deployment}/statuses", status)
    await hub.api("GET", f"~/deployments/{deployment}/statuses")
    run = {
        "name": "review",
        "head_sha": head,
        "status": "in_progress",
        "output": {"title": "t", "summary": "s", "annotations": [ANNOTATION]},
        "actions": [{"label": "Fix", "description": "Fix it", "identifier": "fix"}],
    }
    check = (await hub.api("POST", "~/check-runs", run)).json
    await hub.api("PATCH", f"~/check-runs/{check['id']}", {"conclusion": "success"})
    await hub.api("GET", f"~/check-runs/{check['id']}")
    await hub.api("GET", f"~/check-runs/{check['id']}/annotations")
    suite = check["check_suite"]["id"]
    await hub.api("GET", f"~/check-suites/{suite}")
    await hub.api("GET", f"~/check-suites/{suite}/check-runs")


async def test_the_git_database_speaks_githubs_shapes(hub: Hub) -> None:
    blob = (await hub.api("POST", "~/git/blobs", {"content": "hi\n", "encoding": "utf-8"})).json
    read = (await hub.api("GET", f"~/git/blobs/{blob['sha']}")).json
    assert (read["content"], read["size"]) == ("aGkK\n", 3)
    main = (await hub.api("GET", "~/git/ref/heads/main")).json["object"]["sha"]
    item = {"path": "b.txt", "mode": "100644", "type": "blob", "sha": blob["sha"]}
    tree = (await hub.api("POST", "~/git/trees", {"base_tree": main, "tree": [item]})).json
    assert [row["path"] for row in tree["tree"]] == ["README.md", "b.txt", "src"]
    body = {"message": "Add b", "tree": tree["sha"], "parents": [main]}
    commit = (await hub.api("POST", "~/git/commits", body)).json
    assert (await hub.api("GET", f"~/git/commits/{commit['sha']}")).json == commit
    made = await hub.api("POST", "~/git/refs", {"ref": "refs/heads/b", "sha": commit["sha"]})
    assert made.status == 201
    again = await hub.api("POST", "~/git/refs", {"ref": "refs/heads/b", "sha": commit["sha"]})
    assert (again.status, again.json["message"]) == (422, "Reference already exists")
    back = await hub.api("PATCH", "~/git/refs/heads/b", {"sha": main})
    assert (back.status, back.json["message"]) == (422, "Update is not a fast forward")
    forced = await hub.api("PATCH", "~/git/refs/heads/b", {"sha": main, "force": True})
    assert forced.json["object"]["sha"] == main
    assert (await hub.api("DELETE", "~/git/refs/heads/b")).status == 204
    assert (await hub.api("GET", "~/git/ref/heads/b")).status == 404


async def test_every_event_that_people_cause_is_githubs(hub: Hub) -> None:
    sim, pull = hub.simulator, await hub.pull()
    sim.ping(hub.new_app.app)
    await fill(hub, pull.head_sha)
    run = next(iter(hub.repo.checks.values()))
    await sim.press_button(hub.repo, run, "fix", hub.alice)
    await sim.rerequest(hub.repo, run, hub.alice)
    sim.comment(hub.repo, pull.number, hub.bob, "hello")
    await sim.push(hub.repo, "topic", {"src/b.txt": "b\n", "README.md": None}, hub.alice)
    sim.resolve_thread(hub.repo, pull, pull.threads[0], hub.alice)
    sim.resolve_thread(hub.repo, pull, pull.threads[0], hub.alice, resolved=False)
    sim.suspend(hub.installation)
    sim.suspend(hub.installation, suspended=False)
    await sim.close_pull_request(hub.repo, pull, hub.alice)
    await sim.settled()
    sim.uninstall(hub.installation)
    assert {
        *(("check_run", a) for a in ("created", "completed", "requested_action", "rerequested")),
        *(("installation", a) for a in ("created", "suspend", "unsuspend", "deleted")),
        *(("pull_request", a) for a in ("opened", "synchronize", "edited", "labeled", "closed")),
        *(("issues", a) for a in ("opened", "edited", "labeled", "unlabeled", "closed")),
        ("issues", "reopened"),
        ("pull_request", "unlabeled"),
        ("deployment", "created"),
        ("deployment_status", "created"),
        *(("pull_request_review_thread", a) for a in ("resolved", "unresolved")),
        ("pull_request_review", "submitted"),
        ("pull_request_review_comment", "created"),
        ("issue_comment", "created"),
        ("push", None),
        ("ping", None),
    } == hub.schema.events


def test_a_schema_is_known_for_each_operation() -> None:
    served = {(one.method, one.template) for one in SERVED} - {("POST", "/graphql")}
    assert served == OPERATIONS.keys()
