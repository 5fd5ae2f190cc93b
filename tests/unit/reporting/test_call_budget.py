"""What one pull request costs of GitHub's limits."""

from bot.github.gateway import GitHub
from bot.github.permissions import PermissionChecker
from bot.github.source import GitHubSource
from bot.reporting.publisher import GitHubReporter
from pipelines.model import StepState
from tests.support.clock import VirtualClock
from tests.support.github_stub import GitHubStub, Reply, Seen, graphql_data
from tests.unit.github.pull_request import entry, pull_request, repository
from tests.unit.reporting.samples import HEAD, TRIGGER, done, finding, result, review, run, step

NAMES = [f"src/f{n}.py" for n in range(10)]


async def test_a_first_review_of_ten_files_takes_ten_calls(
    stub: GitHubStub,
    gateway: GitHub,
    reporter: GitHubReporter,
    clock: VirtualClock,
    requests: list[tuple[str, str, int]],
) -> None:
    files = {"totalCount": 10, "nodes": [{"path": name} for name in NAMES]}
    listed = [{"filename": name, "status": "modified", "patch": "@@ -1 +1 @@"} for name in NAMES]
    texts = {f"f{n}": entry("x = 1\n") for n in range(10)}
    pull = {"headRefOid": HEAD, "state": "OPEN"}
    stub.on_graphql("Change", graphql_data(repository(pull_request(files=files))))
    stub.on("GET", "/repos/octo/shop/pulls/5/files", Reply(listed))
    stub.on_graphql("Contents", graphql_data({"repository": {"object": texts}}))
    stub.on_graphql("OwnReviews", graphql_data({"repository": {"pullRequest": pull}}))
    stub.on("POST", "/repos/octo/shop/check-runs", Reply({"id": 31}, 201))
    stub.on("PATCH", "/repos/octo/shop/check-runs/31", lambda _: Reply({"id": 31}))
    stub.on("POST", "/repos/octo/shop/pulls/5/reviews", answered)
    await gateway.identity()
    requests.clear()

    source = GitHubSource(gateway, PermissionChecker(gateway, clock), clock)
    change = await source.change(TRIGGER)
    shown = await reporter.report(run(), {}, {}, repeated=False)
    reader = source.reader(change)
    assert (await reader.changed_files()).complete
    assert len(await reader.read(NAMES)) == 10
    shown = await reporter.report(run(step(StepState.RUNNING)), {}, shown, repeated=False)
    await reporter.carry_out(run(), review(finding()), repeated=False)
    found = {"review": result(finding())}
    await reporter.report(run(done()), found, shown, repeated=False)

    assert requests == [
        ("POST", "/app/installations/{id}/access_tokens", 201),
        ("POST", "/graphql", 200),
        ("POST", "/app/installations/{id}/access_tokens", 201),
        ("POST", "/repos/{owner}/{repo}/check-runs", 201),
        ("GET", "/repos/{owner}/{repo}/pulls/{id}/files", 200),
        ("POST", "/graphql", 200),
        ("PATCH", "/repos/{owner}/{repo}/check-runs/{id}", 200),
        ("POST", "/graphql", 200),
        ("POST", "/repos/{owner}/{repo}/pulls/{id}/reviews", 200),
        ("PATCH", "/repos/{owner}/{repo}/check-runs/{id}", 200),
    ]


def answered(seen: Seen) -> Reply:
    assert seen.json["event"] == "COMMENT"
    return Reply({"id": 1, "html_url": "https://github.example/r1"})
