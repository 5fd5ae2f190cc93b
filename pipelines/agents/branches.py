"""Which branch a commit may go to: the pull request's own, or one of Conductor's."""

import re

from pipelines.model import DIGEST_IN_BRANCH, OWN_BRANCHES, Change, PushCommit, Task

_PLAIN = re.compile(r"[A-Za-z0-9._/-]{1,200}")


def unwritable(change: Change) -> str:
    """Return why nothing can be pushed to where the change lives, as half a sentence."""
    if change.number is None:
        return ""
    if not change.open:
        return "the pull request is closed"
    if change.from_fork:
        return "the pull request comes from a fork, to which Conductor does not push"
    if not _PLAIN.fullmatch(change.head_ref):
        return "the branch's name has characters that Conductor does not push to"
    return ""


def not_its_own(change: Change) -> str:
    """Return why nothing can be pushed to the branch of a pull request, as half a sentence."""
    if change.number is None:
        return "this run is not about a pull request"
    return unwritable(change)


def own_branch(task: Task, slug: str) -> str:
    """Return a branch that only this step of this run has; nothing in it comes from a model."""
    return f"{OWN_BRANCHES}{_slug(task.step)}-{slug}-{_run(task)}"


def series_of(step: str, base_ref: str) -> str:
    """Return what the branches begin with by which a step proposes into one base."""
    return f"{OWN_BRANCHES}{_slug(step)}-into-{_slug(base_ref)[:40]}-"


def branch_in(series: str, commit: PushCommit, task: Task) -> str:
    """Return the branch of a commit in a series; its content and its run are in the name."""
    return f"{series}{commit.digest[:DIGEST_IN_BRANCH]}-{_run(task)}"


def _run(task: Task) -> str:
    return re.sub(r"[^a-z0-9]", "", task.run_id.lower())[-10:]


def _slug(name: str) -> str:
    return (re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "fix")[:60]
