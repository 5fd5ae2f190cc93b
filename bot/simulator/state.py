"""What the simulated GitHub remembers: plain records, changed only by the operations."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from bot.simulator.diff import Side
from bot.simulator.git import GitRepository

Role = Literal["read", "triage", "write", "maintain", "admin"]
ROLES: tuple[Role, ...] = ("read", "triage", "write", "maintain", "admin")


@dataclass(eq=False)
class Account:
    """A person, an organisation or an App's bot."""

    id: int
    login: str
    kind: Literal["User", "Organization", "Bot"]
    name: str
    created_at: datetime

    @property
    def email(self) -> str:
        """The address GitHub writes into commits for an account that hides its own."""
        return f"{self.id}+{self.login}@users.noreply.github.com"


@dataclass(eq=False)
class Label:
    """A label of a repository; ``color`` is six hexadecimal digits."""

    id: int
    name: str
    color: str = "ededed"
    description: str | None = None


@dataclass(eq=False)
class Reaction:
    """One person's emoji on something."""

    id: int
    user: Account
    content: str
    created_at: datetime


@dataclass(eq=False)
class Comment:
    """A comment on an issue or in a pull request's conversation."""

    id: int
    user: Account
    body: str
    created_at: datetime
    updated_at: datetime
    app_id: int | None = None
    reactions: list[Reaction] = field(default_factory=list[Reaction])


@dataclass(eq=False)
class Issue:
    """An issue; every pull request has one under the same number."""

    id: int
    number: int
    user: Account
    title: str
    body: str | None
    created_at: datetime
    updated_at: datetime
    state: Literal["open", "closed"] = "open"
    state_reason: str | None = None
    closed_at: datetime | None = None
    app_id: int | None = None
    labels: list[Label] = field(default_factory=list[Label])
    comments: list[Comment] = field(default_factory=list[Comment])
    reactions: list[Reaction] = field(default_factory=list[Reaction])
    pull: "PullRequest | None" = None
    edited_at: datetime | None = None
    """When its body was last changed; a new title does not count."""
    renamings: list["Renaming"] = field(default_factory=list["Renaming"])


@dataclass(frozen=True, eq=False, slots=True)
class Renaming:
    """A change of an issue's title."""

    id: int
    by: Account
    at: datetime
    before: str
    after: str


@dataclass(eq=False)
class ReviewComment:
    """A comment on a line of the diff; ``line`` is None once the line is gone (outdated)."""

    id: int
    review_id: int
    user: Account
    body: str
    path: str
    side: Side
    start_side: Side | None
    original_line: int
    original_start_line: int | None
    original_position: int
    original_commit: str
    diff_hunk: str
    created_at: datetime
    updated_at: datetime
    line: int | None
    start_line: int | None
    position: int | None
    commit: str
    edited_at: datetime | None = None
    in_reply_to: int | None = None
    reactions: list[Reaction] = field(default_factory=list[Reaction])


@dataclass(eq=False)
class Thread:
    """A conversation on lines of the diff: its first comment says where."""

    id: int
    comments: list[ReviewComment]
    resolved_by: Account | None = None

    @property
    def first(self) -> ReviewComment:
        """The comment that opened it."""
        return self.comments[0]


ReviewState = Literal["PENDING", "COMMENTED", "APPROVED", "CHANGES_REQUESTED", "DISMISSED"]


@dataclass(eq=False)
class Review:
    """A review of one commit of a pull request."""

    id: int
    user: Account
    body: str
    state: ReviewState
    commit: str
    created_at: datetime
    submitted_at: datetime | None
    drafts: list[ReviewComment] = field(default_factory=list[ReviewComment])
    """Comments that only its author sees until it is submitted."""


@dataclass(eq=False)
class PullRequest:
    """A pull request; title, body, state and comments live on its issue."""

    id: int
    issue: Issue
    base_ref: str
    base_sha: str
    head: "Repository | None"
    head_ref: str
    head_sha: str
    draft: bool = False
    merged_at: datetime | None = None
    merged_by: Account | None = None
    merge_commit: str | None = None
    heads: list[str] = field(default_factory=list[str])
    """Every commit its head branch has had, oldest first."""
    reviews: list[Review] = field(default_factory=list[Review])
    threads: list[Thread] = field(default_factory=list[Thread])

    @property
    def number(self) -> int:
        """Its number in the repository."""
        return self.issue.number

    def comments(self) -> list[ReviewComment]:
        """Every review comment in order of creation."""
        return sorted((c for t in self.threads for c in t.comments), key=lambda c: c.id)


@dataclass(eq=False)
class CheckSuite:
    """The checks of one App on one commit."""

    id: int
    app_id: int
    head_sha: str
    head_branch: str | None
    created_at: datetime
    updated_at: datetime


@dataclass(eq=False)
class CheckRun:
    """One check of one App on one commit; annotations only grow."""

    id: int
    suite: CheckSuite
    name: str
    head_sha: str
    status: str
    started_at: datetime
    created_at: datetime
    conclusion: str | None = None
    completed_at: datetime | None = None
    external_id: str = ""
    details_url: str | None = None
    title: str | None = None
    summary: str | None = None
    text: str | None = None
    annotations: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    actions: list[dict[str, str]] = field(default_factory=list[dict[str, str]])


