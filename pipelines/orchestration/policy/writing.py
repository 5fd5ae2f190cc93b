"""Rules for commits: which files they may change, and where they may go."""

from collections.abc import Iterator

from pipelines.agents.branches import series_of
from pipelines.model import (
    OWN_BRANCHES,
    Change,
    Conclusion,
    Effect,
    FileEdit,
    OpenPullRequest,
    PushCommit,
    Step,
    WorkflowRun,
)
from pipelines.orchestration.policy.verdicts import (
    Allow,
    Deny,
    Facts,
    RequireApproval,
    Rule,
    Verdict,
    approved,
)
from pipelines.paths import refused_content, refused_path

SHIPS = "devops"
"""The agent whose business are files that build and ship; each such commit needs a consent."""


def commit_of(effect: Effect) -> PushCommit | None:
    """Return the commit that an effect would make, if it would make one."""
    match effect:
        case PushCommit():
            return effect
        case OpenPullRequest(commit=commit):
            return commit
        case _:
            return None


class PathRule(Rule):
    """A commit changes nothing that grants power or that the configuration protects.

    What builds and ships is for the devops agent, and then only with a writer's consent to exactly
    this commit, given after it was made.
    """

    def effect(self, run: WorkflowRun, step: Step, effect: Effect, facts: Facts) -> Verdict:
        """Deny a commit with a file that may not be written; ask where consent can allow it."""
        commit = commit_of(effect)
        if commit is None:
            return Allow()
        ships = step.agent == SHIPS
        for edit in commit.edits:
            if reason := _refused(edit, () if ships else run.protected, ships=ships):
                return Deny(f"`{edit.path}` is not written: {reason}.", Conclusion.FAILURE)
        held = [e.path for e in commit.edits if refused_path(e.path, run.protected)]
        if not held or (step.held and approved(step, "write")):
            return Allow()
        names = ", ".join(f"`{path}`" for path in held[:5])
        more = f" and {len(held) - 5} more" if len(held) > 5 else ""
        return RequireApproval(
            "write", f"A writer's approval of the changes to {names}{more} is needed."
        )


class BranchRule(Rule):
    """Commits go to Conductor's own branches or to the pull request's one in this repository."""

    def effect(self, run: WorkflowRun, step: Step, effect: Effect, facts: Facts) -> Verdict:
        """Deny a commit to any other branch, and a pull request into a branch of its own making."""
        commit = commit_of(effect)
        if commit is None:
            return Allow()
        reason = _misdirected(run.change, commit.branch)
        if isinstance(effect, OpenPullRequest):
            if not commit.branch.startswith(OWN_BRANCHES):
                reason = f"A pull request is opened from a `{OWN_BRANCHES}…` branch only."
            elif effect.base_ref not in _bases(run.change):
                reason = f"A pull request into `{effect.base_ref}` is not this run's business."
            elif effect.series not in ("", series_of(step.name, effect.base_ref)):
                reason = f"The pull requests `{effect.series}…` are not this step's business."
            elif not commit.branch.startswith(effect.series):
                reason = f"`{commit.branch}` is not of the series that it would take over."
        return Deny(reason, Conclusion.FAILURE) if reason else Allow()


def _refused(edit: FileEdit, protected: tuple[str, ...], *, ships: bool) -> str | None:
    reason = refused_path(edit.path, protected, ships=ships)
    return reason or (refused_content(edit.content) if edit.content is not None else None)


def _misdirected(change: Change, branch: str) -> str | None:
    """Return why a branch is not to be written to, or None."""
    kept = {change.repository.default_branch.casefold(), change.base_ref.casefold()}
    if branch.casefold() in kept:
        return f"`{branch}` is a branch that only people push to."
    if branch.startswith(OWN_BRANCHES):
        return None if _well_formed(branch) else f"`{branch}` is no name for a branch."
    if change.from_fork:
        return "The pull request comes from a fork, which Conductor does not write to."
    if change.number is not None and branch == change.head_ref:
        return None
    return f"`{branch}` is neither a `{OWN_BRANCHES}…` branch nor the pull request's own."


def _well_formed(branch: str) -> bool:
    """Whether git takes it as it is; see git-check-ref-format."""
    parts = branch.split("/")
    odd = any(not p or p.startswith(".") or p.endswith((".lock", ".")) for p in parts)
    return not odd and ".." not in branch


def _bases(change: Change) -> Iterator[str]:
    yield change.repository.default_branch
    if change.base_ref:
        yield change.base_ref
    if change.number is not None and not change.from_fork:
        yield change.head_ref
