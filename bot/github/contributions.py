"""Who brought a commit into a repository, as GitHub knows it."""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import Field

from bot.github.answer import as_object
from bot.github.client import GitHubClient
from bot.github.documents import contributions
from bot.github.errors import NotFound
from bot.github.subjects import Who, actor
from bot.github.wire import Wire, parse
from pipelines.model import BroughtBy, Contribution, Repository


class _User(Wire):
    database_id: int | None = Field(default=None, alias="databaseId")


class _Author(Wire):
    user: _User | None = None


class _Oid(Wire):
    oid: str


class _File(Wire):
    path: str


class _Files(Wire):
    nodes: tuple[_File | None, ...] = ()


class _Pull(Wire):
    title: str
    merged: bool
    head_ref: str = Field(alias="headRefName")
    from_fork: bool = Field(alias="isCrossRepository")
    merge_commit: _Oid | None = Field(default=None, alias="mergeCommit")
    author: Who | None = None
    files: _Files | None = None


class _Pulls(Wire):
    nodes: tuple[_Pull | None, ...] = ()


class _Commit(Wire):
    oid: str
    message: str
    author: _Author | None = None
    pulls: _Pulls | None = Field(default=None, alias="associatedPullRequests")


async def contributions_of(
    client: GitHubClient, repository: Repository, shas: Sequence[str]
) -> Sequence[Contribution]:
    """Return what GitHub knows of these commits, in one query; those it has not are left out."""
    oids = {f"o{index}": sha for index, sha in enumerate(shas)}
    data, failure = await client.query_partly(
        contributions(len(shas)), {"owner": repository.owner, "name": repository.name, **oids}
    )
    found = as_object(data.get("repository"))
    if found.get("databaseId") != repository.id:
        raise failure or NotFound(f"Repository {repository.full_name} is gone.")
    commits = (as_object(found.get(f"c{index}")) for index in range(len(shas)))
    return [_contribution(commit) for commit in commits if commit]


def _contribution(data: Mapping[str, Any]) -> Contribution:
    commit = parse(_Commit, data, "a commit")
    user = commit.author.user if commit.author else None
    return Contribution(
        sha=commit.oid,
        message=commit.message,
        author_id=user.database_id if user else None,
        pulls=tuple(_brought_by(pull) for pull in commit.pulls.nodes if pull)
        if commit.pulls
        else (),
    )


def _brought_by(pull: _Pull) -> BroughtBy:
    return BroughtBy(
        title=pull.title,
        author=actor(pull.author),
        head_ref=pull.head_ref,
        from_fork=pull.from_fork,
        merged=pull.merged,
        merge_sha=pull.merge_commit.oid if pull.merge_commit else None,
        paths=tuple(file.path for file in pull.files.nodes if file) if pull.files else (),
    )
