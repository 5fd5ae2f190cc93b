"""The simulator as Python sees it: set it up, act as people do, look at what happened."""

import asyncio
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import aiohttp
from aiohttp import web
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from bot.simulator import events
from bot.simulator.deliveries import Deliveries
from bot.simulator.faults import Faults
from bot.simulator.limits import Limits
from bot.simulator.pages import Pages
from bot.simulator.people import Files, People
from bot.simulator.record import ApiCall, Observer, Observers
from bot.simulator.server import MAX_BODY, ApiServer
from bot.simulator.state import (
    Account,
    App,
    Delivery,
    Installation,
    Repository,
    Role,
)
from bot.simulator.world import World
from pipelines.ports import Clock
from pipelines.system import SystemClock

PERMISSIONS: Mapping[str, str] = {
    "checks": "write",
    "contents": "write",
    "deployments": "write",
    "issues": "write",
    "metadata": "read",
    "pull_requests": "write",
}
EVENTS = (
    "check_run",
    "check_suite",
    "deployment",
    "deployment_status",
    "issue_comment",
    "issues",
    "pull_request",
    "pull_request_review",
    "pull_request_review_comment",
    "pull_request_review_thread",
    "push",
)


@dataclass(frozen=True)
class NewApp:
    """A registered App with what its owner keeps: the private key in PEM and the secret."""

    app: App
    private_key: str
    webhook_secret: str


class Simulator(People):
    """A GitHub on a loopback port, with its people."""

    def __init__(
        self,
        root: Path,
        *,
        clock: Clock | None = None,
        rng: random.Random | None = None,
        observer: Observer | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        """Keep git repositories below ``root``; ``port`` 0 takes a free one."""
        self.world = World(root, clock or SystemClock(), rng or random.Random())  # noqa: S311
        self.limits = Limits(self.world)
        self.faults = Faults()
        self._observers = Observers([observer] if observer else [])
        pages = Pages(self)
        self._api = ApiServer(self.world, self.limits, self.faults, self._observers, pages)
        self._where = (host, port)
        self._runner: web.AppRunner | None = None
        self._session: aiohttp.ClientSession | None = None
        self._sender: Deliveries | None = None

    # --- life ------------------------------------------------------------------------------------

    async def start(self) -> str:
        """Listen; returns the address, which is the REST root and the root of the pages."""
        self.world.root.mkdir(parents=True, exist_ok=True)
        application = web.Application(client_max_size=MAX_BODY)
        application.router.add_route("*", "/{tail:.*}", self._api.handle)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        site = web.TCPSite(self._runner, *self._where)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        self.world.base_url = f"http://{host}:{port}"
        self._session = aiohttp.ClientSession(skip_auto_headers=("User-Agent", "Accept-Encoding"))
        self._sender = Deliveries(self.world, self._session, self._observers)
        self.world.announce = self._sender.announce
        self.world.redeliver = self._sender.redeliver
        return self.base_url

    async def close(self) -> None:
        """Stop listening and give up on deliveries under way."""
        if self._sender:
            await self._sender.close()
        if self._session:
            await self._session.close()
        if self._runner:
            await self._runner.cleanup()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    @property
    def base_url(self) -> str:
        """Root of the REST API and of the pages; GraphQL is at ``/graphql`` below it."""
        return self.world.base_url

    @property
    def calls(self) -> list[ApiCall]:
        """Every API request so far."""
        return self._api.calls

    @property
    def deliveries(self) -> list[Delivery]:
        """Every delivery so far, oldest first."""
        return list(self.world.state.deliveries.values())

    def observe(self, observer: Observer) -> None:
        """Have somebody else look at what goes over the wire from now on, beside the first."""
        self._observers.append(observer)

    async def settled(self) -> None:
        """Return when no delivery is under way."""
        assert self._sender, "start the simulator first"
        await self._sender.settled()

    # --- setting up ------------------------------------------------------------------------------

    def create_user(self, login: str, name: str = "") -> Account:
        """Add a person."""
        return self.world.add_account(login, "User", name)

    def create_organization(self, login: str, name: str = "") -> Account:
        """Add an organisation."""
        return self.world.add_account(login, "Organization", name)

    async def create_app(
        self,
        owner: Account,
        slug: str = "conductor",
        *,
        webhook_url: str | None = None,
        webhook_secret: str | None = None,
        permissions: Mapping[str, str] = PERMISSIONS,
        subscribed: Sequence[str] = EVENTS,
    ) -> NewApp:
        """Register an App: a new RSA key, a bot account, a webhook."""
        key = await asyncio.to_thread(rsa.generate_private_key, 65537, 2048)
        public = key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        private = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.TraditionalOpenSSL,
            serialization.NoEncryption(),
        )
        secret = webhook_secret or self.world.secret(40)
        app = App(
            id=1_000_000 + self.world.next_id() % 1_000_000,
            slug=slug,
            name=slug.replace("-", " ").title(),
            client_id=f"Iv23li{self.world.secret(14)}",
            owner=owner,
            bot=self.world.add_account(f"{slug}[bot]", "Bot"),
            public_key=public.decode(),
            permissions={"metadata": "read", **permissions},
            events=tuple(subscribed),
            webhook_url=webhook_url,
            webhook_secret=secret,
            hook_id=self.world.next_id(),
            created_at=self.world.now(),
        )
        self.world.state.apps[app.id] = app
        return NewApp(app, private.decode(), secret)

    def ping(self, app: App) -> None:
        """Have GitHub say hello to an App's webhook."""
        assert self._sender, "start the simulator first"
        self._sender.ping(app)

    def install(
        self,
        app: App,
        account: Account,
        repositories: Sequence[Repository] | None = None,
        *,
        permissions: Mapping[str, str] | None = None,
    ) -> Installation:
        """Install an App in an account, on some repositories or (None) on all."""
        granted = dict(app.permissions if permissions is None else permissions)
        chosen = list(repositories) if repositories is not None else None
        record = Installation(self.world.next_id(), app, account, chosen, granted, self.world.now())
        self.world.state.installations[record.id] = record
        events.installation(self.world, record, "created", account)
        return record

    def suspend(self, installation: Installation, *, suspended: bool = True) -> None:
        """Suspend an installation, or lift that."""
        installation.suspended_at = self.world.now() if suspended else None
        action = "suspend" if suspended else "unsuspend"
        events.installation(self.world, installation, action, installation.account)

    def uninstall(self, installation: Installation) -> None:
        """Remove an installation; its tokens end."""
        events.installation(self.world, installation, "deleted", installation.account)
        del self.world.state.installations[installation.id]

    async def create_repository(
        self,
        owner: Account,
        name: str,
        files: Files,
        *,
        private: bool = True,
        default_branch: str = "main",
    ) -> Repository:
        """Make a repository with a first commit."""
        repo = await self.world.add_repository(
            owner, name, private=private, default_branch=default_branch
        )
        await self.push(repo, default_branch, files, owner, message="First commit")
        return repo

    async def fork(self, repo: Repository, owner: Account) -> Repository:
        """Copy a repository to another account."""
        copy = await self.world.add_repository(
            owner, repo.name, private=repo.private, default_branch=repo.default_branch
        )
        copy.fork_of = repo
        source = str(repo.git.path)
        await copy.git.run(
            *("-c", "protocol.file.allow=always", "fetch", "--quiet", "--no-tags"),
            source,
            "refs/heads/*:refs/heads/*",
        )
        return copy

    def set_role(self, repo: Repository, user: Account, role: Role) -> None:
        """Say what a person may do in a repository."""
        repo.roles[user.id] = role
