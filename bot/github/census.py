"""Where the App is installed, and which open pull requests there are: asked with few calls."""

from collections.abc import AsyncIterator

from pydantic import AwareDatetime, Field

from bot.github.client import GitHubClient
from bot.github.documents import document
from bot.github.errors import NotFound
from bot.github.gateway import GitHub
from bot.github.subjects import PageInfo, Reviews, Who, actor
from bot.github.tokens import Permissions
from bot.github.wire import Wire, parse, parse_all
from pipelines.model import Actor, Frozen, Repository

MOST_PAGES = 100
"""Of a hundred installations or repositories each, or of fifty pull requests."""
LOOKING: Permissions = (
    ("checks", "read"),
    ("contents", "read"),
    ("metadata", "read"),
    ("pull_requests", "read"),
)


class Installed(Frozen):
    """An account that has installed the App, and since when."""

    id: int
    since: AwareDatetime


class OpenPull(Frozen):
    """An open pull request, and what there is of the App on it."""

    repository: Repository
    number: int
    opened_at: AwareDatetime
    draft: bool
    head_sha: str
    head_ref: str
    head_repository_id: int | None
    base_sha: str
    base_ref: str
    author: Actor
    checks: int
    """Names under which the App has a check on the head."""
    unfinished: tuple[str, ...]
    """External ids of those that have not come to an end, or wait for somebody."""
    own: bool
    """Whether the App opened it or has reviewed it, at whatever head."""


class _Installation(Wire):
    id: int
    created_at: AwareDatetime
    suspended_at: AwareDatetime | None = None


class _Owner(Wire):
    login: str


class _Repository(Wire):
    id: int
    name: str
    owner: _Owner
    default_branch: str = "main"
    private: bool = True
    archived: bool = False
    disabled: bool = False


class _Repositories(Wire):
    repositories: list[_Repository]


class _Check(Wire):
    external_id: str | None = Field(default=None, alias="externalId")
    status: str
    conclusion: str | None = None

    @property
    def unfinished(self) -> bool:
        return self.status != "COMPLETED" or self.conclusion == "ACTION_REQUIRED"


class _Checks(Wire):
    nodes: tuple[_Check | None, ...] = ()


class _Suite(Wire):
    checks: _Checks | None = Field(default=None, alias="checkRuns")


class _Suites(Wire):
    nodes: tuple[_Suite | None, ...] = ()


class _Commit(Wire):
    oid: str
    suites: _Suites | None = Field(default=None, alias="checkSuites")


class _PullCommit(Wire):
    commit: _Commit


class _Commits(Wire):
    nodes: tuple[_PullCommit | None, ...] = ()


class _Id(Wire):
    database_id: int | None = Field(default=None, alias="databaseId")


class _Pull(Wire):
    number: int
    created_at: AwareDatetime = Field(alias="createdAt")
    draft: bool = Field(alias="isDraft")
    head_oid: str = Field(alias="headRefOid")
    head_ref: str = Field(alias="headRefName")
    head_repository: _Id | None = Field(default=None, alias="headRepository")
    base_oid: str = Field(alias="baseRefOid")
    base_ref: str = Field(alias="baseRefName")
    author: Who | None = None
    reviews: Reviews | None = None
    commits: _Commits = _Commits()

    def checks(self) -> list[_Check]:
        """Return the newest check of each name on the head."""
        commits = [node.commit for node in self.commits.nodes if node]
        suites = [
            suite
            for commit in commits
            if commit.suites and commit.oid == self.head_oid
            for suite in commit.suites.nodes
        ]
        found = [suite.checks for suite in suites if suite and suite.checks]
        return [check for checks in found for check in checks.nodes if check]


class _Pulls(Wire):
    page: PageInfo = Field(default=PageInfo(), alias="pageInfo")
    nodes: tuple[_Pull | None, ...] = ()


class _Census(Wire):
    database_id: int | None = Field(default=None, alias="databaseId")
    pulls: _Pulls = Field(alias="pullRequests")


class Census:
    """Lists what the App can see, page by page."""

    def __init__(self, github: GitHub) -> None:
        self._github = github

    async def installations(self) -> AsyncIterator[Installed]:
        """Yield the installations that are not suspended."""
        url = "/app/installations?per_page=100"
        async for page, _ in self._github.app.pages(url, most=MOST_PAGES):
            for found in parse_all(_Installation, page, "the installations"):
                if found.suspended_at is None:
                    yield Installed(id=found.id, since=found.created_at)

    async def repositories(self, installation: int) -> AsyncIterator[Repository]:
        """Yield the repositories of an installation that take writes."""
        client = self._github.whole(installation, LOOKING)
        url = "/installation/repositories?per_page=100"
        async for page, _ in client.pages(url, most=MOST_PAGES):
            for found in parse(_Repositories, page, "repositories").repositories:
                if not (found.archived or found.disabled):
                    yield Repository(
                        installation_id=installation,
                        id=found.id,
                        owner=found.owner.login,
                        name=found.name,
                        default_branch=found.default_branch,
                        private=found.private,
                    )

    async def open_pulls(self, repository: Repository) -> AsyncIterator[OpenPull]:
        """Yield the open pull requests, fifty a call."""
        identity = await self._github.identity()
        client = self._github.whole(repository.installation_id, LOOKING)
        after: str | None = None
        for _ in range(MOST_PAGES):
            found = await self._page(client, repository, identity.app_id, after)
            for pull in found.nodes:
                if pull is not None:
                    yield _open_pull(pull, repository, identity.bot_id)
            after = found.page.cursor
            if not found.page.more or after is None:
                return

    async def _page(
        self, client: GitHubClient, repository: Repository, app: int, after: str | None
    ) -> _Pulls:
        names = {"owner": repository.owner, "name": repository.name}
        data, failure = await client.query_partly(
            document("open_pulls"), {**names, "app": app, "after": after}
        )
        if not data.get("repository"):
            raise failure or NotFound(f"Repository {repository.full_name} is gone.")
        found = parse(_Census, data["repository"], "open pull requests")
        if found.database_id != repository.id:
            raise NotFound(f"{repository.full_name} is another repository now.")
        return found.pulls


def _open_pull(pull: _Pull, repository: Repository, bot_id: int) -> OpenPull:
    checks = pull.checks()
    reviews = [review for review in pull.reviews.nodes if review] if pull.reviews else []
    writers = [pull.author, *(review.author for review in reviews)]
    return OpenPull(
        repository=repository,
        number=pull.number,
        opened_at=pull.created_at,
        draft=pull.draft,
        head_sha=pull.head_oid,
        head_ref=pull.head_ref,
        head_repository_id=pull.head_repository.database_id if pull.head_repository else None,
        base_sha=pull.base_oid,
        base_ref=pull.base_ref,
        author=actor(pull.author),
        checks=len(checks),
        unfinished=tuple(check.external_id or "" for check in checks if check.unfinished),
        own=any(who is not None and who.database_id == bot_id for who in writers),
    )
