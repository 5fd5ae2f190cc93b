"""Changes to a repository as an agent asks for them, bound to the commit they were made on."""

import hashlib
from typing import Literal

from pydantic import Field

from pipelines.model.base import Frozen, Sha

OWN_BRANCHES = "conductor/"
"""What the names of all branches begin with that Conductor makes."""
DIGEST_IN_BRANCH = 10
"""How many digits of a commit's digest stand in the name of a series' branch."""
RUN_TRAILER = "Conductor-Run"
"""The trailer by which a commit of Conductor's names its run."""


class FileEdit(Frozen):
    """One file as it shall be; ``content`` None deletes it."""

    path: str = Field(min_length=1, max_length=4096)
    content: str | None = Field(max_length=1024 * 1024)
    executable: bool = False
    before_sha: Sha | None = None
    """Blob id of the file that was edited; None for a new one."""


class PushCommit(Frozen):
    """One commit on a branch, made by ``createCommitOnBranch`` with ``head_sha`` as expected head.

    ``branch`` is the pull request's own one in the same repository, or ``conductor/…``, which is
    made at ``head_sha`` if it does not exist.
    """

    kind: Literal["push_commit"] = "push_commit"
    head_sha: Sha
    branch: str = Field(pattern=r"^[A-Za-z0-9._/-]{1,200}$")
    edits: tuple[FileEdit, ...] = Field(min_length=1, max_length=200)
    headline: str = Field(min_length=1, max_length=100)
    body: str = Field(default="", max_length=20_000)

    @property
    def digest(self) -> str:
        """Names the content: equal edits on equal commits have equal digests."""
        whole = hashlib.sha256()
        for edit in sorted(self.edits, key=lambda edit: edit.path):
            whole.update(edit.model_dump_json().encode())
        return whole.hexdigest()[:24]

    @property
    def key(self) -> str:
        """One commit a branch, parent and content."""
        return f"commit/{self.branch}/{self.head_sha}/{self.digest}"


class OpenPullRequest(Frozen):
    """A commit on a ``conductor/…`` branch and the pull request that explains it."""

    kind: Literal["open_pull_request"] = "open_pull_request"
    head_sha: Sha
    commit: PushCommit
    base_ref: str
    title: str = Field(min_length=1, max_length=250)
    body: str = Field(max_length=60_000)
    answers_issue: int | None = Field(default=None, ge=1)
    """The issue that it was made for; it is named, and closed only once the fix is verified."""
    series: str = Field(default="", pattern=r"^(?:conductor/[A-Za-z0-9._-]{1,120}-)?$")
    """What the branches of a series begin with, then the commit's digest, a dash and the run.

    Of a series into one base only the newest stays open, and one with the same content is not
    opened again. Empty for a pull request that stands for itself.
    """

    @property
    def key(self) -> str:
        """One pull request a branch."""
        return f"pull/{self.commit.branch}"
