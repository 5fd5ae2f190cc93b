"""The git database: refs, commits, trees and blobs."""

import base64
import binascii
from datetime import datetime
from typing import Literal

from pydantic import Field

from bot.simulator.branches import moved, signature
from bot.simulator.errors import Refused, invalid, not_found
from bot.simulator.git import ZERO, GitError, Signature
from bot.simulator.protocol import Answer, Body, Call, Operation
from bot.simulator.views import repositories


class BlobBody(Body):
    """Content of a new blob."""

    content: str
    encoding: Literal["utf-8", "base64"] = "utf-8"


class TreeItem(Body):
    """One path of a new tree: content inline, or an object that exists, or null to delete."""

    path: str
    mode: Literal["100644", "100755", "040000", "160000", "120000"] = "100644"
    type: Literal["blob", "tree", "commit"] = "blob"
    sha: str | None = None
    content: str | None = None


class TreeBody(Body):
    """A new tree over an old one."""

    tree: list[TreeItem]
    base_tree: str | None = None


class Person(Body):
    """Author or committer."""

    name: str
    email: str
    date: str | None = None


class CommitBody(Body):
    """A new commit."""

    message: str
    tree: str
    parents: list[str] = Field(default_factory=list[str])
    author: Person | None = None
    committer: Person | None = None


class RefBody(Body):
    """A new ref."""

    ref: str
    sha: str


class MoveBody(Body):
    """A ref's new target."""

    sha: str
    force: bool = False


async def get_ref(call: Call) -> Answer:
    """One ref by its full name without ``refs/``."""
    name = f"refs/{call.path['ref']}"
    sha = (await call.repo.git.refs(name)).get(name)
    if not sha:
        raise not_found()
    kind = await call.repo.git.kind(sha) or "commit"
    return Answer(repositories.ref(call.world, call.repo, name, sha, kind))


async def matching_refs(call: Call) -> Answer:
    """Every ref that starts with a name."""
    prefix = f"refs/{call.path['ref']}"
    found = [(n, s) for n, s in (await call.repo.git.refs()).items() if n.startswith(prefix)]
    return call.page(found, lambda row: repositories.ref(call.world, call.repo, *row))


async def create_ref(call: Call) -> Answer:
    """A new branch or tag; 422 if it is there."""
    body, git = call.read(RefBody), call.repo.git
    if not body.ref.startswith("refs/") or body.ref.count("/") < 2:
        raise invalid("Reference name must start with 'refs/' and contain at least two slashes.")
    if await git.kind(body.sha) != "commit":
        raise invalid("Object does not exist")
    try:
        await git.move_ref(body.ref, body.sha, ZERO)
    except GitError:
        raise invalid("Reference already exists") from None
    await moved(call.world, call.repo, body.ref, None, body.sha, by=call.actor)
    return Answer(repositories.ref(call.world, call.repo, body.ref, body.sha), status=201)


async def update_ref(call: Call) -> Answer:
    """Move a ref; without ``force`` only forward."""
    body, git = call.read(MoveBody), call.repo.git
    name = f"refs/{call.path['ref']}"
    old = (await git.refs(name)).get(name)
    if not old:
        raise invalid("Reference does not exist")
    if await git.kind(body.sha) != "commit":
        raise invalid("Object does not exist")
    if not body.force and not await git.is_ancestor(old, body.sha):
        raise invalid("Update is not a fast forward")
    await git.move_ref(name, body.sha, old)
    await moved(call.world, call.repo, name, old, body.sha, by=call.actor)
    return Answer(repositories.ref(call.world, call.repo, name, body.sha))


async def delete_ref(call: Call) -> Answer:
    """Remove a ref."""
    name = f"refs/{call.path['ref']}"
    old = (await call.repo.git.refs(name)).get(name)
    if not old:
        raise invalid("Reference does not exist")
    await call.repo.git.move_ref(name, None, old)
    await moved(call.world, call.repo, name, old, None, by=call.actor)
    return Answer(status=204)


async def get_blob(call: Call) -> Answer:
    """One blob, in base64."""
    sha, git = call.path["sha"], call.repo.git
    if await git.kind(sha) != "blob":
        raise not_found()
    content = await git.blob(sha)
    return Answer(
        {
            "sha": sha,
            "node_id": f"B_{sha}",
            "size": len(content),
            "url": f"{repositories.api_url(call.world, call.repo)}/git/blobs/{sha}",
            "content": base64.encodebytes(content).decode(),
            "encoding": "base64",
        }
    )


