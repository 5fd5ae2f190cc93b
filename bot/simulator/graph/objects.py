"""People and git objects as GraphQL nodes: mappings whose callables resolve fields."""

import zlib
from typing import Any

from bot.simulator.auth import allows
from bot.simulator.git import GitRepository, Signature, TreeEntry
from bot.simulator.graph.paging import Failure, Info, connection
from bot.simulator.protocol import Call
from bot.simulator.state import Account, Repository
from bot.simulator.views import repositories
from bot.simulator.world import Json, node_id, stamp

TEXT_LIMIT = 512_000
"""Bytes of a blob's text that GraphQL returns; the rest is cut and ``isTruncated`` says so."""
_PROBE = 8000
"""Bytes in which git looks for a NUL to call a file binary."""


def demand(call: Call, repo: Repository, need: str) -> None:
    """Raise FORBIDDEN unless the token holds a permission on the repository."""
    assert call.token, "GraphQL is for installation tokens"
    reading_public = need.endswith("=read") and not repo.private
    if not reading_public and not (call.token.reaches(repo) and allows(call.token, need)):
        raise Failure("FORBIDDEN", "Resource not accessible by integration")


def actor(call: Call, account: Account) -> Json:
    """Someone; a bot's login has no ``[bot]`` here, unlike in REST."""
    prefix = {"User": "U", "Organization": "O", "Bot": "BOT"}[account.kind]
    login = account.login.removesuffix("[bot]")
    path = f"apps/{login}" if account.kind == "Bot" else login
    return {
        "__typename": account.kind,
        "id": node_id(prefix, account.id),
        "databaseId": account.id,
        "login": login,
        "name": account.name,
        "url": f"{call.world.base_url}/{path}",
    }


def git_actor(call: Call, signature: Signature) -> Json:
    """Who a commit names as its author; ``user`` is the account of that address, an App's too."""
    people = call.world.state.accounts.values()
    known = next((one for one in people if one.email == signature.email), None)
    return {
        "name": signature.name,
        "email": signature.email,
        "user": {**actor(call, known), "login": known.login, "__typename": "User"}
        if known
        else None,
    }


def ref(call: Call, repo: Repository, name: str, sha: str) -> Json:
    """A branch or tag; its target needs permission to read contents."""

    async def target(_: Info) -> Json | None:
        demand(call, repo, "contents=read")
        return await git_object(call, repo, sha)

    prefix, _, short = name.partition("/")[2].partition("/")
    full_prefix = f"refs/{prefix}/"
    return {
        "__typename": "Ref",
        "id": node_id("REF", repo.id << 32 | zlib.crc32(name.encode())),
        "name": short,
        "prefix": full_prefix,
        "target": target,
    }


async def find_ref(call: Call, repo: Repository, qualified: str) -> Json | None:
    """A ref by full or short name."""
    names = (qualified, f"refs/heads/{qualified}", f"refs/tags/{qualified}")
    refs = await repo.git.refs()
    found = next((name for name in names if name in refs), None)
    return ref(call, repo, found, refs[found]) if found else None


async def git_object(call: Call, repo: Repository, sha: str) -> Json | None:
    """A commit, tree or blob by id; None if there is none."""
    match await repo.git.kind(sha):
        case "blob":
            return await _blob(repo.git, sha)
        case "tree":
            return _tree(call, repo, sha)
        case "commit":
            return await commit(call, repo, sha)
        case _:
            return None


async def _blob(git: GitRepository, sha: str) -> Json:
    content = await git.blob(sha)
    binary = b"\0" in content[:_PROBE]
    text = None if binary else content[:TEXT_LIMIT].decode(errors="replace")
    return {
        "__typename": "Blob",
        "id": f"B_{sha}",
        "oid": sha,
        "byteSize": len(content),
        "isBinary": binary,
        "isTruncated": len(content) > TEXT_LIMIT,
        "text": text,
    }


def _tree(call: Call, repo: Repository, sha: str, folder: str = "") -> Json:
    async def entries(_: Info) -> list[Json]:
        rows = await repo.git.tree(sha, recursive=False)
        return [entry(call, repo, row, folder) for row in rows]

    return {"__typename": "Tree", "id": f"T_{sha}", "oid": sha, "entries": entries}


def entry(call: Call, repo: Repository, row: TreeEntry, folder: str = "") -> Json:
    """A row of a tree."""

    async def target(_: Info) -> Json | None:
        return await git_object(call, repo, row.sha)

    return {
        "name": row.path.rpartition("/")[2],
        "path": folder + row.path,
        "mode": int(row.mode, 8),
        "type": row.kind,
        "oid": row.sha,
        "size": row.size or 0,
        "object": target,
    }


async def commit(call: Call, repo: Repository, sha: str) -> Json:
    """A commit."""
    record = await repo.git.commit(sha)

    async def file(_: Info, path: str) -> Json | None:
        rows = await repo.git.tree(sha, recursive=False, path=path)
        row = next((row for row in rows if row.path == path), None)
        return entry(call, repo, row) if row else None

    async def parents(info: Info, **window: Any) -> Json:
        nodes = [await commit(call, repo, parent) for parent in record.parents]
        return connection(nodes, lambda node: node)(info, **window)

    return {
        "__typename": "Commit",
        "id": f"C_{sha}",
        "oid": sha,
        "message": record.message,
        "messageHeadline": record.message.partition("\n")[0],
        "committedDate": stamp(record.committer.at),
        "author": git_actor(call, record.author),
        "url": f"{repositories.html_url(call.world, repo)}/commit/{sha}",
        "tree": _tree(call, repo, record.tree),
        "file": file,
        "parents": parents,
        "origin": repo,
    }
