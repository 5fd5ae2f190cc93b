"""A GitHub whose deliveries may find nobody, an inbox that takes them, and a sweeper between."""

import random
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from aiohttp import web

from bot.deliveries.inbox import Inbox, Triaged
from bot.deliveries.sweeper import Sweeper, Swept
from bot.github.gateway import GitHub
from bot.github.hook_deliveries import HookDeliveries
from bot.github.transport import http_client
from bot.simulator import NewApp, Simulator
from bot.simulator.record import ApiCall
from bot.simulator.state import Account, Issue, Repository
from pipelines.errors import ConductorError
from pipelines.orchestration.bus.local import LocalBus
from pipelines.orchestration.state import BusJournal
from pipelines.stores.memory import MemoryBackend
from tests.support.town import TownClock
from tests.support.waiting import passing

ATTEMPTS = "/app/hook/deliveries/{delivery_id}/attempts"


@dataclass
class Post:
    """The way from GitHub to the inbox; ``closed`` answers 503, ``deaf`` stores and says so."""

    github: Simulator
    clock: TownClock
    app: NewApp
    repo: Repository
    issue: Issue
    ada: Account
    store: MemoryBackend
    inbox: Inbox
    hook: HookDeliveries
    closed: bool = False
    deaf: bool = False
    refusing: int | None = None
    received: list[str] = field(default_factory=list[str])

    async def receive(self, request: web.Request) -> web.Response:
        guid, event = request.headers["X-GitHub-Delivery"], request.headers["X-GitHub-Event"]
        self.received.append(guid)
        if self.closed or self.refusing:
            return web.Response(status=self.refusing or 503)
        try:
            await self.inbox.accept(guid, event, await request.read())
        except ConductorError as error:
            return web.Response(status=503, text=str(error))
        return web.Response(status=503 if self.deaf else 202)

    async def happen(self, count: int = 1) -> list[str]:
        """Let something happen so many times; returns the ids of the deliveries."""
        before = len(self.github.deliveries)
        for _ in range(count):
            number = len(self.issue.comments)
            self.github.comment(self.repo, self.issue.number, self.ada, f"Remark {number}.")
        await self.github.settled()
        return [delivery.guid for delivery in self.github.deliveries[before:]]

    def sweeper(self) -> Sweeper:
        """A sweeper as another process has it: it knows only what is stored."""
        return Sweeper(self.hook, self.store, self.clock)

    async def sweep(self) -> Swept:
        """One pass, however long it takes, and what it caused."""
        swept = await passing(self.clock, self.sweeper().sweep())
        await self.github.settled()
        return swept

    async def sweep_for(self, seconds: float, *, every: float = 60.0) -> int:
        """Sweep now and then; returns how many redeliveries were asked for."""
        asked, end = 0, self.clock.monotonic() + seconds
        while self.clock.monotonic() < end:
            asked += (await self.sweep()).asked
            await self.clock.advance(every)
        return asked

    async def stored(self) -> set[str]:
        """The ids of the deliveries on record."""
        return {key.removeprefix("delivery/") async for key, _ in self.store.scan("delivery/")}

    def attempts(self) -> list[ApiCall]:
        """Every request for a redelivery so far."""
        return [call for call in self.github.calls if call.template == ATTEMPTS]


@pytest.fixture
async def post(tmp_path: Path) -> AsyncIterator[Post]:
    clock = TownClock()
    store = MemoryBackend(clock)
    bus = LocalBus(store, clock)
    inbox = Inbox(BusJournal(store, bus), clock, lambda *_: Triaged("7/42"))
    async with (
        Simulator(tmp_path, clock=clock, rng=random.Random(7)) as github,
        http_client(verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)) as http,
    ):
        acme, ada = github.create_organization("acme"), github.create_user("ada")
        repo = await github.create_repository(acme, "shop", {"a.txt": "a\n"})
        issue = github.open_issue(repo, ada, "Talk", "Say something.")
        app = await github.create_app(acme)
        gateway = GitHub(
            http,
            app_id=str(app.app.id),
            private_key=app.private_key,
            api_url=github.base_url,
            clock=clock,
            version="0.0.0",
            register_secret=lambda _: None,
        )
        hook = HookDeliveries(gateway.app)
        built = Post(github, clock, app, repo, issue, ada, store, inbox, hook)
        application = web.Application()
        application.router.add_post("/", built.receive)
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        github.install(app.app, acme, [repo])
        app.app.webhook_url = "http://{}:{}/".format(*runner.addresses[0][:2])
        yield built
        await github.settled()
        await runner.cleanup()
        await bus.close()
        await store.close()
