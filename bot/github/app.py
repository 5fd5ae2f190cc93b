"""The App itself: its signed identity, and who it is on GitHub."""

import asyncio
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING
from urllib.parse import quote

import jwt
from pydantic import AwareDatetime, Field

from bot.github.answer import as_list
from bot.github.wire import Wire, parse
from pipelines.errors import ConductorError, Retryable
from pipelines.model import Frozen
from pipelines.ports import Clock

if TYPE_CHECKING:
    from bot.github.client import GitHubClient

BACKDATED = timedelta(seconds=60)
LIFETIME = timedelta(minutes=9)
REFRESH_AFTER = timedelta(minutes=7)


class BadKey(ConductorError):
    """The App's private key cannot be used."""


class AppKey:
    """Signs the App's JSON Web Tokens and reuses each for seven minutes.

    https://docs.github.com/apps/creating-github-apps/authenticating-with-a-github-app/generating-a-json-web-token-jwt-for-a-github-app
    """

    def __init__(self, app_id: str, private_key: str, clock: Clock) -> None:
        self._app_id = app_id
        self._private_key = private_key.replace("\\n", "\n").strip() + "\n"
        self._clock = clock
        self._cached = ""
        self._refresh_at = clock.monotonic()

    async def authorization(self) -> str:
        """Return the value of the ``Authorization`` header."""
        if not self._cached or self._clock.monotonic() >= self._refresh_at:
            self._cached = self._sign()
            self._refresh_at = self._clock.monotonic() + REFRESH_AFTER.total_seconds()
        return f"Bearer {self._cached}"

    async def renewed(self, rejected: str) -> bool:
        """Return False: signing again with the same key and clock would be refused again."""
        return False

    def _sign(self) -> str:
        now = self._clock.now()
        claims = {
            "iat": int((now - BACKDATED).timestamp()),
            "exp": int((now + LIFETIME).timestamp()),
            "iss": self._app_id,
        }
        try:
            return jwt.encode(claims, self._private_key, algorithm="RS256")
        except (ValueError, TypeError, jwt.PyJWTError) as error:
            raise BadKey(
                "The App's private key cannot be read: GITHUB_PRIVATE_KEY must be the PEM file "
                "that GitHub gave out, whole."
            ) from error


class Identity(Frozen):
    """Who the App is: ``bot_id`` is the numeric account its comments and reviews come from."""

    app_id: int
    slug: str
    bot_id: int
    bot_login: str
    permissions: Mapping[str, str]


class NotInstalled(Retryable):
    """No account has installed the App yet, or all suspended it; somebody may at any time."""


class _App(Wire):
    id: int
    slug: str
    permissions: dict[str, str] = Field(default_factory=dict)


class _User(Wire):
    id: int
    login: str


class _Installation(Wire):
    id: int
    suspended_at: AwareDatetime | None = None


class IdentityCard:
    """Asks GitHub once who the App is, and remembers.

    The App's own signature opens only ``/app``; its bot account is a user like others, which GitHub
    tells to an installation. ``as_installation`` builds the client for one.
    """

    def __init__(
        self, app: "GitHubClient", as_installation: Callable[[int], "GitHubClient"]
    ) -> None:
        self._app = app
        self._as_installation = as_installation
        self._lock = asyncio.Lock()
        self._known: Identity | None = None

    async def identity(self) -> Identity:
        """Return the App's identity; raises NotInstalled before the first installation."""
        async with self._lock:
            if self._known is None:
                self._known = await self._ask()
            return self._known

    async def _ask(self) -> Identity:
        app = parse(_App, await self._app.getitem("/app"), "the App")
        client = self._as_installation(await self._installation())
        login = quote(f"{app.slug}[bot]", safe="")
        user = parse(_User, await client.getitem(f"/users/{login}"), "the App's account")
        return Identity(
            app_id=app.id,
            slug=app.slug,
            bot_id=user.id,
            bot_login=user.login,
            permissions=app.permissions,
        )

    async def _installation(self) -> int:
        for raw in as_list(await self._app.getitem("/app/installations?per_page=100")):
            found = parse(_Installation, raw, "an installation")
            if found.suspended_at is None:
                return found.id
        raise NotInstalled("The App is not installed anywhere yet; install it in an account.")
