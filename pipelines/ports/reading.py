"""Where the truth about a repository is read."""

from collections.abc import Mapping, Sequence
from typing import Literal, Protocol

from pydantic import Field

from pipelines.model import Change, ChangedFiles, Frozen, OpenFeedback, Sha, Trigger


class FileText(Frozen):
    """A file at a commit; ``text`` is None when it cannot be shown and ``reason`` says why."""

    path: str
    text: str | None
    size: int = Field(default=0, ge=0)
    reason: Literal["", "missing", "binary", "too large", "not a regular file"] = ""


class TreeEntry(Frozen):
    """One file of a commit's tree; ``size`` is in bytes, 0 where there is none."""

    path: str
    mode: Literal["100644", "100755", "120000", "160000"]
    """Regular, executable, symbolic link, submodule; the values are git's own."""
    sha: Sha
    size: int = Field(default=0, ge=0)


class Tree(Frozen):
    """Every file of a commit; ``complete`` is False when the source stopped listing early."""

    entries: tuple[TreeEntry, ...]
    complete: bool = True


class Snapshot(Frozen):
    """The regular files of a commit with their bytes, for a sandbox; ``left_out`` has the rest."""

    sha: Sha
    files: Mapping[str, bytes]
    executables: frozenset[str] = frozenset()
    left_out: Mapping[str, str] = Field(default_factory=dict)
    """Path and reason: a link, a submodule, too large, beyond the limit of the whole."""


class Reader(Protocol):
    """What one agent may read: one repository at the commits of one change, and nothing else."""

    async def changed_files(self) -> ChangedFiles:
        """Return every file between base and head, with patches where the source has them."""
        ...

    async def read(
        self, paths: Sequence[str], *, at: Literal["head", "base"] = "head"
    ) -> Mapping[str, FileText]:
        """Return one entry for each path asked for, in one round trip where that is possible."""
        ...

    async def tree(self, *, at: Literal["head", "base"] = "head") -> Tree:
        """Return the whole tree in one round trip."""
        ...


class Source(Protocol):
    """Where the truth about a repository is read: GitHub, or a local checkout."""

    async def change(self, trigger: Trigger) -> Change:
        """Read the subject of a trigger as it is now; raises Ignorable if it is gone."""
        ...

    def reader(self, change: Change) -> Reader:
        """Return a reader bound to that change's repository and commits."""
        ...

    async def snapshot(self, change: Change, *, at: Literal["head", "base"] = "head") -> Snapshot:
        """Return the files of a commit as bytes, at most 20,000 files and 200 MB in all."""
        ...

    async def feedback(self, change: Change, environment: str | None) -> Sequence[OpenFeedback]:
        """Return the open issues of the monitor, verified; of one environment, or with None all."""
        ...
