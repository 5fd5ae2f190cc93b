"""What can start work: one frozen model a kind of trigger, told apart by ``kind``."""

from typing import Annotated, Literal

from pydantic import AwareDatetime, Field

from pipelines.model.base import Frozen, Sha
from pipelines.model.feedback import FailedFix, FeedbackPayload


class Repository(Frozen):
    """A repository as one installation sees it; ``id`` is its identity, the names may change.

    ``installation_id`` 0 and ``id`` 0 stand for a local checkout without GitHub.
    """

    installation_id: int = Field(ge=0)
    id: int = Field(ge=0)
    owner: str
    name: str
    default_branch: str = "main"
    private: bool = True

    @property
    def full_name(self) -> str:
        """``owner/name``, for display and for REST paths; never for identity."""
        return f"{self.owner}/{self.name}"

    @property
    def tenant(self) -> str:
        """The prefix of every stored key that belongs to this repository."""
        return f"{self.installation_id}/{self.id}"


class Actor(Frozen):
    """An account by its numeric id, the only part of it that decides anything."""

    id: int = Field(ge=0)
    login: str
    type: Literal["User", "Bot", "Organization", "Mannequin"] = "User"


GHOST = Actor(id=0, login="ghost")
"""Stands in for an account that no longer exists; it has no permissions."""


class Provenance(Frozen):
    """The chain of Conductor's own actions that led here; ``depth`` 0 is a person's action."""

    root_run: str | None = None
    depth: int = Field(default=0, ge=0)


class TriggerBase(Frozen):
    """What every trigger carries."""

    repository: Repository
    actor: Actor
    delivery_id: str
    occurred_at: AwareDatetime | None = None
    provenance: Provenance = Provenance()


class PullRequestTrigger(TriggerBase):
    """A pull request changed; the webhook's snapshot is a hint, the subject is re-read."""

    kind: Literal["pull_request"] = "pull_request"
    action: str
    number: int = Field(ge=0)
    """0 for a local branch that has no pull request."""
    head_sha: Sha
    head_ref: str
    base_ref: str
    base_sha: Sha
    head_repository_id: int | None
    author: Actor
    draft: bool = False
    labels: tuple[str, ...] = ()

    @property
    def subject(self) -> str:
        """The lane this trigger belongs to."""
        return f"pr/{self.number}"


class Revert(Frozen):
    """That a pushed commit says of itself that it reverts another; its words are data."""

    sha: Sha
    """The commit that it says it reverts."""
    headline: str = Field(default="", max_length=200)
    """The first line of what the reverting commit says."""


class PushTrigger(TriggerBase):
    """A branch or tag moved; ``ref`` is full (``refs/heads/main``)."""

    kind: Literal["push"] = "push"
    ref: str
    before: Sha
    after: Sha
    created: bool = False
    forced: bool = False
    reverts: tuple[Revert, ...] = Field(default=(), max_length=3)
    """The first few commits that the push says it takes back; a hint."""

    @property
    def branch(self) -> str | None:
        """The branch's short name, or None for a tag."""
        prefix = "refs/heads/"
        return self.ref.removeprefix(prefix) if self.ref.startswith(prefix) else None

    @property
    def subject(self) -> str:
        """The lane this trigger belongs to."""
        return f"ref/{self.ref}"


class DeploymentTrigger(TriggerBase):
    """A deployment was created."""

    kind: Literal["deployment"] = "deployment"
    deployment_id: int = Field(ge=1)
    environment: str
    sha: Sha
    ref: str

    @property
    def subject(self) -> str:
        """The lane this trigger belongs to."""
        return f"deployment/{self.environment}"


class DeploymentStatusTrigger(TriggerBase):
    """A deployment's status changed."""

    kind: Literal["deployment_status"] = "deployment_status"
    deployment_id: int = Field(ge=1)
    environment: str
    sha: Sha
    state: str

    @property
    def subject(self) -> str:
        """The lane this trigger belongs to."""
        return f"deployment/{self.environment}"


class IssueTrigger(TriggerBase):
    """An issue was opened, labelled or otherwise changed."""

    kind: Literal["issues"] = "issues"
    action: str
    number: int = Field(ge=1)
    author: Actor
    label: str | None = None
    labels: tuple[str, ...] = ()

    @property
    def subject(self) -> str:
        """The lane this trigger belongs to."""
        return f"issue/{self.number}"


class CommandTrigger(TriggerBase):
    """A comment gave a command; ``text`` is what the signed payload carried, never re-fetched."""

    kind: Literal["command"] = "command"
    number: int = Field(ge=1)
    on_pull_request: bool
    comment_id: int = Field(ge=1)
    comment_kind: Literal["issue", "review"] = "issue"
    verb: str
    arguments: tuple[str, ...] = ()
    text: str = ""

    @property
    def subject(self) -> str:
        """The lane this trigger belongs to."""
        return f"pr/{self.number}" if self.on_pull_request else f"issue/{self.number}"


class CheckTrigger(TriggerBase):
    """A check run or suite was re-requested, or one of its buttons was pressed."""

    kind: Literal["check_run"] = "check_run"
    action: Literal["rerequested", "requested_action"]
    check_run_id: int | None = None
    external_id: str = ""
    head_sha: Sha
    button: str | None = None

    @property
    def subject(self) -> str:
        """The lane this trigger belongs to."""
        return f"check/{self.head_sha}"


class ScheduleTrigger(TriggerBase):
    """A cron schedule of a workflow came due."""

    kind: Literal["schedule"] = "schedule"
    workflow: str
    cron: str
    due_at: AwareDatetime

    @property
    def subject(self) -> str:
        """The lane this trigger belongs to."""
        return f"schedule/{self.workflow}"


class AlertTrigger(TriggerBase):
    """An alert fired or was resolved."""

    kind: Literal["alert"] = "alert"
    fingerprint: str
    name: str
    firing: bool
    severity: str = ""
    environment: str = ""

    @property
    def subject(self) -> str:
        """The lane this trigger belongs to."""
        return f"alert/{self.fingerprint}"


class FeedbackTrigger(TriggerBase):
    """An issue that Conductor's own monitor opened asks for a fix; its marker was verified."""

    kind: Literal["feedback"] = "feedback"
    number: int = Field(ge=1)
    payload: FeedbackPayload
    occurrences: int = Field(default=1, ge=1)
    failed: tuple[FailedFix, ...] = ()
    """Fixes that did not help, the newest last."""

    @property
    def subject(self) -> str:
        """The lane this trigger belongs to."""
        return f"issue/{self.number}"


Trigger = Annotated[
    PullRequestTrigger
    | PushTrigger
    | DeploymentTrigger
    | DeploymentStatusTrigger
    | IssueTrigger
    | CommandTrigger
    | CheckTrigger
    | ScheduleTrigger
    | AlertTrigger
    | FeedbackTrigger,
    Field(discriminator="kind"),
]
