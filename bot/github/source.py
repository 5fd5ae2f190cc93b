"""Where the truth about a repository is read on GitHub: the subject of a trigger, and its files."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Literal

from pydantic import Field, ValidationError

from bot.github import markers
from bot.github.answer import as_object
from bot.github.client import GitHubClient
from bot.github.contributions import contributions_of
from bot.github.documents import document
from bot.github.errors import BadAnswer, Forbidden, NotFound
from bot.github.feedback import own_issues
from bot.github.gateway import GitHub
from bot.github.issues import Issue, issue_change
from bot.github.permissions import Level, PermissionChecker, level_of
from bot.github.reader import GitHubReader
from bot.github.snapshots import BlobCache, snapshot
from bot.github.subjects import (
    Configured,
    PullRequest,
    Ref,
    Thread,
    Threads,
    actor,
    change_of,
    configuration,
    prior_findings,
)
from bot.github.tokens import READ, READ_ISSUES
from bot.github.wire import Wire, parse
from pipelines.errors import Ignorable
from pipelines.model import (
    Actor,
    Change,
    CheckTrigger,
    CommandTrigger,
    Contribution,
    DeploymentStatusTrigger,
    DeploymentTrigger,
    FeedbackTrigger,
    IssueTrigger,
    OpenFeedback,
    PullRequestTrigger,
    PushTrigger,
    Repository,
    Trigger,
)
from pipelines.ports import Clock, Snapshot

MAX_THREAD_PAGES = 5
FRESH = timedelta(seconds=90)
LAG_PAUSES = (0.5, 1.0)
"""Seconds to wait before asking again for something that an event has only just announced."""


class _Subject(Wire):
    database_id: int | None = Field(default=None, alias="databaseId")
    pull: dict[str, Any] | None = Field(default=None, alias="pullRequest")
    issue: dict[str, Any] | None = None
    collaborators: dict[str, Any] | None = None
    default_branch: Ref | None = Field(default=None, alias="defaultBranchRef")
    object: dict[str, Any] | None = None


class _Pull(Wire):
    number: int
    state: str
    head_oid: str = Field(alias="headRefOid")


class _Pulls(Wire):
    nodes: tuple[_Pull | None, ...] = ()


class _Parents(Wire):
    nodes: tuple[Configured | None, ...] = ()


class _Commit(Wire):
    oid: str
    parents: _Parents = _Parents()
    pulls: _Pulls | None = Field(default=None, alias="associatedPullRequests")


class GitHubSource:
    """Implements ``pipelines.ports.Source`` with one GraphQL query a pull request."""

    def __init__(
        self,
        github: GitHub,
        permissions: PermissionChecker,
        clock: Clock,
        *,
        marker_keys: Sequence[bytes] = (),
    ) -> None:
        """``marker_keys`` verify the App's own signed markers; without any, none is genuine."""
        self._github = github
        self._permissions = permissions
        self._clock = clock
        self._marker_keys = tuple(marker_keys)
        self._blobs = BlobCache()

    async def change(self, trigger: Trigger) -> Change:
        """Read the subject of a trigger as it is now; raises Ignorable if it is gone.

        What an event has only just announced may still be missing, so that is asked for again
        twice: GitHub's replicas lag.
        """
        at = trigger.occurred_at
        fresh = at is None or self._clock.now() - at < FRESH
        for pause in LAG_PAUSES if fresh else ():
            try:
                return await self._change(trigger)
            except NotFound:
                await self._clock.sleep(pause)
        return await self._change(trigger)

    def reader(self, change: Change) -> GitHubReader:
        """Return a reader bound to that change's repository and commits."""
        return GitHubReader(self._github.client(change.repository, READ), change)

    async def snapshot(self, change: Change, *, at: Literal["head", "base"] = "head") -> Snapshot:
        """Return the files of a commit as bytes; what the other side had too is not read again."""
        client = self._github.client(change.repository, READ)
        tree = await GitHubReader(client, change).tree(at=at)
        sha = change.head_sha if at == "head" else change.base_sha
        return await snapshot(client, change.repository, sha, tree, self._blobs)

    async def feedback(self, change: Change, environment: str | None) -> Sequence[OpenFeedback]:
        """Return the open issues of the monitor, verified; of one environment, or with None all.

        There are none where the App may not read issues, for there it cannot have opened any.
        """
        client = self._github.client(change.repository, READ_ISSUES)
        identity = await self._github.identity()
        try:
            listed = [
                issue
                async for issue in own_issues(
                    client,
                    change.repository,
                    state="open",
                    identity=identity,
                    keys=self._marker_keys,
                )
            ]
        except (Forbidden, NotFound):
            return ()
        return tuple(
            OpenFeedback(
                number=issue.number,
                payload=issue.feedback.payload,
                occurrences=issue.feedback.occurrences,
                opened_at=issue.created_at,
            )
            for issue in listed
            if issue.feedback and environment in (None, issue.feedback.payload.environment)
        )

    async def contributions(
        self, trigger: PushTrigger, shas: Sequence[str]
    ) -> Sequence[Contribution]:
        """Return who brought in these commits, in one query; what is not there is left out."""
        client = self._github.client(trigger.repository, READ, delivery_id=trigger.delivery_id)
        return await contributions_of(client, trigger.repository, shas)

    async def _change(self, trigger: Trigger) -> Change:
        client = self._github.client(trigger.repository, READ, delivery_id=trigger.delivery_id)
        if isinstance(trigger, PullRequestTrigger):
            return await self._pull_request(client, trigger, trigger.number, trigger.author.login)
        if isinstance(trigger, CommandTrigger) and trigger.on_pull_request:
            return await self._pull_request(client, trigger, trigger.number, "")
        if isinstance(trigger, IssueTrigger | FeedbackTrigger | CommandTrigger):
            return await self._issue(trigger, trigger.number)
        return await self._commit(client, trigger)

    async def _issue(self, trigger: Trigger, number: int) -> Change:
        repository = trigger.repository
        client = self._github.client(repository, READ_ISSUES, delivery_id=trigger.delivery_id)
        data, failure = await client.query_partly(
            document("issue"),
            {"owner": repository.owner, "name": repository.name, "number": number},
        )
        subject = _subject(data, repository, failure)
        if subject.issue is None:
            raise failure or NotFound(f"Issue {number} of {repository.full_name} is gone.")
        issue = parse(Issue, subject.issue, "an issue")
        author = actor(issue.author)
        return issue_change(
            issue,
            repository,
            subject.default_branch,
            trigger,
            author_can_write=await self._is_writer(repository, author),
            now=self._clock.now(),
        )

    async def _is_writer(self, repository: Repository, author: Actor) -> bool:
        """Whether the author may push; Conductor itself may, and writes what policy allowed."""
        if author.id == (await self._github.identity()).bot_id:
            return True
        return await self._permissions.level(repository, author) >= Level.WRITE

    async def _pull_request(
        self, client: GitHubClient, trigger: Trigger, number: int, author: str
    ) -> Change:
        repository = trigger.repository
        data, failure = await client.query_partly(
            document("change"),
            {
                "owner": repository.owner,
                "name": repository.name,
                "number": number,
                "author": author or "ghost",
                "withAuthor": bool(author) and not author.endswith("[bot]"),
            },
        )
        subject = _subject(data, repository, failure)
        if subject.pull is None:
            raise failure or NotFound(f"Pull request {number} of {repository.full_name} is gone.")
        pull = parse(PullRequest, subject.pull, "a pull request")
        bot_id = (await self._github.identity()).bot_id
        if actor(pull.author).id == bot_id:
            pull = pull.model_copy(update={"body": self._readable(pull, repository)})
        threads = [*pull.threads.nodes, *await self._more_threads(client, repository, pull)]
        try:
            return change_of(
                pull,
                repository,
                findings=prior_findings(pull, threads, bot_id),
                bot_id=bot_id,
                author_can_write=await self._can_write(subject, repository, pull),
                commanded_at=trigger.occurred_at if isinstance(trigger, CommandTrigger) else None,
                now=self._clock.now(),
            )
        except ValidationError as error:
            place = error.errors(include_url=False, include_input=False)[0]["loc"]
            raise BadAnswer(f"GitHub's answer about a pull request is wrong at {place}.") from None

    def _readable(self, pull: PullRequest, repository: Repository) -> str:
        """Return the text of a pull request of our own, without what we hid ourselves."""
        return markers.without_own(
            self._marker_keys,
            repository_id=repository.id,
            branch=pull.head_ref,
            body=pull.body or "",
        )

    async def _more_threads(
        self, client: GitHubClient, repository: Repository, pull: PullRequest
    ) -> list[Thread | None]:
        page, found = pull.threads.page, list[Thread | None]()
        for _ in range(MAX_THREAD_PAGES):
            if not page.more or page.cursor is None:
                break
            data = await client.query(
                document("threads"),
                {
                    "owner": repository.owner,
                    "name": repository.name,
                    "number": pull.number,
                    "after": page.cursor,
                },
            )
            subject = _subject(data, repository, None, same=False)
            threads = parse(Threads, as_object(subject.pull).get("reviewThreads"), "review threads")
            found += threads.nodes
            page = threads.page
        return found

    async def _can_write(
        self, subject: _Subject, repository: Repository, pull: PullRequest
    ) -> bool:
        """Whether the author may push; asked for separately only if the query could not tell."""
        author = actor(pull.author)
        head = pull.head_repository.database_id if pull.head_repository else None
        if author.id == 0 or head != repository.id:
            return False
        if author.type != "User" or subject.collaborators is None:
            return await self._is_writer(repository, author)
        for edge in subject.collaborators.get("edges") or ():
            found = as_object(edge)
            if as_object(found.get("node")).get("databaseId") == author.id:
                return level_of(str(found.get("permission"))) >= Level.WRITE
        return False

    async def _commit(self, client: GitHubClient, trigger: Trigger) -> Change:
        repository, wanted = trigger.repository, _wanted_commit(trigger)
        data, failure = await client.query_partly(
            document("commit"),
            {
                "owner": repository.owner,
                "name": repository.name,
                "oid": wanted,
                "withCommit": wanted is not None,
            },
        )
        subject = _subject(data, repository, failure)
        target = subject.default_branch.target if subject.default_branch else None
        head = wanted or (target.oid if target else None)
        if head is None:
            raise Ignorable(f"Repository {repository.full_name} is empty.")
        commit = parse(_Commit, subject.object, "a commit") if subject.object else None
        if wanted is not None and commit is None:
            raise failure or NotFound(f"Commit {wanted} of {repository.full_name} is gone.")
        number = _open_pull_request(commit, trigger)
        if number is not None:
            return await self._pull_request(client, trigger, number, "")
        return Change(
            repository=repository,
            head_sha=head,
            base_sha=_base_commit(trigger, commit, head),
            head_ref=(trigger.branch or trigger.ref) if isinstance(trigger, PushTrigger) else "",
            base_ref=subject.default_branch.name if subject.default_branch else "",
            author=trigger.actor,
            author_can_write=isinstance(trigger, PushTrigger | DeploymentTrigger),
            paths_complete=False,
            config=configuration(target),
            read_at=self._clock.now(),
        )


