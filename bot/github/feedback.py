"""The issues by which monitoring reports to development, as they stand on GitHub."""

from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Literal
from urllib.parse import urlencode

from pydantic import AwareDatetime, Field

from bot.github.app import Identity
from bot.github.client import GitHubClient
from bot.github.markers import Feedback, read_feedback
from bot.github.wire import Wire, parse_all
from pipelines.model import Frozen, Repository

LABEL = "conductor:feedback"
_PAGES = 10


class _User(Wire):
    id: int


class RestIssue(Wire):
    """An issue as the REST API shows it."""

    number: int = Field(ge=1)
    state: str
    body: str | None = None
    html_url: str = ""
    user: _User | None = None
    created_at: AwareDatetime | None = None
    pull_request: dict[str, object] | None = None


class OwnIssue(Frozen):
    """An issue that the App itself opened; ``feedback`` is None if no genuine marker is in it."""

    number: int
    url: str
    open: bool
    body: str
    created_at: AwareDatetime | None
    feedback: Feedback | None


def own_issue(
    issue: RestIssue, repository: Repository, *, bot_id: int, keys: Sequence[bytes]
) -> OwnIssue | None:
    """Return the issue if the App's own account opened it, by number and not by name."""
    if issue.pull_request is not None or issue.user is None or issue.user.id != bot_id:
        return None
    body = issue.body or ""
    return OwnIssue(
        number=issue.number,
        url=issue.html_url,
        open=issue.state == "open",
        body=body,
        created_at=issue.created_at,
        feedback=read_feedback(keys, repository_id=repository.id, number=issue.number, body=body),
    )


async def own_issues(
    client: GitHubClient,
    repository: Repository,
    *,
    state: Literal["open", "closed"],
    identity: Identity,
    keys: Sequence[bytes],
    since: datetime | None = None,
) -> AsyncIterator[OwnIssue]:
    """Yield the App's own issues, oldest first; ``since`` is the last change they must have had.

    The label does not matter: people may take it off.
    """
    query = {"state": state, "creator": identity.bot_login, "sort": "created", "direction": "asc"}
    if since is not None:
        query["since"] = f"{since:%Y-%m-%dT%H:%M:%SZ}"
    url = f"/repos/{repository.full_name}/issues?{urlencode({**query, 'per_page': '100'})}"
    async for page, _ in client.pages(url, most=_PAGES):
        for issue in parse_all(RestIssue, page, "issues"):
            found = own_issue(issue, repository, bot_id=identity.bot_id, keys=keys)
            if found is not None:
                yield found
