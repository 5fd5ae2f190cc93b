"""The pull requests that were made for an incident, as they stand on GitHub.

They are found by what they say and who opened them, so nothing has to be remembered of them.
"""

from collections.abc import Collection
from datetime import datetime

import structlog
from pydantic import AwareDatetime, Field

from bot.github.errors import Forbidden, Invalid, NotFound
from bot.github.tokens import READ
from bot.github.wire import Wire, parse, parse_all
from bot.reporting.outlet import Outlet
from bot.reporting.pulls import made_for
from pipelines.model import OWN_BRANCHES, FailedFix

_MAX_PATHS = 20
_MAX_PATCH = 3000
_MAX_TITLE = 250

log = structlog.get_logger(__name__)


class _Numbered(Wire):
    id: int


class _Head(Wire):
    ref: str
    repo: _Numbered | None = None


class _Pull(Wire):
    number: int = Field(ge=1)
    title: str = ""
    state: str
    body: str | None = None
    created_at: AwareDatetime
    merged_at: AwareDatetime | None = None
    user: _Numbered | None = None
    head: _Head


class _File(Wire):
    filename: str
    patch: str = ""


class _Oid(Wire):
    oid: str


class _Merged(Wire):
    commit: _Oid | None = Field(default=None, alias="mergeCommit")


class _Comparison(Wire):
    status: str


async def failed(
    outlet: Outlet,
    issue: int,
    *,
    since: datetime | None,
    judged: Collection[int],
    running: str | None,
) -> FailedFix | None:
    """Return the newest fix of an issue that is still broken, if the fix is part of what runs.

    None while one is open or not yet deployed, and for one that was judged before. Only the newest
    hundred pull requests are looked at; if they cannot be read, that is no reason to try again.
    """
    if running is None:
        return None
    way = outlet.with_permissions(READ)
    try:
        made = await _made_for(way, issue, since)
        newest = next((pull for pull in made if pull.merged_at is not None), None)
        waits = any(pull.state == "open" for pull in made)
        if waits or newest is None or newest.number in judged:
            return None
        return await _described(way, newest) if await _runs(way, newest, running) else None
    except (Forbidden, Invalid, NotFound) as error:
        log.warning("fixes not known", issue=issue, error=str(error))
        return None


async def _made_for(outlet: Outlet, issue: int, since: datetime | None) -> list[_Pull]:
    """Return our own pull requests for the issue, the newest first."""
    query = "state=all&sort=created&direction=desc&per_page=100"
    listed = parse_all(_Pull, await outlet.get(f"/pulls?{query}"), "pull requests")
    bot_id, repository = await outlet.bot_id(), outlet.change.repository
    first = since.replace(microsecond=0) if since else None
    return [
        pull
        for pull in listed
        if pull.user is not None
        and pull.user.id == bot_id
        and pull.head.repo is not None
        and pull.head.repo.id == repository.id
        and pull.head.ref.startswith(OWN_BRANCHES)
        and f"{made_for(issue)}," in (pull.body or "")
        and (first is None or pull.created_at >= first)
    ]


async def _runs(outlet: Outlet, pull: _Pull, running: str) -> bool:
    """Whether what the pull request was merged as is part of the commit that runs."""
    found = (await outlet.about("fix", pull.number)).get("pullRequest")
    merged = parse(_Merged, found or {}, "a pull request").commit
    if merged is None:
        return False
    between = f"/compare/{merged.oid}...{running}?per_page=1"
    comparison = parse(_Comparison, await outlet.get(between), "a comparison")
    return comparison.status in ("ahead", "identical")


async def _described(outlet: Outlet, pull: _Pull) -> FailedFix:
    listed = await outlet.get(f"/pulls/{pull.number}/files?per_page={_MAX_PATHS}")
    files = parse_all(_File, listed, "the files of a pull request")
    patch = "\n".join(f"--- {file.filename}\n{file.patch}" for file in files)
    return FailedFix(
        number=pull.number,
        title=outlet.redacted(pull.title)[:_MAX_TITLE],
        paths=tuple(outlet.redacted(file.filename) for file in files)[:_MAX_PATHS],
        patch=outlet.redacted(patch)[:_MAX_PATCH],
    )
