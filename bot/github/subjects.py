"""GitHub's answers about a pull request or commit, turned into a Change: pure functions."""

import re
from collections.abc import Callable, Iterable
from datetime import datetime

from pydantic import AwareDatetime, Field

from bot.github.markers import find_findings, has_fixed
from bot.github.wire import Wire
from pipelines.model import (
    GHOST,
    Actor,
    Change,
    ConfigFile,
    PriorFinding,
    Repository,
)

MAX_CONFIG_BYTES = 64 * 1024
SYMLINK_MODE = 0o120000
EDITED = "(The text was changed after the event that started this work, so it was not read.)"
IN_REVIEW_TEXT = "review:"
"""Starts the ``thread_id`` of a finding that no thread of its own carries."""
CONFIG_PATHS = (
    ("yml", ".conductor.yml"),
    ("yaml", ".conductor.yaml"),
    ("nested", ".github/conductor.yml"),
)
_TYPES = ("User", "Bot", "Organization", "Mannequin")
_TITLE = re.compile(r"^\*\*(.+?)\*\*\s*$", re.MULTILINE)
_ESCAPE = re.compile(r"\\([!-/:-@\[-`{-~])")


class Who(Wire):
    """An account; ``typename`` is missing where GraphQL only ever gives users."""

    typename: str = Field(default="User", alias="__typename")
    login: str
    database_id: int | None = Field(default=None, alias="databaseId")


class Blob(Wire):
    """A file's content; a tree or submodule leaves all fields empty."""

    oid: str | None = None
    text: str | None = None
    size: int = Field(default=0, alias="byteSize")
    binary: bool | None = Field(default=None, alias="isBinary")
    truncated: bool = Field(default=False, alias="isTruncated")


class Entry(Wire):
    """One entry of a tree; ``mode`` is git's, as a number."""

    type: str = "blob"
    mode: int = 0o100644
    object: Blob | None = None


class Configured(Wire):
    """The places a configuration may be in, at one commit."""

    oid: str | None = None
    yml: Entry | None = None
    yaml: Entry | None = None
    nested: Entry | None = None


class Ref(Wire):
    """A branch and the commit it points to."""

    name: str = ""
    target: Configured | None = None


class Comment(Wire):
    """A comment of a thread, conversation or review."""

    id: int = Field(default=0, alias="fullDatabaseId")
    body: str = ""
    url: str = ""
    author: Who | None = None


class Comments(Wire):
    """A page of comments."""

    nodes: tuple[Comment | None, ...] = ()


class Thread(Wire):
    """A review thread."""

    id: str = ""
    resolved: bool = Field(default=False, alias="isResolved")
    resolved_by: Who | None = Field(default=None, alias="resolvedBy")
    path: str = ""
    line: int | None = None
    comments: Comments = Comments()


class PageInfo(Wire):
    """Where the next page starts."""

    more: bool = Field(default=False, alias="hasNextPage")
    cursor: str | None = Field(default=None, alias="endCursor")


class Threads(Wire):
    """A page of review threads."""

    page: PageInfo = Field(default=PageInfo(), alias="pageInfo")
    nodes: tuple[Thread | None, ...] = ()


class _Commit(Wire):
    oid: str


class Review(Wire):
    """A review; ``commit`` is what it is pinned to."""

    author: Who | None = None
    commit: _Commit | None = None
    body: str = ""
    url: str = ""


class Reviews(Wire):
    """The newest reviews."""

    nodes: tuple[Review | None, ...] = ()


class _Label(Wire):
    name: str


class Labels(Wire):
    """A page of labels."""

    nodes: tuple[_Label | None, ...] = ()


class _Renaming(Wire):
    at: AwareDatetime | None = Field(default=None, alias="createdAt")
    before: str = Field(default="", alias="previousTitle")


class Renamings(Wire):
    """The newest changes of a title, oldest first."""

    nodes: tuple[_Renaming | None, ...] = ()

    def title_before(self, later: Callable[[datetime], bool], now: str) -> str:
        """Return the title as it was before the changes that came later; ``now`` without any."""
        renamings = (one for one in self.nodes if one and one.at and later(one.at))
        return next((one.before for one in renamings), now)


class _File(Wire):
    path: str


class _Files(Wire):
    total: int = Field(default=0, alias="totalCount")
    nodes: tuple[_File | None, ...] = ()


class _Id(Wire):
    database_id: int | None = Field(default=None, alias="databaseId")


class PullRequest(Wire):
    """A pull request as the change query asks for it."""

    number: int
    title: str = ""
    body: str | None = None
    edited_at: AwareDatetime | None = Field(default=None, alias="lastEditedAt")
    state: str
    draft: bool = Field(default=False, alias="isDraft")
    head_oid: str = Field(alias="headRefOid")
    head_ref: str = Field(alias="headRefName")
    head_repository: _Id | None = Field(default=None, alias="headRepository")
    base_oid: str = Field(alias="baseRefOid")
    base_name: str = Field(alias="baseRefName")
    base_ref: Ref | None = Field(default=None, alias="baseRef")
    author: Who | None = None
    labels: Labels | None = None
    renamings: Renamings = Field(default=Renamings(), alias="timelineItems")
    files: _Files | None = None
    reviews: Reviews | None = None
    threads: Threads = Field(default=Threads(), alias="reviewThreads")