async def create_blob(call: Call) -> Answer:
    """Store content."""
    body = call.read(BlobBody)
    try:
        content = (
            base64.b64decode(body.content, validate=False)
            if body.encoding == "base64"
            else body.content.encode()
        )
    except binascii.Error:
        raise invalid("content is not valid Base64") from None
    sha = await call.repo.git.write_blob(content)
    url = f"{repositories.api_url(call.world, call.repo)}/git/blobs/{sha}"
    return Answer({"sha": sha, "url": url}, status=201)


async def _tree(call: Call, sha: str, *, recursive: bool, status: int = 200) -> Answer:
    api = repositories.api_url(call.world, call.repo)
    rows = [
        {
            "path": entry.path,
            "mode": entry.mode,
            "type": entry.kind,
            "sha": entry.sha,
            **({"size": entry.size} if entry.size is not None else {}),
            "url": f"{api}/git/{entry.kind}s/{entry.sha}",
        }
        for entry in await call.repo.git.tree(sha, recursive=recursive)
    ]
    document = {"sha": sha, "url": f"{api}/git/trees/{sha}", "tree": rows, "truncated": False}
    return Answer(document, status=status)


async def get_tree(call: Call) -> Answer:
    """A tree, by its own id or by a commit or branch; ``recursive`` with any value descends."""
    sha = await call.repo.git.resolve(call.path["sha"], "tree")
    if not sha:
        raise not_found()
    return await _tree(call, sha, recursive="recursive" in call.query)


async def create_tree(call: Call) -> Answer:
    """A tree made of items over a base."""
    body, git = call.read(TreeBody), call.repo.git
    base = await git.resolve(body.base_tree, "tree") if body.base_tree else None
    if body.base_tree and not base:
        raise Refused(404, "Not Found")
    changes: list[tuple[str, str, str | None]] = []
    for item in body.tree:
        sha = item.sha
        if item.content is not None:
            sha = await git.write_blob(item.content.encode())
        elif sha and item.type != "commit" and await git.kind(sha) != item.type:
            raise invalid(f"tree.sha {sha} is not a valid {item.type}")
        changes.append((item.path, item.mode, sha))
    try:
        sha = await git.write_tree(base, changes)
    except GitError:
        raise invalid("tree contains a malformed path") from None
    return await _tree(call, sha, recursive=False, status=201)


def _signature(call: Call, person: Person | None) -> Signature:
    if person is None:
        return signature(call.world, call.actor)
    try:
        at = datetime.fromisoformat(person.date) if person.date else call.world.now()
    except ValueError:
        raise invalid("Invalid request.\n\ndate is not a date-time.") from None
    return Signature(person.name, person.email, at)


async def get_commit(call: Call) -> Answer:
    """One commit of the git database."""
    sha = call.path["sha"]
    if await call.repo.git.kind(sha) != "commit":
        raise not_found()
    record = await call.repo.git.commit(sha)
    return Answer(repositories.git_commit(call.world, call.repo, record))


async def create_commit(call: Call) -> Answer:
    """Store a commit."""
    body, git = call.read(CommitBody), call.repo.git
    if await git.kind(body.tree) != "tree":
        raise invalid("Tree SHA does not exist")
    for parent in body.parents:
        if await git.kind(parent) != "commit":
            raise invalid("Parent SHA does not exist or is not a commit object")
    author = _signature(call, body.author)
    committer = _signature(call, body.committer) if body.committer else author
    sha = await git.write_commit(body.tree, body.parents, body.message, author, committer)
    record = await git.commit(sha)
    return Answer(repositories.git_commit(call.world, call.repo, record), status=201)


_READ, _WRITE = ("contents=read",), ("contents=write",)
_GIT = "/repos/{owner}/{repo}/git"

OPERATIONS = (
    Operation("GET", f"{_GIT}/ref/{{ref}}", get_ref, _READ),
    Operation("GET", f"{_GIT}/matching-refs/{{ref}}", matching_refs, _READ),
    Operation("POST", f"{_GIT}/refs", create_ref, _WRITE),
    Operation("PATCH", f"{_GIT}/refs/{{ref}}", update_ref, _WRITE),
    Operation("DELETE", f"{_GIT}/refs/{{ref}}", delete_ref, _WRITE),
    Operation("GET", f"{_GIT}/blobs/{{sha}}", get_blob, _READ),
    Operation("POST", f"{_GIT}/blobs", create_blob, _WRITE),
    Operation("GET", f"{_GIT}/trees/{{sha}}", get_tree, _READ),
    Operation("POST", f"{_GIT}/trees", create_tree, _WRITE),
    Operation("GET", f"{_GIT}/commits/{{sha}}", get_commit, _READ),
    Operation("POST", f"{_GIT}/commits", create_commit, _WRITE),
)
