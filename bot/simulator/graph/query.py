"""The entry points of queries: a repository, a node, the rate limit."""

from collections.abc import Iterator
from typing import Any

from bot.simulator.graph import pulls
from bot.simulator.graph.objects import actor, demand, find_ref, git_object
from bot.simulator.graph.paging import Failure, Info, connection
from bot.simulator.protocol import Call
from bot.simulator.state import Account, Issue, PullRequest, Repository, Role, Thread
from bot.simulator.views import repositories
from bot.simulator.world import Json, node_id, node_number


def visible(call: Call, owner: str, name: str) -> Repository:
    """A repository that the caller may see, or NOT_FOUND."""
    assert call.token, "GraphQL is for installation tokens"
    found = call.world.state.repository(owner, name)
    if found and (not found.private or call.token.reaches(found)):
        return found
    words = f"Could not resolve to a Repository with the name '{owner}/{name}'."
    raise Failure("NOT_FOUND", words)


def root(call: Call) -> Json:
    """The fields of ``Query``."""

    def repository(_: Info, owner: str, name: str, **__: Any) -> Json:
        return repository_node(call, visible(call, owner, name))

    def node(_: Info, **arguments: str) -> Json:
        return find_node(call, arguments["id"])

    return {"repository": repository, "node": node}


def repository_node(call: Call, repo: Repository) -> Json:
    """A repository."""

    async def default_branch(_: Info) -> Json | None:
        return await find_ref(call, repo, f"refs/heads/{repo.default_branch}")

    async def one_ref(_: Info, qualifiedName: str) -> Json | None:  # noqa: N803
        return await find_ref(call, repo, qualifiedName)

    async def one_object(
        _: Info, expression: str | None = None, oid: str | None = None
    ) -> Json | None:
        demand(call, repo, "contents=read")
        sha = oid or await _revision(repo, expression or "")
        return await git_object(call, repo, sha) if sha else None

    def pull_request(_: Info, number: int) -> Json:
        demand(call, repo, "pull_requests=read")
        issue = repo.issues.get(number)
        if not issue or not issue.pull:
            words = f"Could not resolve to a PullRequest with the number of {number}."
            raise Failure("NOT_FOUND", words)
        return pulls.pull_request(call, repo, issue.pull)

    def issue(_: Info, number: int) -> Json:
        demand(call, repo, "issues=read")
        found = repo.issues.get(number)
        if not found or found.pull:
            words = f"Could not resolve to an Issue with the number of {number}."
            raise Failure("NOT_FOUND", words)
        return pulls.issue_node(call, repo, found)

    def issue_or_pull(_: Info, number: int) -> Json:
        issue = repo.issues.get(number)
        if not issue:
            words = f"Could not resolve to an issue or pull request with the number of {number}."
            raise Failure("NOT_FOUND", words)
        demand(call, repo, "pull_requests=read" if issue.pull else "issues=read")
        if issue.pull:
            return pulls.pull_request(call, repo, issue.pull)
        return pulls.issue_node(call, repo, issue)

    return {
        "__typename": "Repository",
        "id": node_id("R", repo.id),
        "databaseId": repo.id,
        "name": repo.name,
        "nameWithOwner": repo.full_name,
        "isPrivate": repo.private,
        "isFork": repo.fork_of is not None,
        "url": repositories.html_url(call.world, repo),
        "owner": actor(call, repo.owner),
        "defaultBranchRef": default_branch,
        "ref": one_ref,
        "object": one_object,
        "pullRequest": pull_request,
        "issue": issue,
        "issueOrPullRequest": issue_or_pull,
        **_lists(call, repo),
    }


def _lists(call: Call, repo: Repository) -> Json:
    return {"collaborators": _collaborators(call, repo), "pullRequests": _pulls(call, repo)}


