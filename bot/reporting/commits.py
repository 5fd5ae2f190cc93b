"""One verified commit on a branch, with GitHub itself comparing the head before it writes.

https://docs.github.com/graphql/reference/mutations#createcommitonbranch
"""

import base64
from collections.abc import Mapping
from hashlib import sha256
from typing import Any
from urllib.parse import quote

from pydantic import Field

from bot.github.answer import as_object
from bot.github.errors import Forbidden, Invalid, NotFound, Stale
from bot.github.tokens import COMMIT, COMMIT_WORKFLOWS
from bot.github.wire import Wire, parse
from bot.reporting.messages import commit_text, headline
from bot.reporting.outlet import Outlet
from pipelines.errors import Retryable
from pipelines.model import OWN_BRANCHES, RUN_TRAILER, PushCommit
from pipelines.ports import Receipt

EFFECT_TRAILER = "Conductor-Effect"
_WORKFLOWS = ".github/workflows/"


class _User(Wire):
    id: int


class _Message(Wire):
    message: str


class _Parent(Wire):
    sha: str


class _Commit(Wire):
    sha: str
    html_url: str = ""
    commit: _Message
    author: _User | None = None
    parents: tuple[_Parent, ...] = ()


class _Comparison(Wire):
    commits: tuple[_Commit, ...] = Field(default=())


class _Made(Wire):
    oid: str
    url: str = ""


async def push(outlet: Outlet, effect: PushCommit) -> Receipt:
    """Make the commit, or find it made; a head that moved and a refusal are said, not raised.

    GitHub takes it only on the expected head, so a repeat can never add a second one.
    """
    refusal = _refused(outlet, effect)
    if refusal:
        return Receipt(key=effect.key, status="denied", message=refusal)
    touched = [edit.path for edit in effect.edits if edit.path.startswith(_WORKFLOWS)]
    way = outlet.with_permissions(COMMIT_WORKFLOWS if touched else COMMIT)
    try:
        return await _push(way, effect)
    except (Forbidden, Invalid) as error:
        return Receipt(key=effect.key, status="denied", message=str(error))


def _refused(outlet: Outlet, effect: PushCommit) -> str:
    """Return why this may not be pushed whoever allowed it, or nothing.

    A file cannot be redacted without being broken, so one that holds a secret stays here.
    """
    change = outlet.change
    own = change.number is not None and not change.from_fork and effect.branch == change.head_ref
    kept = {change.repository.default_branch, change.base_ref}
    if effect.branch in kept or not (own or effect.branch.startswith(OWN_BRANCHES)):
        return f"Conductor does not push to the branch {effect.branch[:100]!r}."
    if effect.head_sha != change.head_sha:
        return "The commit was made for another head than the run's."
    if outlet.redacted(effect.branch) != effect.branch:
        return "The branch's name looks like a secret."
    for edit in effect.edits:
        texts = (edit.path, edit.content or "")
        if any(outlet.redacted(text) != text for text in texts):
            return f"The new text of {outlet.redacted(edit.path)} holds what looks like a secret."
    return ""


async def _push(outlet: Outlet, effect: PushCommit) -> Receipt:
    ours = effect.branch.startswith(OWN_BRANCHES)
    tip = await _tip(outlet, effect)
    if tip is None and not ours:
        return Receipt(key=effect.key, status="moved", message="The branch is gone.")
    if tip is None:
        await _create_branch(outlet, effect)
    elif tip != effect.head_sha:
        return await _found(outlet, effect)
    try:
        data = await outlet.query("commit_files", input=_input(outlet, effect))
    except Stale:
        return await _found(outlet, effect)
    except NotFound as error:
        raise Retryable(f"GitHub does not show the new branch yet: {error}") from error
    made = parse(_Made, as_object(data.get("createCommitOnBranch")).get("commit"), "a new commit")
    return Receipt(
        key=effect.key,
        status="done",
        message=_about_modes(effect),
        url=made.url or None,
        sha=made.oid,
    )


async def _tip(outlet: Outlet, effect: PushCommit) -> str | None:
    try:
        found = await outlet.get(f"/git/ref/heads/{quote(effect.branch)}")
    except NotFound:
        return None
    return parse(_Parent, as_object(found).get("object"), "a branch").sha


async def _create_branch(outlet: Outlet, effect: PushCommit) -> None:
    """Make the branch at the head; that somebody was faster is for the commit to find out."""
    try:
        await outlet.post(
            "/git/refs", {"ref": f"refs/heads/{effect.branch}", "sha": effect.head_sha}
        )
    except Invalid as error:
        if "exists" not in f"{error} {error.errors}":
            raise


async def _found(outlet: Outlet, effect: PushCommit) -> Receipt:
    """Look for this very commit between the head and where the branch is now."""
    between = f"{effect.head_sha}...{quote(effect.branch, safe='')}"
    moved = Receipt(key=effect.key, status="moved", message="The branch has other commits by now.")
    try:
        found = await outlet.get(f"/compare/{between}?per_page=100")
    except NotFound:
        return moved
    bot_id, trailer = await outlet.bot_id(), _effect_trailer(effect)
    for commit in parse(_Comparison, found, "a comparison").commits:
        own = commit.author is not None and commit.author.id == bot_id
        first = [parent.sha for parent in commit.parents] == [effect.head_sha]
        if own and first and trailer in commit.commit.message.splitlines():
            url = commit.html_url or None
            return Receipt(key=effect.key, status="found", url=url, sha=commit.sha)
    return moved


def _effect_trailer(effect: PushCommit) -> str:
    return f"{EFFECT_TRAILER}: {sha256(effect.key.encode()).hexdigest()[:32]}"


def _input(outlet: Outlet, effect: PushCommit) -> Mapping[str, Any]:
    body = commit_text(outlet.redacted(effect.body))
    trailers = f"{RUN_TRAILER}: {outlet.run_id}\n{_effect_trailer(effect)}"
    written = [edit for edit in effect.edits if edit.content is not None]
    return {
        "branch": {
            "repositoryNameWithOwner": outlet.change.repository.full_name,
            "branchName": effect.branch,
        },
        "expectedHeadOid": effect.head_sha,
        "message": {
            "headline": headline(outlet.redacted(effect.headline)),
            "body": "\n\n".join(part for part in (body, trailers) if part),
        },
        "fileChanges": {
            "additions": [
                {
                    "path": edit.path,
                    "contents": base64.b64encode((edit.content or "").encode()).decode(),
                }
                for edit in written
            ],
            "deletions": [{"path": e.path} for e in effect.edits if e.content is None],
        },
    }


def _about_modes(effect: PushCommit) -> str:
    """Say what this way of committing cannot do: it keeps modes and sets none."""
    wanted = [e.path for e in effect.edits if e.executable and e.before_sha is None]
    if not wanted:
        return ""
    return f"GitHub's API cannot make new files executable: {', '.join(wanted[:5])}."