DeploymentState = Literal[
    "error", "failure", "inactive", "in_progress", "queued", "pending", "success"
]


@dataclass(frozen=True, eq=False, slots=True)
class DeploymentStatus:
    """One status of a deployment; the newest counts."""

    id: int
    state: DeploymentState
    creator: Account
    description: str
    environment: str
    environment_url: str
    log_url: str
    created_at: datetime
    app_id: int | None = None


@dataclass(eq=False)
class Deployment:
    """A wish to have a commit run in an environment."""

    id: int
    sha: str
    ref: str
    task: str
    payload: dict[str, Any] | str
    environment: str
    description: str | None
    creator: Account
    transient: bool
    production: bool
    created_at: datetime
    updated_at: datetime
    app_id: int | None = None
    statuses: list[DeploymentStatus] = field(default_factory=list[DeploymentStatus])


@dataclass(eq=False)
class Repository:
    """A repository: its git directory and all that people and Apps put around it."""

    id: int
    owner: Account
    name: str
    git: GitRepository
    default_branch: str
    created_at: datetime
    private: bool = True
    pushed_at: datetime | None = None
    fork_of: "Repository | None" = None
    last_number: int = 0
    roles: dict[int, Role] = field(default_factory=dict[int, Role])
    labels: list[Label] = field(default_factory=list[Label])
    issues: dict[int, Issue] = field(default_factory=dict[int, Issue])
    suites: list[CheckSuite] = field(default_factory=list[CheckSuite])
    checks: dict[int, CheckRun] = field(default_factory=dict[int, CheckRun])
    deployments: dict[int, Deployment] = field(default_factory=dict[int, Deployment])

    @property
    def full_name(self) -> str:
        """``owner/name``."""
        return f"{self.owner.login}/{self.name}"

    @property
    def pulls(self) -> list[PullRequest]:
        """Every pull request, oldest first."""
        return [issue.pull for issue in self.issues.values() if issue.pull]

    def role(self, account: Account) -> Role | None:
        """What a person may do here; the owner is always an administrator."""
        return "admin" if account is self.owner else self.roles.get(account.id)


@dataclass(eq=False)
class App:
    """A registered GitHub App; only the public half of its key is kept."""

    id: int
    slug: str
    name: str
    client_id: str
    owner: Account
    bot: Account
    public_key: str
    permissions: dict[str, str]
    events: Sequence[str]
    webhook_url: str | None
    webhook_secret: str
    hook_id: int
    created_at: datetime


@dataclass(eq=False)
class Installation:
    """An App in an account; ``repositories`` None means all of them."""

    id: int
    app: App
    account: Account
    repositories: list[Repository] | None
    permissions: dict[str, str]
    created_at: datetime
    suspended_at: datetime | None = None

    def covers(self, repository: Repository) -> bool:
        """Whether it reaches a repository."""
        if repository.owner is not self.account:
            return False
        return self.repositories is None or repository in self.repositories


@dataclass(frozen=True, eq=False)
class Token:
    """An installation token: what it may and until when."""

    value: str
    installation: Installation
    permissions: dict[str, str]
    repositories: tuple[Repository, ...] | None
    expires_at: datetime

    def reaches(self, repository: Repository) -> bool:
        """Whether it was made for this repository and the installation still covers it."""
        chosen = self.repositories is None or repository in self.repositories
        return chosen and self.installation.covers(repository)


@dataclass(eq=False)
class Delivery:
    """One attempt to bring one event to one App."""

    id: int
    guid: str
    app: App
    event: str
    action: str | None
    installation_id: int | None
    repository_id: int | None
    redelivery: bool
    delivered_at: datetime
    request_headers: dict[str, str]
    request_body: bytes
    duration: float = 0.0
    status: str = "pending"
    status_code: int = 0
    response_headers: dict[str, str] = field(default_factory=dict[str, str])
    response_body: str = ""


@dataclass
class State:
    """Everything, by numeric id."""

    accounts: dict[int, Account] = field(default_factory=dict[int, Account])
    repositories: dict[int, Repository] = field(default_factory=dict[int, Repository])
    apps: dict[int, App] = field(default_factory=dict[int, App])
    installations: dict[int, Installation] = field(default_factory=dict[int, Installation])
    tokens: dict[str, Token] = field(default_factory=dict[str, Token])
    deliveries: dict[int, Delivery] = field(default_factory=dict[int, Delivery])

    def account(self, login: str) -> Account | None:
        """Find by login, as GitHub does without regard to case."""
        wanted = login.casefold()
        return next((a for a in self.accounts.values() if a.login.casefold() == wanted), None)

    def repository(self, owner: str, name: str) -> Repository | None:
        """Find by owner and name without regard to case."""
        wanted = f"{owner}/{name}".casefold()
        return next(
            (r for r in self.repositories.values() if r.full_name.casefold() == wanted), None
        )

    def covering(self, repository: Repository) -> list[Installation]:
        """The installations that reach a repository."""
        return [i for i in self.installations.values() if i.covers(repository)]
