"""The few fields of GitHub's webhook payloads that are used, strictly typed; all else is let by.

A missing or odd field makes the whole event unusable rather than half-understood: the subject is
read again from GitHub anyway, but not under an identity that was guessed.
"""

import re
from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from pipelines.model import GHOST, Actor, Repository, Sha

# https://git-scm.com/docs/git-check-ref-format
_NO_REF = re.compile(r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|//|^/|/$|\.$|\.lock$|(^|/)\.")
_FULL_NAME = re.compile(r"([A-Za-z0-9_-]{1,100})/(?!\.{1,2}$)([A-Za-z0-9._-]{1,100})", re.ASCII)
_KINDS = ("User", "Organization", "Mannequin")


def _real_sha(value: str) -> str:
    if not value.strip("0"):
        raise ValueError("the all-zero id stands for no commit")
    return value


def _ref(value: str) -> str:
    if _NO_REF.search(value):
        raise ValueError("not a name that git gives")
    return value


def _moment(value: object) -> datetime | None:
    """Return a moment with a zone in a plausible year; anything else is not known."""
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return None
    plausible = moment.tzinfo is not None and 2008 <= moment.year <= 2100
    return moment.astimezone(UTC) if plausible else None


Id = Annotated[int, Field(ge=1, lt=2**63)]
RealSha = Annotated[Sha, AfterValidator(_real_sha)]
RefName = Annotated[str, Field(min_length=1, max_length=1024), AfterValidator(_ref)]
Moment = Annotated[datetime | None, BeforeValidator(_moment)]
Environment = Annotated[str, Field(min_length=1, max_length=255, pattern=r"^[^\x00-\x1f\x7f]+$")]


class Payload(BaseModel):
    """A part of a payload: known fields strictly, unknown ones ignored."""

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore")


class Account(Payload):
    """A user, App or organisation; a kind that is not known counts as a bot."""

    id: Id
    login: Annotated[str, Field(min_length=1, max_length=255)]
    type: str = "User"

    def actor(self) -> Actor:
        """Return who that is."""
        kind = self.type if self.type in _KINDS else "Bot"
        return Actor.model_validate({"id": self.id, "login": self.login, "type": kind})


def actor_of(account: Account | None) -> Actor:
    """Return who that is; an account that is gone is the ghost."""
    return account.actor() if account else GHOST


class Owner(Payload):
    """Whose repository it is; the login of an Enterprise Managed User has an underscore."""

    login: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,100}$")]


class RepositoryPart(Payload):
    """The repository that an event happened in."""

    id: Id
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,100}$")]
    full_name: str
    owner: Owner
    default_branch: RefName
    private: bool
    archived: bool = False
    disabled: bool = False

    @model_validator(mode="after")
    def _consistent(self) -> "RepositoryPart":
        expected = f"{self.owner.login}/{self.name}"
        if self.name in (".", "..") or self.full_name.lower() != expected.lower():
            raise ValueError("the names contradict each other")
        return self

    def repository(self, installation_id: int) -> Repository:
        """Return it as that installation sees it."""
        return Repository(
            installation_id=installation_id,
            id=self.id,
            owner=self.owner.login,
            name=self.name,
            default_branch=self.default_branch,
            private=self.private,
        )


class InstallationPart(Payload):
    """The installation that an event is for."""

    id: Id
    app_id: Id | None = None


class Envelope(Payload):
    """What every event about a repository carries."""

    installation: InstallationPart
    repository: RepositoryPart
    sender: Account


class LabelPart(Payload):
    """A label."""

    name: Annotated[str, Field(max_length=255)]


class HeadRepository(Payload):
    """Where the head of a pull request lives."""

    id: Id


class Head(Payload):
    """The newest commit of a pull request; ``repo`` is None if the fork was deleted."""

    sha: RealSha
    ref: RefName
    repo: HeadRepository | None


class Base(Payload):
    """What a pull request is to be merged into."""

    sha: RealSha
    ref: RefName