def _subject(
    data: Mapping[str, Any], repository: Repository, failure: Exception | None, *, same: bool = True
) -> _Subject:
    """Return the repository of an answer; a name that now means another repository is refused."""
    if not data.get("repository"):
        raise failure or NotFound(f"Repository {repository.full_name} is gone.")
    subject = parse(_Subject, data["repository"], "a repository")
    if same and subject.database_id != repository.id:
        raise Ignorable(f"{repository.full_name} is another repository now.")
    return subject


def _wanted_commit(trigger: Trigger) -> str | None:
    match trigger:
        case PushTrigger():
            return trigger.after
        case DeploymentTrigger() | DeploymentStatusTrigger():
            return trigger.sha
        case CheckTrigger():
            return trigger.head_sha
        case _:
            return None


def _base_commit(trigger: Trigger, commit: _Commit | None, head: str) -> str:
    """Return what a push started from; for a new branch and everything else, the first parent."""
    if isinstance(trigger, PushTrigger) and trigger.before.strip("0"):
        return trigger.before
    parents = [node.oid for node in commit.parents.nodes if node] if commit else []
    return parents[0] or head if parents else head


def _open_pull_request(commit: _Commit | None, trigger: Trigger) -> int | None:
    """Return the open pull request whose check was asked for again, if there is one."""
    if not isinstance(trigger, CheckTrigger) or commit is None or commit.pulls is None:
        return None
    for pull in commit.pulls.nodes:
        if pull is not None and pull.state == "OPEN" and pull.head_oid == trigger.head_sha:
            return pull.number
    return None
