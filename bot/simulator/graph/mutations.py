"""Mutations: threads, commits with compare-and-set, reactions."""

import base64
import binascii
from typing import Any

from bot.simulator.api.issues import react
from bot.simulator.branches import commit_files, moved, signature
from bot.simulator.git import Signature
from bot.simulator.graph import objects, pulls
from bot.simulator.graph.objects import demand
from bot.simulator.graph.paging import Failure, Info
from bot.simulator.graph.query import find_thread, visible
from bot.simulator.protocol import Call
from bot.simulator.reviewing import set_resolved
from bot.simulator.state import Reaction, Repository
from bot.simulator.views.repositories import WEB_FLOW
from bot.simulator.world import Json, node_id

_NAMES = {word: content for content, word in pulls.CONTENTS.items()}


def root(call: Call) -> Json:
    """The fields of ``Mutation``."""

    def resolve(_: Info, **arguments: Json) -> Json:
        return _resolve(call, arguments["input"], resolved=True)

    def unresolve(_: Info, **arguments: Json) -> Json:
        return _resolve(call, arguments["input"], resolved=False)

    async def commit(_: Info, **arguments: Json) -> Json:
        return await _commit(call, arguments["input"])

    def reaction(_: Info, **arguments: Json) -> Json:
        return _react(call, arguments["input"])

    return {
        "resolveReviewThread": resolve,
        "unresolveReviewThread": unresolve,
        "createCommitOnBranch": commit,
        "addReaction": reaction,
    }


def _resolve(call: Call, given: Json, *, resolved: bool) -> Json:
    repo, pull, thread = find_thread(call, given["threadId"])
    demand(call, repo, "pull_requests=write")
    set_resolved(call.world, repo, pull, thread, call.actor, resolved=resolved)
    return {
        "clientMutationId": given.get("clientMutationId"),
        "thread": pulls.thread(call, repo, pull, thread),
    }


async def _branch(call: Call, given: Json) -> tuple[Repository, str, str]:
    """Repository, ref and its commit."""
    full_name, name = given.get("repositoryNameWithOwner"), given.get("branchName")
    if not full_name or not name:
        words = "A branch is named by repositoryNameWithOwner and branchName."
        raise Failure("UNPROCESSABLE", words)
    owner, _, short = full_name.partition("/")
    repo = visible(call, owner, short)
    ref = f"refs/heads/{name.removeprefix('refs/heads/')}"
    tip = (await repo.git.refs(ref)).get(ref)
    if not tip:
        raise Failure("NOT_FOUND", f"A ref named {name} was not found.")
    return repo, ref, tip


async def _commit(call: Call, given: Json) -> Json:
    """One commit of whole files if the branch is where the caller believes; signed by GitHub."""
    repo, ref, tip = await _branch(call, given["branch"])
    demand(call, repo, "contents=write")
    expected = given["expectedHeadOid"]
    if tip != expected:
        words = f'Expected branch to point to "{expected}" but it did not. Pull and try again.'
        raise Failure("STALE_DATA", words)
    files = await _changes(repo, tip, given.get("fileChanges") or {})
    if any(path.startswith(".github/workflows/") for path in files):
        demand(call, repo, "workflows=write")
    message = "\n\n".join(
        filter(None, (given["message"]["headline"], given["message"].get("body")))
    )
    author = signature(call.world, call.actor)
    sha = await commit_files(
        repo,
        tip,
        files,
        message=message,
        author=Signature(call.actor.login, author.email, author.at),
        committer=Signature(*WEB_FLOW, author.at),
    )
    await repo.git.move_ref(ref, sha, tip)
    await moved(call.world, repo, ref, tip, sha, by=call.actor)
    return {
        "clientMutationId": given.get("clientMutationId"),
        "commit": await objects.commit(call, repo, sha),
        "ref": objects.ref(call, repo, ref, sha),
    }


async def _changes(repo: Repository, tip: str, given: Json) -> dict[str, bytes | None]:
    files: dict[str, bytes | None] = {}
    additions: list[Json] = given.get("additions") or []
    for added in additions:
        try:
            files[added["path"]] = base64.b64decode(added["contents"], validate=True)
        except binascii.Error:
            raise Failure("UNPROCESSABLE", "The contents are not valid Base64.") from None
    known = {row.path for row in await repo.git.tree(tip, recursive=True)}
    deletions: list[Json] = given.get("deletions") or []
    for deleted in deletions:
        if deleted["path"] not in known:
            words = f"A path was requested for deletion which does not exist: {deleted['path']}"
            raise Failure("UNPROCESSABLE", words)
        files[deleted["path"]] = None
    return files


def _react(call: Call, given: Json) -> Json:
    subject, repo, records = _reactable(call, given["subjectId"])
    need = "issues=write" if subject["__typename"] == "Issue" else "pull_requests=write"
    demand(call, repo, need)
    record, _ = react(call.world, records, call.actor, _NAMES[given["content"]])
    return {
        "clientMutationId": given.get("clientMutationId"),
        "reaction": pulls.reaction(record),
        "subject": subject,
    }


def _reactable(call: Call, node: str) -> tuple[Any, Repository, list[Reaction]]:
    for repo in call.world.state.repositories.values():
        if not call.token or not call.token.reaches(repo):
            continue
        for issue in repo.issues.values():
            if node == node_id("I", issue.id) and not issue.pull:
                return pulls.issue_node(call, repo, issue), repo, issue.reactions
            if issue.pull and node == node_id("PR", issue.pull.id):
                return pulls.pull_request(call, repo, issue.pull), repo, issue.reactions
            for one in issue.comments:
                if node == node_id("IC", one.id):
                    return pulls.issue_comment(call, repo, issue, one), repo, one.reactions
            for one in issue.pull.comments() if issue.pull else ():
                if node == node_id("PRRC", one.id):
                    found = pulls.review_comment(call, repo, issue.pull, one) if issue.pull else {}
                    return found, repo, one.reactions
    raise Failure("NOT_FOUND", f"Could not resolve to a node with the global id of '{node}'.")
