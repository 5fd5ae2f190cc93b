"""GraphQL over the same records, with GitHub's errors."""

import base64
from typing import Any

from tests.unit.simulator.hub import BASE, Hub

PULL = """
query($owner: String!, $name: String!, $number: Int!) {
  repository(owner: $owner, name: $name) {
    databaseId
    nameWithOwner
    defaultBranchRef { name prefix target { oid ... on Commit { file(path: "src/a.txt") {
      type mode object { ... on Blob { text byteSize isBinary isTruncated } } } } } }
    collaborators(login: "bob", first: 1) { edges { permission node { login databaseId } } }
    pullRequest(number: $number) {
      id databaseId fullDatabaseId number title body state isDraft merged changedFiles additions
      author { __typename login ... on User { databaseId } ... on Bot { databaseId } }
      headRefOid headRefName baseRefOid baseRefName headRepository { databaseId }
      labels(first: 10) { nodes { name } }
      files(first: 10) { totalCount nodes { path additions deletions changeType } }
      reviews(last: 10) { nodes { author { __typename login } body commit { oid } state } }
      reviewThreads(first: 1) {
        totalCount
        pageInfo { hasNextPage endCursor }
        nodes {
          id isResolved isOutdated path line startLine diffSide
          resolvedBy { login databaseId }
          comments(first: 5) { nodes { fullDatabaseId body author { login } lastEditedAt } }
        }
      }
    }
  }
}
"""


async def ask(hub: Hub, query: str, **variables: Any) -> Any:
    answer = await hub.api("POST", "/graphql", {"query": query, "variables": variables})
    assert answer.status == 200
    return answer.json


async def reviewed(hub: Hub) -> None:
    pull = await hub.pull()
    comments = [{"path": "src/a.txt", "line": n, "side": "RIGHT", "body": str(n)} for n in (10, 30)]
    body = {"commit_id": pull.head_sha, "event": "COMMENT", "body": "hi", "comments": comments}
    assert (await hub.api("POST", "~/pulls/1/reviews", body)).status == 200


async def test_one_query_reads_a_pull_request_with_everything_around_it(hub: Hub) -> None:
    await reviewed(hub)
    answer = await ask(hub, PULL, owner="acme", name="shop", number=1)
    assert "errors" not in answer
    repo = answer["data"]["repository"]
    blob = repo["defaultBranchRef"]["target"]["file"]["object"]
    assert (blob["text"], blob["isBinary"]) == (BASE, False)
    assert repo["collaborators"]["edges"][0]["permission"] == "MAINTAIN"
    pull = repo["pullRequest"]
    assert (pull["state"], pull["changedFiles"], pull["additions"]) == ("OPEN", 1, 2)
    assert pull["author"] == {"__typename": "User", "login": "alice", "databaseId": hub.alice.id}
    assert pull["files"]["nodes"][0]["changeType"] == "MODIFIED"
    review = pull["reviews"]["nodes"][0]
    assert review["author"] == {"__typename": "Bot", "login": "conductor"}
    assert review["commit"]["oid"] == pull["headRefOid"]
    threads = pull["reviewThreads"]
    assert (threads["totalCount"], threads["pageInfo"]["hasNextPage"]) == (2, True)
    assert threads["nodes"][0]["line"] == 10


async def test_a_thread_is_resolved_reopened_and_read_by_its_id(hub: Hub) -> None:
    await reviewed(hub)
    thread = hub.repo.pulls[0].threads[0]
    answer = await ask(hub, PULL, owner="acme", name="shop", number=1)
    node = answer["data"]["repository"]["pullRequest"]["reviewThreads"]["nodes"][0]["id"]
    resolve = "mutation($t: ID!) { %s(input: {threadId: $t}) { thread { id isResolved } } }"
    done = await ask(hub, resolve % "resolveReviewThread", t=node)
    assert done["data"]["resolveReviewThread"]["thread"] == {"id": node, "isResolved": True}
    assert thread.resolved_by is hub.new_app.app.bot
    read = "query($t: ID!) { node(id: $t) { ... on PullRequestReviewThread { isResolved } } }"
    assert (await ask(hub, read, t=node))["data"]["node"] == {"isResolved": True}
    await ask(hub, resolve % "unresolveReviewThread", t=node)
    assert thread.resolved_by is None


COMMIT = """
mutation($input: CreateCommitOnBranchInput!) {
  createCommitOnBranch(input: $input) { commit { oid message } ref { name } }
}
"""


def commit_input(expected: str, **files: str) -> dict[str, Any]:
    additions = [
        {"path": path, "contents": base64.b64encode(text.encode()).decode()}
        for path, text in files.items()
    ]
    return {
        "branch": {"repositoryNameWithOwner": "acme/shop", "branchName": "topic"},
        "expectedHeadOid": expected,
        "message": {"headline": "Fix", "body": "Because."},
        "fileChanges": {"additions": additions, "deletions": [{"path": "README.md"}]},
    }


