"""Repositories, commits, comparison, contents and who may do what."""

import base64
from typing import Any
from urllib.parse import quote

from bot.simulator.diff import between, text
from bot.simulator.errors import Refused, invalid, not_found
from bot.simulator.git import TreeEntry
from bot.simulator.protocol import Answer, Call, Operation
from bot.simulator.state import Repository
from bot.simulator.views import accounts, pulls, repositories
from bot.simulator.world import Json, World

MAX_FILES = 300
"""Files that a comparison lists."""
MAX_INLINE = 1_000_000
"""Bytes of a file that the contents operation sends as JSON; larger ones only as raw."""
MAX_RAW = 100_000_000


async def get_repository(call: Call) -> Answer:
    """One repository."""
    return Answer(repositories.full(call.world, call.repo))


async def get_commit(call: Call) -> Answer:
    """One commit with its files, or its diff by media type."""
    repo = call.repo
    sha = await repo.git.resolve(call.path["ref"])
    if not sha:
        raise invalid(f"No commit found for SHA: {call.path['ref']}")
    record = await repo.git.commit(sha)
    base = record.parents[0] if record.parents else await repo.git.write_tree(None, [])
    if wants_diff(call):
        return await diff_answer(repo, base, sha)
    files = await between(repo.git, base, sha)
    added, deleted = sum(f.additions for f in files), sum(f.deletions for f in files)
    document = repositories.commit(call.world, repo, record)
    document["stats"] = {"total": added + deleted, "additions": added, "deletions": deleted}
    entries = [pulls.diff_entry(call.world, repo, sha, f) for f in files[:MAX_FILES]]
    return Answer({**document, "files": entries})


def wants_diff(call: Call) -> bool:
    """Whether the media type asks for the diff itself."""
    return "diff" in call.headers.get("Accept", "").replace("+", ".").split(".")


async def diff_answer(repo: Repository, base: str, head: str) -> Answer:
    """The diff as text; 406 beyond GitHub's limits."""
    diff = await text(repo.git, base, head)
    files = diff.count(b"\ndiff --git ") + 1
    lines = diff.count(b"\n")
    for limit, count, unit in ((20_000, lines, "lines"), (MAX_FILES, files, "files")):
        if count > limit:
            words = f"Sorry, the diff exceeded the maximum number of {unit} ({limit})"
            error = {"resource": "PullRequest", "field": "diff", "code": "too_large"}
            raise Refused(406, words, errors=[error])
    return Answer(diff, media="application/vnd.github.diff; charset=utf-8")


async def compare(call: Call) -> Answer:
    """Two commits compared over their merge base."""
    repo, git = call.repo, call.repo.git
    left, dots, right = call.path["basehead"].partition("...")
    base, head = await git.resolve(left), await git.resolve(right)
    merge_base = await git.merge_base(base, head) if base and head else None
    if not dots or not base or not head or not merge_base:
        raise not_found()
    if wants_diff(call):
        return await diff_answer(repo, merge_base, head)
    ahead, behind = await git.log(base, head), await git.log(head, base)
    window, headers = call.window(len(ahead))
    files = await between(git, merge_base, head)
    records = [await git.commit(sha) for sha in ahead[window]]
    page, api = repositories.html_url(call.world, repo), repositories.api_url(call.world, repo)
    status = ("diverged" if behind else "ahead") if ahead else "behind" if behind else "identical"
    document: Json = {
        "url": f"{api}/compare/{left}...{right}",
        "html_url": f"{page}/compare/{left}...{right}",
        "permalink_url": f"{page}/compare/{base}...{head}",
        "diff_url": f"{page}/compare/{left}...{right}.diff",
        "patch_url": f"{page}/compare/{left}...{right}.patch",
        "base_commit": repositories.commit(call.world, repo, await git.commit(base)),
        "merge_base_commit": repositories.commit(call.world, repo, await git.commit(merge_base)),
        "status": status,
        "ahead_by": len(ahead),
        "behind_by": len(behind),
        "total_commits": len(ahead),
        "commits": [repositories.commit(call.world, repo, record) for record in records],
        "files": [pulls.diff_entry(call.world, repo, head, f) for f in files[:MAX_FILES]],
    }
    return Answer(document, headers=headers)


