"""What an agent may ask for: typed effects that one package carries out after policy allowed them.

An effect names the commit it was decided for and has a key. The key is the same whenever the same
effect is asked for again, so that it can be recorded, looked up and never done twice.
"""

from typing import Annotated, Literal

from pydantic import Field

from pipelines.model.base import Frozen, Sha
from pipelines.model.commit import OpenPullRequest, PushCommit
from pipelines.model.deployment import (
    CreateDeployment,
    Notify,
    ReleaseService,
    SetDeploymentStatus,
)
from pipelines.model.feedback import CloseIssue, OpenIssue
from pipelines.model.finding import Coverage, Finding


class SubmitReview(Frozen):
    """One review of a pull request, pinned to a commit; never an approval."""

    kind: Literal["submit_review"] = "submit_review"
    number: int = Field(ge=1)
    head_sha: Sha
    findings: tuple[Finding, ...]
    summary: str
    coverage: Coverage
    dropped: int = Field(default=0, ge=0)
    """Findings of the model that did not survive verification; said, not shown."""

    @property
    def key(self) -> str:
        """One review a pull request and head commit."""
        return f"review/{self.number}/{self.head_sha}"


class AnswerFinding(Frozen):
    """Reply "fixed in SHA" to an earlier finding's thread and resolve it."""

    kind: Literal["answer_finding"] = "answer_finding"
    number: int = Field(ge=1)
    head_sha: Sha
    fingerprint: str
    thread_id: str
    comment_id: int
    fixed_in: Sha

    @property
    def key(self) -> str:
        """One answer a thread."""
        return f"answer/{self.number}/{self.thread_id}"


class PostComment(Frozen):
    """A reply in the conversation of an issue or pull request, for example to a command."""

    kind: Literal["post_comment"] = "post_comment"
    number: int = Field(ge=1)
    head_sha: Sha | None = None
    body: str
    reason: str
    """What the comment answers, e.g. ``command/1234``: its identity."""

    @property
    def key(self) -> str:
        """One comment a reason."""
        return f"comment/{self.number}/{self.reason}"


class React(Frozen):
    """A reaction on the comment that gave a command: seen, done or refused."""

    kind: Literal["react"] = "react"
    head_sha: Sha | None = None
    comment_id: int = Field(ge=1)
    comment_kind: Literal["issue", "review"] = "issue"
    content: Literal["eyes", "rocket", "confused"]

    @property
    def key(self) -> str:
        """One reaction of each kind a comment; GitHub itself treats a repeat as a no-op."""
        return f"reaction/{self.comment_kind}/{self.comment_id}/{self.content}"


Effect = Annotated[
    SubmitReview
    | AnswerFinding
    | PostComment
    | React
    | PushCommit
    | OpenPullRequest
    | OpenIssue
    | CloseIssue
    | CreateDeployment
    | ReleaseService
    | SetDeploymentStatus
    | Notify,
    Field(discriminator="kind"),
]