class PullRequestPart(Payload):
    """A pull request."""

    number: Id
    head: Head
    base: Base
    user: Account | None
    draft: bool = False
    body: str | None = None
    labels: list[LabelPart] = []
    updated_at: Moment = None


class PullRequestEvent(Payload):
    """`pull_request`."""

    number: Id
    pull_request: PullRequestPart

    @model_validator(mode="after")
    def _consistent(self) -> "PullRequestEvent":
        if self.number != self.pull_request.number:
            raise ValueError("the numbers contradict each other")
        return self


class PushedCommit(Payload):
    """A commit of a push, as far as it is told; ``message`` may be a stranger's text."""

    id: str = ""
    message: str = ""


class PushEvent(Payload):
    """`push`."""

    ref: Annotated[RefName, Field(pattern=r"^refs/(heads|tags)/.")]
    before: Sha
    after: Sha
    created: bool
    deleted: bool
    forced: bool
    commits: list[PushedCommit] = []


class DeploymentPart(Payload):
    """A deployment."""

    id: Id
    sha: RealSha
    ref: RefName
    environment: Environment
    created_at: Moment = None


class DeploymentEvent(Payload):
    """`deployment`."""

    deployment: DeploymentPart


class DeploymentStatusPart(Payload):
    """A status of a deployment."""

    state: Literal["error", "failure", "inactive", "in_progress", "pending", "queued", "success"]
    created_at: Moment = None


class DeploymentStatusEvent(Payload):
    """`deployment_status`."""

    deployment: DeploymentPart
    deployment_status: DeploymentStatusPart


class IssuePart(Payload):
    """An issue; GitHub shows a pull request as one that has ``pull_request``."""

    number: Id
    user: Account | None
    body: str | None = None
    labels: list[LabelPart] = []
    pull_request: dict[str, object] | None = None
    updated_at: Moment = None


class IssuesEvent(Payload):
    """`issues`."""

    issue: IssuePart
    label: LabelPart | None = None


class CommentPart(Payload):
    """A comment; ``body`` is a stranger's text."""

    id: Id
    body: str | None
    user: Account | None
    created_at: Moment = None


class IssueCommentEvent(Payload):
    """`issue_comment`."""

    issue: IssuePart
    comment: CommentPart


class NumberedPart(Payload):
    """A pull request of which only the number matters."""

    number: Id


class ReviewCommentEvent(Payload):
    """`pull_request_review_comment`."""

    pull_request: NumberedPart
    comment: CommentPart


class AppPart(Payload):
    """The App that a check belongs to."""

    id: Id


class CheckPart(Payload):
    """A check run or suite; a suite has no external id."""

    id: Id
    head_sha: RealSha
    external_id: Annotated[str, Field(max_length=1000)] = ""
    app: AppPart


class ButtonPart(Payload):
    """The button that was pressed."""

    identifier: Annotated[str, Field(pattern=r"^[\x21-\x7e]{1,40}$")]


class CheckRunEvent(Payload):
    """`check_run`."""

    check_run: CheckPart
    requested_action: ButtonPart | None = None


class CheckSuiteEvent(Payload):
    """`check_suite`."""

    check_suite: CheckPart


class NamedRepository(Payload):
    """A repository in a list of them; one without a usable name is counted by its number only."""

    id: Id
    full_name: str = ""
    private: bool = True

    def repository(self, installation_id: int) -> Repository | None:
        """Return it as that installation sees it, its default branch being a guess."""
        match = _FULL_NAME.fullmatch(self.full_name)
        if match is None:
            return None
        return Repository(
            installation_id=installation_id,
            id=self.id,
            owner=match[1],
            name=match[2],
            private=self.private,
        )


class InstallationEvent(Payload):
    """`installation` and `installation_repositories`."""

    installation: InstallationPart
    repositories: list[NamedRepository] = []
    repositories_added: list[NamedRepository] = []
    repositories_removed: list[HeadRepository] = []
