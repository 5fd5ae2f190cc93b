"""Fields that lead from one kind of node to another, attached to the schema's types."""

from typing import Any

from graphql import GraphQLObjectType, GraphQLSchema

from bot.simulator.graph import pulls, query
from bot.simulator.graph.objects import demand
from bot.simulator.graph.paging import Info, connection
from bot.simulator.protocol import Call
from bot.simulator.world import Json


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
        ("PullRequest", "headRepository"): head_repository,
        ("PullRequest", "baseRepository"): base_repository,
    }
    for (name, field), resolver in links.items():
        kind = schema.type_map[name]
        assert isinstance(kind, GraphQLObjectType)
        kind.fields[field].resolve = resolver
    return schema