def actor(who: Who | None) -> Actor:
    """Return the account, or the ghost for one that is gone."""
    if who is None or who.database_id is None:
        return GHOST
    kind = who.typename if who.typename in _TYPES else "User"
    return Actor.model_validate({"id": who.database_id, "login": who.login, "type": kind})


def configuration(commit: Configured | None) -> ConfigFile | None:
    """Return the first configuration file there is.

    What is wrong with a file is for the loader to say: one that is too large is handed on a byte
    longer than allowed, one that is no regular text file as a NUL, which no configuration holds.
    """
    for alias, path in CONFIG_PATHS:
        entry: Entry | None = getattr(commit, alias, None)
        if entry is not None and entry.type == "blob" and entry.object is not None:
            blob = entry.object
            return ConfigFile(path=path, text=_config_text(entry, blob), sha=blob.oid or "")
    return None


def _config_text(entry: Entry, blob: Blob) -> str:
    if entry.mode == SYMLINK_MODE or blob.binary or blob.text is None:
        return "\0"
    return blob.text[: MAX_CONFIG_BYTES + 1]


def prior_findings(
    pull: PullRequest, threads: Iterable[Thread | None], bot_id: int
) -> tuple[PriorFinding, ...]:
    """Return the findings of the App's own threads, then those only its reviews' texts tell."""
    found = dict[str, PriorFinding]()
    for thread in threads:
        prior = _in_thread(thread, bot_id) if thread is not None else None
        if prior is not None:
            found[prior.thread_id] = prior
    known = {prior.fingerprint for prior in found.values()}
    for review in pull.reviews.nodes if pull.reviews else ():
        if review is None or not _own(review.author, bot_id):
            continue
        for marker in find_findings(review.body):
            if marker.path and marker.fingerprint not in known:
                thread_id = f"{IN_REVIEW_TEXT}{marker.fingerprint}"
                found[thread_id] = PriorFinding(
                    fingerprint=marker.fingerprint,
                    anchor=marker.anchor,
                    thread_id=thread_id,
                    comment_id=0,
                    path=marker.path,
                )
    return tuple(found.values())


def _in_thread(thread: Thread, bot_id: int) -> PriorFinding | None:
    comments = [comment for comment in thread.comments.nodes if comment]
    if not comments or not _own(comments[0].author, bot_id):
        return None
    marker = next(iter(find_findings(comments[0].body)), None)
    if marker is None:
        return None
    title = _TITLE.search(comments[0].body)
    return PriorFinding(
        fingerprint=marker.fingerprint,
        anchor=marker.anchor,
        thread_id=thread.id,
        comment_id=comments[0].id,
        path=thread.path,
        line=thread.line,
        title=_ESCAPE.sub(r"\1", title[1])[:200] if title else "",
        resolved=thread.resolved,
        resolved_by=actor(thread.resolved_by) if thread.resolved_by else None,
        answered=any(
            _own(reply.author, bot_id) and has_fixed(reply.body) for reply in comments[1:]
        ),
    )


def _own(who: Who | None, bot_id: int) -> bool:
    return who is not None and who.database_id == bot_id


def change_of(
    pull: PullRequest,
    repository: Repository,
    *,
    findings: tuple[PriorFinding, ...],
    bot_id: int,
    author_can_write: bool,
    commanded_at: datetime | None = None,
    now: datetime,
) -> Change:
    """Return the change that a pull request is; raises pydantic's error for impossible values.

    A description that was edited after ``commanded_at`` is left out, and a title is the one before
    that: whoever gave the command did not see more. GitHub's times are whole seconds, so what was
    changed in that very second is taken for later, too.
    """

    def later(changed: datetime | None) -> bool:
        return bool(commanded_at and changed and changed >= commanded_at)

    files = [item.path for item in pull.files.nodes if item] if pull.files else []
    reviews = [item for item in pull.reviews.nodes if item] if pull.reviews else []
    own = (item.commit for item in reviews if _own(item.author, bot_id))
    return Change(
        repository=repository,
        number=pull.number,
        head_sha=pull.head_oid,
        base_sha=pull.base_oid,
        head_ref=pull.head_ref,
        base_ref=pull.base_name,
        head_repository_id=pull.head_repository.database_id if pull.head_repository else None,
        title=pull.renamings.title_before(later, pull.title),
        body=EDITED if later(pull.edited_at) else pull.body or "",
        author=actor(pull.author),
        author_can_write=author_can_write,
        draft=pull.draft,
        open=pull.state == "OPEN",
        merged=pull.state == "MERGED",
        labels=tuple(item.name for item in pull.labels.nodes if item) if pull.labels else (),
        paths=tuple(files),
        paths_complete=pull.files is not None and pull.files.total <= len(files),
        config=configuration(pull.base_ref.target if pull.base_ref else None),
        prior_findings=findings,
        reviewed_shas=tuple(dict.fromkeys(commit.oid for commit in own if commit)),
        read_at=now,
    )