def _pulls(call: Call, repo: Repository) -> Any:
    def resolve(info: Info, states: list[str] | None = None, **window: Any) -> Json:
        demand(call, repo, "pull_requests=read")
        found = [
            pulls.pull_request(call, repo, one)
            for one in sorted(repo.pulls, key=lambda p: p.number)
        ]
        wanted = [one for one in found if states is None or one["state"] in states]
        return connection(wanted, lambda one: one)(info, **window)

    return resolve


async def _revision(repo: Repository, expression: str) -> str | None:
    """An object by ``branch``, ``commit``, ``branch:path`` or ``commit:path``."""
    revision, colon, path = expression.partition(":")
    if not colon:
        return await repo.git.resolve(revision) or await repo.git.resolve(revision, "object")
    sha = await repo.git.resolve(revision)
    if not sha or not path:
        return await repo.git.resolve(sha, "tree") if sha else None
    rows = await repo.git.tree(sha, recursive=False, path=path.rstrip("/"))
    return next((row.sha for row in rows if row.path == path.rstrip("/")), None)


def _collaborators(call: Call, repo: Repository) -> Any:
    def resolve(
        info: Info,
        query: str | None = None,
        login: str | None = None,
        **window: Any,
    ) -> Json:
        people = [a for a in call.world.state.accounts.values() if a.kind == "User"]
        rows: list[tuple[Account, Role]] = [(a, r) for a in people if (r := repo.role(a))]
        if login is not None:
            rows = [row for row in rows if row[0].login.casefold() == login.casefold()]
        if query:
            rows = [row for row in rows if query.casefold() in row[0].login.casefold()]
        return _with_permissions(connection(rows, lambda row: _row(call, row))(info, **window))

    return resolve


def _row(call: Call, row: tuple[Account, Role]) -> Json:
    return {**actor(call, row[0]), "role": row[1]}


def _with_permissions(page: Json) -> Json:
    """A collaborator's permission is on the edge, not on the person."""
    for edge in page["edges"]:
        edge["permission"] = edge["node"]["role"].upper()
    return page


def pulls_everywhere(call: Call) -> Iterator[tuple[Repository, PullRequest]]:
    """Every pull request that the token reaches."""
    assert call.token, "GraphQL is for installation tokens"
    for repo in call.world.state.repositories.values():
        if call.token.reaches(repo):
            for pull in repo.pulls:
                yield repo, pull


def find_thread(call: Call, node: str) -> tuple[Repository, PullRequest, Thread]:
    """A review thread by its node id, or NOT_FOUND."""
    for repo, pull in pulls_everywhere(call):
        for thread in pull.threads:
            if node_id("PRRT", thread.id) == node:
                return repo, pull, thread
    raise Failure("NOT_FOUND", f"Could not resolve to a node with the global id of '{node}'.")


def find_node(call: Call, node: str) -> Json:
    """A node by its global id: threads, pull requests, reviews, repositories, issues."""
    prefix, _, _ = node.partition("_")
    number = node_number(node)
    if prefix == "PRRT":
        repo, pull, thread = find_thread(call, node)
        demand(call, repo, "pull_requests=read")
        return pulls.thread(call, repo, pull, thread)
    for repo in call.world.state.repositories.values():
        if not call.token or not call.token.reaches(repo):
            continue
        if prefix == "R" and repo.id == number:
            return repository_node(call, repo)
        for issue in repo.issues.values():
            if found := _inside(call, repo, issue, prefix, number):
                return found
    raise Failure("NOT_FOUND", f"Could not resolve to a node with the global id of '{node}'.")


def _inside(
    call: Call, repo: Repository, issue: Issue, prefix: str, number: int | None
) -> Json | None:
    pull = issue.pull
    if prefix == "I" and issue.id == number and not pull:
        return pulls.issue_node(call, repo, issue)
    if prefix == "PR" and pull and pull.id == number:
        return pulls.pull_request(call, repo, pull)
    if prefix == "PRR" and pull:
        found = next((one for one in pull.reviews if one.id == number), None)
        return pulls.review(call, repo, pull, found) if found else None
    return None