async def test_a_commit_lands_only_on_the_head_that_was_expected(hub: Hub) -> None:
    pull = await hub.pull()
    first = await ask(hub, COMMIT, input=commit_input(pull.head_sha, fixed="yes\n"))
    made = first["data"]["createCommitOnBranch"]
    assert made["commit"] == {"oid": pull.head_sha, "message": "Fix\n\nBecause."}
    assert made["ref"] == {"name": "topic"}
    commit = (await hub.api("GET", f"~/commits/{pull.head_sha}")).json
    assert commit["commit"]["verification"]["verified"] is True
    assert commit["author"]["login"] == "conductor[bot]"
    assert {f["filename"]: f["status"] for f in commit["files"]} == {
        "README.md": "removed",
        "fixed": "added",
    }
    stale = await ask(hub, COMMIT, input=commit_input(pull.heads[0], fixed="no\n"))
    assert stale["data"]["createCommitOnBranch"] is None
    assert stale["errors"][0]["type"] == "STALE_DATA"
    await hub.simulator.settled()
    assert ("pull_request", "synchronize") in hub.events()


async def test_errors_carry_githubs_types_and_paths(hub: Hub) -> None:
    missing = await ask(hub, PULL, owner="acme", name="nothing", number=1)
    assert missing["data"] == {"repository": None}
    assert missing["errors"][0]["type"] == "NOT_FOUND"
    assert missing["errors"][0]["path"] == ["repository"]
    no_pull = await ask(hub, PULL, owner="acme", name="shop", number=9)
    assert no_pull["data"]["repository"]["pullRequest"] is None
    assert no_pull["errors"][0]["type"] == "NOT_FOUND"
    unknown = await ask(hub, "{ repository(owner: 1) { nope } }")
    assert "data" not in unknown
    assert len(unknown["errors"]) >= 2
    unbounded = '{ repository(owner: "acme", name: "shop") { collaborators { totalCount } } }'
    assert (await ask(hub, unbounded))["errors"][0]["type"] == "MISSING_PAGINATION_BOUNDARIES"


async def test_a_token_without_the_permission_is_forbidden_field_by_field(hub: Hub) -> None:
    await reviewed(hub)
    narrow = await hub.token(permissions={"metadata": "read", "pull_requests": "read"})
    body = {
        "query": PULL,
        "variables": {"owner": "acme", "name": "shop", "number": 1},
    }
    answer = (await hub.call("POST", "/graphql", body, token=narrow)).json
    assert {error["type"] for error in answer["errors"]} == {"FORBIDDEN"}
    assert ["repository", "defaultBranchRef", "target"] in [e["path"] for e in answer["errors"]]
    assert answer["data"]["repository"]["pullRequest"]["number"] == 1


BROUGHT = """
query($oid: GitObjectID!) {
  repository(owner: "acme", name: "shop") {
    object(oid: $oid) { ... on Commit {
      author { user { databaseId login } }
      associatedPullRequests(first: 5) { nodes { number mergeCommit { oid } } }
    } }
  }
}
"""


async def test_a_commit_tells_its_author_and_the_pull_request_that_brought_it(hub: Hub) -> None:
    pull = await hub.pull()
    await ask(hub, COMMIT, input=commit_input(pull.head_sha, fixed="yes\n"))
    ours, bot = pull.head_sha, hub.new_app.app.bot
    merged = await hub.simulator.merge(hub.repo, pull, hub.bob, method="squash")
    await hub.simulator.push(hub.repo, "main", {"more": "x\n"}, hub.alice)

    async def about(sha: str | None) -> tuple[Any, Any]:
        answer = await ask(hub, BROUGHT, oid=sha)
        found = answer["data"]["repository"]["object"]
        return found["author"]["user"], found["associatedPullRequests"]["nodes"]

    brought = [{"number": 1, "mergeCommit": {"oid": merged}}]
    bob = {"databaseId": hub.bob.id, "login": "bob"}
    assert await about(merged) == (bob, brought)
    assert await about(ours) == ({"databaseId": bot.id, "login": "conductor[bot]"}, brought)
    alice = {"databaseId": hub.alice.id, "login": "alice"}
    assert await about(await hub.repo.git.resolve("main")) == (alice, [])
    narrow = await hub.token(permissions={"metadata": "read", "pull_requests": "read"})
    body = {"query": BROUGHT, "variables": {"oid": merged}}
    refused = (await hub.call("POST", "/graphql", body, token=narrow)).json
    assert {error["type"] for error in refused["errors"]} == {"FORBIDDEN"}
