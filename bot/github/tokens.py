"""Installation tokens: as narrow as the work, shared while they live, never shown.

A token is opaque text of any length: https://docs.github.com/apps/creating-github-apps/authenticating-with-a-github-app/generating-an-installation-access-token-for-a-github-app
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from pydantic import AwareDatetime, Field, SecretStr

from bot.github.errors import BadAnswer, Forbidden, Invalid, NotFound
from bot.github.wire import Wire, parse
from pipelines.errors import Dropped
from pipelines.ports import Clock

if TYPE_CHECKING:
    from bot.github.client import GitHubClient

EARLY = timedelta(minutes=5)
_LEVELS = ("none", "read", "write", "admin")

Permissions = tuple[tuple[str, str], ...]
"""Names and levels, sorted, so that equal sets are equal keys."""

METADATA: Permissions = (("metadata", "read"),)
READ: Permissions = (("contents", "read"), ("metadata", "read"), ("pull_requests", "read"))
WRITE: Permissions = (
    ("checks", "write"),
    ("contents", "read"),
    ("metadata", "read"),
    ("pull_requests", "write"),
)
READ_ISSUES: Permissions = (("contents", "read"), ("issues", "read"), ("metadata", "read"))
ISSUES: Permissions = (("issues", "write"), ("metadata", "read"))
COMMIT: Permissions = (("contents", "write"), ("metadata", "read"))
COMMIT_WORKFLOWS: Permissions = (*COMMIT, ("workflows", "write"))
"""For files below ``.github/workflows`` GitHub asks for a permission of its own."""
OPEN_PULL: Permissions = (
    ("contents", "read"),
    ("metadata", "read"),
    ("pull_requests", "write"),
)
ACTIONS: Permissions = (("actions", "write"), ("metadata", "read"))
DEPLOY: Permissions = (("deployments", "write"), ("metadata", "read"))
RESOLVE: Permissions = (
    ("contents", "write"),
    ("metadata", "read"),
    ("pull_requests", "write"),
)
"""GitHub lets an App resolve a review thread only with write access to contents."""


@dataclass(frozen=True, slots=True)
class Grant:
    """What one token is for; ``repository_id`` None asks for the whole installation."""

    installation_id: int
    repository_id: int | None
    permissions: Permissions


@dataclass(frozen=True, slots=True)
class Token:
    """A minted token; ``missing`` names permissions that were asked for and not given."""

    value: SecretStr
    refresh_at: float
    missing: tuple[str, ...] = ()


class _Minted(Wire):
    token: SecretStr = Field(min_length=1)
    expires_at: AwareDatetime
    permissions: dict[str, str] = Field(default_factory=dict)


class _Installation(Wire):
    permissions: dict[str, str] = Field(default_factory=dict)
    suspended_at: AwareDatetime | None = None


def missing_from(granted: Mapping[str, str], wanted: Permissions) -> tuple[str, ...]:
    """Return ``name:level`` for each wanted permission that is not granted at that level."""
    return tuple(
        f"{name}:{level}"
        for name, level in wanted
        if _rank(granted.get(name, "none")) < _rank(level)
    )


def _rank(level: str) -> int:
    return _LEVELS.index(level) if level in _LEVELS else 0


class InstallationTokens:
    """Mints and keeps tokens, one mint at a time for each grant."""

    def __init__(
        self, app: "GitHubClient", clock: Clock, *, register_secret: Callable[[str], None]
    ) -> None:
        self._app = app
        self._clock = clock
        self._register_secret = register_secret
        self._tokens: dict[Grant, Token] = {}
        self._locks: dict[Grant, asyncio.Lock] = {}

    async def get(self, grant: Grant, *, rejected: str | None = None) -> Token:
        """Return a token with at least minutes to live, and never the ``rejected`` one.

        Raises Dropped if the installation or the repository is gone or suspended.
        """
        async with self._locks.setdefault(grant, asyncio.Lock()):
            token = self._tokens.get(grant)
            fresh = token is not None and self._clock.monotonic() < token.refresh_at
            if token is None or not fresh or token.value.get_secret_value() == rejected:
                self._forget_expired()
                token = self._tokens[grant] = await self._mint(grant)
            return token

    def _forget_expired(self) -> None:
        now = self._clock.monotonic()
        for grant in [grant for grant, token in self._tokens.items() if token.refresh_at <= now]:
            del self._tokens[grant]
            if not self._locks[grant].locked():
                del self._locks[grant]

    async def _mint(self, grant: Grant) -> Token:
        try:
            return await self._ask(grant, grant.permissions)
        except Invalid as error:
            if "permission" not in f"{error} {error.errors}".lower():
                raise Dropped(
                    f"Installation {grant.installation_id} has no access to repository "
                    f"{grant.repository_id} any more."
                ) from error
        return await self._ask(grant, await self._within_granted(grant))

    async def _within_granted(self, grant: Grant) -> Permissions:
        url = f"/app/installations/{grant.installation_id}"
        found = parse(_Installation, await self._app.getitem(url), "the installation")
        lesser: list[tuple[str, str]] = []
        for name, level in grant.permissions:
            had = found.permissions.get(name, "none")
            allowed = level if _rank(had) >= _rank(level) else had
            if _rank(allowed):
                lesser.append((name, allowed))
        return tuple(lesser)

    async def _ask(self, grant: Grant, permissions: Permissions) -> Token:
        body: dict[str, object] = {"permissions": dict(permissions)}
        if grant.repository_id is not None:
            body["repository_ids"] = [grant.repository_id]
        try:
            data = await self._app.post(
                f"/app/installations/{grant.installation_id}/access_tokens", data=body
            )
        except (NotFound, Forbidden) as error:
            raise Dropped(
                f"Installation {grant.installation_id} gives no token: it was uninstalled or "
                "suspended."
            ) from error
        minted = parse(_Minted, data, "a new token")
        self._register_secret(minted.token.get_secret_value())
        return self._token(minted, grant)

    def _token(self, minted: _Minted, grant: Grant) -> Token:
        life = (minted.expires_at - self._clock.now()).total_seconds()
        if life <= 0:
            raise BadAnswer("GitHub minted a token that has already expired; check the clock.")
        early = min(EARLY.total_seconds(), life / 2)
        return Token(
            value=minted.token,
            refresh_at=self._clock.monotonic() + life - early,
            missing=missing_from(minted.permissions, grant.permissions),
        )


class InstallationCredentials:
    """Answers for one grant whenever a request is about to be sent."""

    def __init__(self, tokens: InstallationTokens, grant: Grant) -> None:
        self._tokens = tokens
        self._grant = grant

    async def authorization(self) -> str:
        """Return the value of the ``Authorization`` header."""
        return f"Bearer {(await self._tokens.get(self._grant)).value.get_secret_value()}"

    async def renewed(self, rejected: str) -> bool:
        """Mint anew because GitHub rejected a header value; returns whether it is worth a try."""
        await self._tokens.get(self._grant, rejected=rejected.removeprefix("Bearer "))
        return True

    async def missing(self) -> tuple[str, ...]:
        """Return the permissions the installation did not grant, as ``name:level``."""
        return (await self._tokens.get(self._grant)).missing