async def get_contents(call: Call) -> Answer:
    """A file or a folder at a ref; raw bytes by media type."""
    repo, path = call.repo, call.path["path"].strip("/")
    asked = call.query.get("ref") or repo.default_branch
    sha = await repo.git.resolve(asked)
    if not sha:
        raise Refused(404, f"No commit found for the ref {asked}")
    if not path:
        entries = await repo.git.tree(sha, recursive=False)
        return Answer([_entry(call.world, repo, asked, entry) for entry in entries])
    found = [e for e in await repo.git.tree(sha, recursive=False, path=path) if e.path == path]
    if not found or ".." in path.split("/"):
        raise not_found()
    if found[0].kind == "tree":
        entries = await repo.git.tree(sha, recursive=False, path=f"{path}/")
        return Answer([_entry(call.world, repo, asked, entry) for entry in entries])
    return await _file(call, asked, found[0])


async def _file(call: Call, asked: str, entry: TreeEntry) -> Answer:
    size = entry.size or 0
    if size > MAX_RAW:
        error = {"resource": "Blob", "field": "data", "code": "too_large"}
        raise Refused(403, "This API returns blobs up to 100 MB in size.", errors=[error])
    raw = "raw" in call.headers.get("Accept", "").replace("+", ".").split(".")
    content = await call.repo.git.blob(entry.sha) if entry.kind == "blob" else b""
    if raw:
        return Answer(content, media="application/vnd.github.raw; charset=utf-8")
    document = _entry(call.world, call.repo, asked, entry)
    if document["type"] == "symlink":
        return Answer({**document, "target": content.decode(errors="replace")})
    if document["type"] == "submodule":
        return Answer({**document, "submodule_git_url": None})
    if size > MAX_INLINE:
        return Answer({**document, "encoding": "none", "content": ""})
    text64 = base64.encodebytes(content).decode()
    return Answer({**document, "encoding": "base64", "content": text64})


def _entry(world: World, repo: Repository, asked: str, entry: TreeEntry) -> Json:
    kinds = {"tree": "dir", "commit": "submodule"}
    kind = "symlink" if entry.mode == "120000" else kinds.get(entry.kind, "file")
    where, api = quote(entry.path), repositories.api_url(world, repo)
    url = f"{api}/contents/{where}?ref={quote(asked, safe='')}"
    noun = {"dir": "tree", "submodule": "tree"}.get(kind, "blob")
    page = f"{repositories.html_url(world, repo)}/{noun}/{asked}/{where}"
    raw = f"{repositories.html_url(world, repo)}/raw/{asked}/{where}"
    git_url = f"{api}/git/{noun}s/{entry.sha}"
    return {
        "name": entry.path.rpartition("/")[2],
        "path": entry.path,
        "sha": entry.sha,
        "size": entry.size or 0,
        "url": url,
        "html_url": page,
        "git_url": git_url,
        "download_url": raw if noun == "blob" else None,
        "type": kind,
        "_links": {"self": url, "git": git_url, "html": page},
    }


_LEGACY = {"triage": "read", "maintain": "write"}


async def permission(call: Call) -> Answer:
    """What a user may do in the repository: the old four words, and the role's name."""
    account = call.world.state.account(call.path["login"])
    if not account:
        raise not_found()
    role = call.repo.role(account) or ("none" if call.repo.private else "read")
    names = ("pull", "triage", "push", "maintain", "admin")
    level = ("read", "triage", "write", "maintain", "admin").index(role) if role != "none" else -1
    user: dict[str, Any] = accounts.user(call.world, account)
    user["permissions"] = {name: index <= level for index, name in enumerate(names)}
    user["role_name"] = role
    document = {"permission": _LEGACY.get(role, role), "role_name": role, "user": user}
    return Answer(document)


_READ = ("contents=read",)

OPERATIONS = (
    Operation("GET", "/repos/{owner}/{repo}", get_repository),
    Operation("GET", "/repos/{owner}/{repo}/commits/{ref}", get_commit, _READ),
    Operation("GET", "/repos/{owner}/{repo}/compare/{basehead}", compare, _READ),
    Operation("GET", "/repos/{owner}/{repo}/contents/{path}", get_contents, _READ),
    Operation("GET", "/repos/{owner}/{repo}/collaborators/{login}/permission", permission),
)
