"""What waits for an approval, as a diff that whoever approves can read on the check."""

import difflib
from collections.abc import Mapping, Sequence

from bot.github.answer import as_object
from bot.github.documents import MAX_BLOBS, blobs
from bot.reporting.outlet import Outlet
from bot.reporting.render import code_span, fence
from pipelines.errors import ConductorError
from pipelines.model import (
    Effect,
    FileEdit,
    OpenPullRequest,
    PushCommit,
    Step,
    StepState,
    TaskResult,
)

MAX_LINES = 400
"""Of one file's diff."""
MAX_COMPARED = 3000
"""Lines of either side: what a comparison costs grows with the square of it."""


def commits_of(effects: Sequence[Effect]) -> list[PushCommit]:
    """Return the commits that the effects would make."""
    pulls = [effect.commit for effect in effects if isinstance(effect, OpenPullRequest)]
    return [*(effect for effect in effects if isinstance(effect, PushCommit)), *pulls]


async def waiting_diff(outlet: Outlet, step: Step, result: TaskResult | None) -> tuple[str, ...]:
    """Return one block a file that the held effects would change; none while nothing is held."""
    if step.state is not StepState.WAITING or not step.held or result is None:
        return ()
    edits = [edit for commit in commits_of(result.effects) for edit in commit.edits]
    before = await _texts(outlet, edits[:MAX_BLOBS])
    shown = [_block(outlet, e, before.get(e.before_sha or "")) for e in edits[:MAX_BLOBS]]
    rest = [f"Approving also {_deed(e)} {_name(outlet, e)}." for e in edits[MAX_BLOBS:]]
    return (*shown, *rest)


async def _texts(outlet: Outlet, edits: Sequence[FileEdit]) -> Mapping[str, str]:
    """Return the texts before, by id; what cannot be had is shown as the new text alone."""
    oids = list(dict.fromkeys(edit.before_sha for edit in edits if edit.before_sha))
    if not oids:
        return {}
    repository = outlet.change.repository
    variables = {f"o{index}": oid for index, oid in enumerate(oids)}
    try:
        data = await outlet.client.query(
            blobs(len(oids)), {"owner": repository.owner, "name": repository.name, **variables}
        )
    except ConductorError:
        return {}
    found = as_object(data.get("repository"))
    texts = {oid: as_object(found.get(f"b{index}")).get("text") for index, oid in enumerate(oids)}
    return {oid: text for oid, text in texts.items() if isinstance(text, str)}


def _block(outlet: Outlet, edit: FileEdit, before: str | None) -> str:
    """Return a file's change; secrets are taken out of both sides before they are compared."""
    old = outlet.redacted(before or "").splitlines()
    new = outlet.redacted(edit.content or "").splitlines()
    sides = (old[:MAX_COMPARED], new[:MAX_COMPARED])
    rows = list(difflib.unified_diff(*sides, lineterm="", n=3))[2:]
    shown = "\n".join(rows[:MAX_LINES])
    left = len(rows) - MAX_LINES
    more = f"\n\n{left} more lines are not shown." if left > 0 else ""
    mode = ", executable" if edit.executable else ""
    head = f"Approving {_deed(edit)} {_name(outlet, edit)}{mode}:"
    cut = max(len(old), len(new)) > MAX_COMPARED
    more += f"\n\nOnly the first {MAX_COMPARED} lines were compared." if cut else ""
    return f"{head}\n\n{fence(shown or '(no lines)', 'diff')}{more}"


def _deed(edit: FileEdit) -> str:
    if edit.content is None:
        return "deletes"
    return "changes" if edit.before_sha else "adds"


def _name(outlet: Outlet, edit: FileEdit) -> str:
    return code_span(outlet.redacted(edit.path))
