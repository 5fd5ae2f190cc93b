"""Which installation has a repository, for those who know only its name."""

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from bot.github.errors import NotFound
from bot.github.wire import Wire, parse
from pipelines.model import Repository
from pipelines.ports import Clock

if TYPE_CHECKING:
    from bot.github.client import GitHubClient

REMEMBERED_SECONDS = 600.0
_MOST_NAMES = 1000
_NAME = re.compile(r"[A-Za-z0-9_-]{1,100}/(?!\.{1,2}$)[A-Za-z0-9._-]{1,100}", re.ASCII)


class _Installation(Wire):
    id: int


class _Owner(Wire):
    login: str


class _Repository(Wire):
    id: int
    name: str
    owner: _Owner
    default_branch: str
    private: bool
    archived: bool = False
    disabled: bool = False


class Directory:
    """Asks GitHub, and believes the answer for ten minutes.

    https://docs.github.com/rest/apps/apps#get-a-repository-installation-for-the-authenticated-app
    """

    def __init__(
        self, app: "GitHubClient", as_installation: Callable[[int], "GitHubClient"], clock: Clock
    ) -> None:
        self._app = app
        self._as_installation = as_installation
        self._clock = clock
        self._known: dict[str, tuple[float, Repository | None]] = {}

    async def find(self, full_name: str) -> Repository | None:
        """Return the repository, or None if the App is not installed there or it is closed."""
        name = full_name.lower()
        if not _NAME.fullmatch(name):
            return None
        known = self._known.get(name)
        if known is None or self._clock.monotonic() - known[0] > REMEMBERED_SECONDS:
            if len(self._known) >= _MOST_NAMES:
                self._known.clear()
            known = self._known[name] = (self._clock.monotonic(), await self._ask(name))
        return known[1]

    async def _ask(self, name: str) -> Repository | None:
        try:
            raw = await self._app.getitem(f"/repos/{name}/installation")
            installation = parse(_Installation, raw, "an installation").id
            found = await self._as_installation(installation).getitem(f"/repos/{name}")
        except NotFound:
            return None
        repository = parse(_Repository, found, "a repository")
        if repository.archived or repository.disabled:
            return None
        return Repository(
            installation_id=installation,
            id=repository.id,
            owner=repository.owner.login,
            name=repository.name,
            default_branch=repository.default_branch,
            private=repository.private,
        )
