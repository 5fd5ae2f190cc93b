"""GitHub as the rest of Conductor gets it: one gateway a process, one client a purpose."""

from collections.abc import Callable

import httpx2

from bot.github.app import AppKey, Identity, IdentityCard
from bot.github.client import Credentials, GitHubClient, api_root
from bot.github.directory import Directory
from bot.github.local_limits import LocalLedger
from bot.github.refusals import Refusals
from bot.github.throttle import Ledger, Pace, Throttle
from bot.github.tokens import (
    METADATA,
    Grant,
    InstallationCredentials,
    InstallationTokens,
    Permissions,
)
from bot.github.transport import OnRequest, Transport
from pipelines.model import Repository
from pipelines.ports import Clock, Ids
from pipelines.system import SortableIds


class GitHub:
    """Holds the limits, tokens and identity of one App; ``http`` is ``transport.http_client()``.

    ``register_secret`` is given every token before it is used, so that it can be redacted;
    ``on_request`` is told of every exchange. The limits are kept in ``ledger``; without one, by
    this process on its own at ``pace``.
    """

    def __init__(
        self,
        http: httpx2.AsyncClient,
        *,
        app_id: str,
        private_key: str,
        api_url: str,
        clock: Clock,
        version: str,
        register_secret: Callable[[str], None],
        on_request: OnRequest | None = None,
        pace: Pace | None = None,
        ledger: Ledger | None = None,
        ids: Ids | None = None,
    ) -> None:
        self._api_url = api_root(api_url)
        self._clock = clock
        self._user_agent = f"conductor/{version}"
        self._transport = Transport(http, self._api_url, on_request=on_request)
        self._throttle = Throttle(
            ledger or LocalLedger(clock, pace), clock, ids or SortableIds(clock)
        )
        self._refusals = Refusals()
        self.app = self._client(AppKey(app_id, private_key, clock), scope="app")
        self._tokens = InstallationTokens(self.app, clock, register_secret=register_secret)
        self._card = IdentityCard(self.app, self._as_installation)
        self._directory = Directory(self.app, self._as_installation, clock)

    async def identity(self) -> Identity:
        """Return who the App is; asked for once. Raises NotInstalled before anybody has it."""
        return await self._card.identity()

    async def repository(self, full_name: str) -> Repository | None:
        """Return the repository of that name, None if the App is not installed there."""
        return await self._directory.find(full_name)

    def client(
        self, repository: Repository, permissions: Permissions, *, delivery_id: str = ""
    ) -> GitHubClient:
        """Return a client for one repository with no more than these permissions."""
        grant = Grant(repository.installation_id, repository.id, permissions)
        return self._client(
            InstallationCredentials(self._tokens, grant),
            scope=f"github/{repository.installation_id}",
            delivery_id=delivery_id,
        )

    async def missing(self, repository: Repository, permissions: Permissions) -> tuple[str, ...]:
        """Return the permissions the installation did not grant, as ``name:level``."""
        grant = Grant(repository.installation_id, repository.id, permissions)
        return (await self._tokens.get(grant)).missing

    def whole(self, installation_id: int, permissions: Permissions) -> GitHubClient:
        """Return a client for all repositories of an installation."""
        grant = Grant(installation_id, None, permissions)
        return self._client(
            InstallationCredentials(self._tokens, grant), scope=f"github/{installation_id}"
        )

    def _as_installation(self, installation_id: int) -> GitHubClient:
        return self.whole(installation_id, METADATA)

    def _client(
        self, credentials: Credentials, *, scope: str, delivery_id: str = ""
    ) -> GitHubClient:
        return GitHubClient(
            self._transport,
            self._throttle,
            self._refusals,
            self._clock,
            credentials,
            api_url=self._api_url,
            user_agent=self._user_agent,
            scope=scope,
            delivery_id=delivery_id,
        )
