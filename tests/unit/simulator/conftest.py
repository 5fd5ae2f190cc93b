"""Every test here runs against GitHub's schemas: the fixture fails on whatever does not fit."""

import random
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from bot.simulator import Simulator
from tests.support.clock import VirtualClock
from tests.support.github_schema import SchemaChecker
from tests.unit.simulator.hub import BASE, Hub, Received


@asynccontextmanager
async def receiver(inbox: list[Received], statuses: list[int]) -> AsyncGenerator[str]:
    """A webhook that keeps what comes and answers the statuses in turn, then 202."""

    async def receive(request: web.Request) -> web.Response:
        inbox.append(Received(request.headers.copy(), await request.read()))
        return web.Response(status=statuses.pop(0) if statuses else 202, text="ok")

    application = web.Application(client_max_size=30_000_000)
    application.router.add_post("/hook", receive)
    runner = web.AppRunner(application)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
    finally:
        await runner.cleanup()


@pytest.fixture
async def hub(tmp_path: Path) -> AsyncIterator[Hub]:
    inbox: list[Received] = []
    statuses: list[int] = []
    clock, schema = VirtualClock(), SchemaChecker()
    async with (
        receiver(inbox, statuses) as hook,
        Simulator(tmp_path / "git", clock=clock, rng=random.Random(7), observer=schema) as sim,
        aiohttp.ClientSession() as session,
    ):
        org = sim.create_organization("acme")
        alice, bob = sim.create_user("alice"), sim.create_user("bob")
        new_app = await sim.create_app(org, webhook_url=hook)
        files = {"src/a.txt": BASE, "README.md": "# Shop\n"}
        repo = await sim.create_repository(org, "shop", files)
        sim.set_role(repo, alice, "write")
        sim.set_role(repo, bob, "maintain")
        made = Hub(
            simulator=sim,
            session=session,
            clock=clock,
            schema=schema,
            org=org,
            alice=alice,
            bob=bob,
            new_app=new_app,
            repo=repo,
            installation=sim.install(new_app.app, org),
            inbox=inbox,
            statuses=statuses,
        )
        await sim.settled()
        yield made
        await sim.settled()
    schema.verify()
