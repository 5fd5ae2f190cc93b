"""The subject of a run, read from its source of truth when work starts."""

from enum import StrEnum

from pydantic import AwareDatetime, Field

from pipelines.model.base import Frozen, Sha
from pipelines.model.trigger import Actor, Repository


class FileStatus(StrEnum):
    """How a file differs between base and head; the values are GitHub's own."""

    ADDED = "added"
    REMOVED = "removed"
    MODIFIED = "modified"
    RENAMED = "renamed"
    COPIED = "copied"
    CHANGED = "changed"
    UNCHANGED = "unchanged"


class ChangedFile(Frozen):
    """One file of a change.

    ``patch`` is the unified diff without file headers, starting at the first ``@@``; None when the
    source gave none (binary, too large, rename or mode change only).
    """

    path: str
    status: FileStatus
    previous_path: str | None = None
    additions: int = Field(default=0, ge=0)
    deletions: int = Field(default=0, ge=0)
    patch: str | None = None


class ChangedFiles(Frozen):
    """All files of a change; ``complete`` is False when the source stopped listing early."""

    files: tuple[ChangedFile, ...]
    complete: bool = True


class ConfigFile(Frozen):
    """The text of a repository's configuration file and where it came from."""

    path: str
    text: str
    sha: str
    """Blob id of the text, so that a run can name exactly what it obeyed."""


class PriorFinding(Frozen):
    """A finding that an earlier review posted, with what people did about it since."""

    fingerprint: str
    anchor: str = ""
    """As it was on the ``Finding``; without it nothing tells whether the code is still there."""
    thread_id: str
    comment_id: int
    path: str
    line: int | None = None
    title: str = ""
    resolved: bool = False
    resolved_by: Actor | None = None
    answered: bool = False
    """True when Conductor already replied that it is fixed."""


class Change(Frozen):
    """A snapshot of what a run works on, bound to ``head_sha``.

    For a pull request all fields are set; for a push ``number`` is None and ``base_sha`` is the
    commit before it. Title and body are strangers' text: data, never instructions.
    """

    repository: Repository
    number: int | None = None
    """Of the pull request, if it is one."""
    issue: int | None = None
    """Of the issue that title and body are from; base and head are then the default branch's."""
    head_sha: Sha
    base_sha: Sha
    head_ref: str = ""
    base_ref: str = ""
    head_repository_id: int | None = None
    title: str = ""
    body: str = ""
    author: Actor | None = None
    author_can_write: bool = False
    """Whether the author may push to the repository; False also when that could not be learnt."""
    draft: bool = False
    open: bool = True
    merged: bool = False
    labels: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    paths_complete: bool = True
    config: ConfigFile | None = None
    """From the base or default branch, never from the head."""
    prior_findings: tuple[PriorFinding, ...] = ()
    reviewed_shas: tuple[Sha, ...] = ()
    """Commits of this pull request that Conductor's own reviews are pinned to."""
    read_at: AwareDatetime | None = None

    @property
    def from_fork(self) -> bool:
        """Whether the head lives in another repository, or in one that is gone."""
        return self.number is not None and self.head_repository_id != self.repository.id

    @property
    def tainted(self) -> bool:
        """Whether its text was written by somebody who may not write to the repository."""
        by_stranger = self.author is not None and not self.author_can_write
        return self.from_fork or by_stranger or (self.number is not None and self.author is None)
