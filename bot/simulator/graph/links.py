"""Fields that lead from one kind of node to another, attached to the schema's types."""

from typing import Any

from graphql import GraphQLObjectType, GraphQLSchema

from bot.simulator.graph import pulls, query
from bot.simulator.graph.objects import commit, demand
from bot.simulator.graph.paging import Info, connection
from bot.simulator.protocol import Call
from bot.simulator.state import CheckRun, CheckSuite, Repository
from bot.simulator.world import Json, node_id


async def associated(source: Json, info: Info, **window: Any) -> Json:
    """The pull requests that would bring, or brought, a commit into their base."""
    call: Call = info.context
    repo, sha = source["origin"], source["oid"]
    demand(call, repo, "pull_requests=read")
    found = [
        pull
        for pull in repo.pulls
        if sha == pull.merge_commit
        or (
            await repo.git.is_ancestor(sha, pull.head_sha)
            and not await repo.git.is_ancestor(sha, pull.base_sha)
        )
    ]
    return connection(found, lambda pull: pulls.pull_request(call, repo, pull))(info, **window)


async def commits(source: Json, info: Info, **window: Any) -> Json:
    """The commits of a pull request; the newest is its head."""
    call: Call = info.context
    repo, sha = source["origin"][0], source["headRefOid"]
    demand(call, repo, "contents=read")
    base = await repo.git.merge_base(source["baseRefOid"], sha) or source["baseRefOid"]
    listed = (await repo.git.text("rev-list", "--reverse", f"{base}..{sha}")).split()

    def node(one: str) -> Json:
        async def found(_: Info) -> Json:
            return await commit(call, repo, one)

        return {"id": f"PRC_{one}", "commit": found}

    return connection(listed, node)(info, **window)


def check_suites(
    source: Json,
    info: Info,
    filterBy: Json | None = None,  # noqa: N803
    **window: Any,
) -> Json:
    """The check suites of a commit."""
    call: Call = info.context
    repo, app = source["origin"], (filterBy or {}).get("appId")
    demand(call, repo, "checks=read")
    found = [
        suite
        for suite in repo.suites
        if suite.head_sha == source["oid"] and app in (None, suite.app_id)
    ]
    return connection(found, lambda suite: _suite(repo, suite))(info, **window)


def _suite(repo: Repository, suite: CheckSuite) -> Json:
    def runs(info: Info, filterBy: Json | None = None, **window: Any) -> Json:  # noqa: N803
        found = [run for run in repo.checks.values() if run.suite is suite]
        if (filterBy or {}).get("checkType") == "LATEST":
            found = list({run.name: run for run in found}.values())
        return connection(found, _check)(info, **window)

    return {"__typename": "CheckSuite", "id": node_id("CS", suite.id), "checkRuns": runs}


def _check(run: CheckRun) -> Json:
    return {
        "__typename": "CheckRun",
        "id": node_id("CR", run.id),
        "name": run.name,
        "externalId": run.external_id,
        "status": run.status.upper(),
        "conclusion": run.conclusion.upper() if run.conclusion else None,
    }


def head_repository(source: Json, info: Info) -> Json | None:
    """Where a pull request comes from; null when that is gone."""
    head = source["origin"][1]
    return query.repository_node(info.context, head) if head else None


def base_repository(source: Json, info: Info) -> Json:
    """Where a pull request is."""
    return query.repository_node(info.context, source["origin"][0])


def attach(schema: GraphQLSchema) -> GraphQLSchema:
    """Give the schema its links."""
    links = {
        ("Commit", "associatedPullRequests"): associated,
        ("Commit", "checkSuites"): check_suites,
        ("PullRequest", "commits"): commits,
        ("PullRequest", "headRepository"): head_repository,
        ("PullRequest", "baseRepository"): base_repository,
    }
    for (name, field), resolver in links.items():
        kind = schema.type_map[name]
        assert isinstance(kind, GraphQLObjectType)
        kind.fields[field].resolve = resolver
    return schema
