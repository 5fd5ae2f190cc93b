"""What the operators hear by themselves: once, on their own channel, and signed."""

import hashlib
import hmac
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web

from bot.web.edge import Address, serving
from tests.support.storefront import DOWN, open_storefront
from tests.support.town import running_town
from tests.support.town_model import BROKEN_CART, CART, TRIAGED, answers

SECRET = "what the operators' receiver knows as well"
QUERY = 'sum(rate(http_requests_total{status="500"}[20s]))'


@dataclass
class Pager:
    """A receiver that believes nothing that is not signed."""

    address: str = ""
    heard: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    refused: int = 0

    async def hear(self, request: web.Request) -> web.Response:
        body = await request.read()
        moment = request.headers["X-Conductor-Timestamp"].encode()
        signed = hmac.new(SECRET.encode(), moment + b"." + body, hashlib.sha256).hexdigest()
        if request.headers["X-Conductor-Signature-256"] != f"sha256={signed}":
            self.refused += 1
            raise web.HTTPUnauthorized
        self.heard.append(json.loads(body))
        return web.Response(text="thank you")


@asynccontextmanager
async def paging() -> AsyncGenerator[Pager]:
    pager = Pager()
    app = web.Application()
    app.router.add_post("/hear", pager.hear)
    async with serving(app, Address("127.0.0.1", 0)) as address:
        pager.address = f"http://{address.host}:{address.port}/hear"
        yield pager


async def test_a_failed_deployment_and_an_incident_are_told_once(tmp_path: Path) -> None:
    async with paging() as pager:
        settings = {
            "conductor_allowed_hosts": ("127.0.0.1",),
            "conductor_notify_url": pager.address,
            "conductor_notify_secret": SECRET,
        }
        async with (
            running_town(tmp_path, settings=settings) as town,
            open_storefront(town.repo, town.clock) as front,
        ):
            town.model.script(TRIAGED, answers())
            await town.configure(
                f"""\
version: 1
environments: {{ staging: {{ {front.config} }} }}
workflows:
  deliver:
    on: {{ push: {{ branches: [main] }} }}
    steps:
      ship: {{ agent: deploy, environment: staging }}
      watch:
        agent: monitor
        needs: [ship]
        for: 1m
        interval: 5s
        signals: false
        rules: [{{ name: errors, query: '{QUERY}', above: 0.5 }}]
"""
            )
            assert pager.heard == []
            bad = await town.push({"shop/cart.py": CART + DOWN}, "main")
            await town.settled()
            (failed,) = pager.heard
            assert (failed["head_sha"], failed["level"]) == (bad, "warning")
            assert "staging" in failed["title"]
            worse = await town.push({"shop/cart.py": BROKEN_CART}, "main")
            await town.settled()
            _, incident = pager.heard
            assert (incident["head_sha"], incident["level"]) == (worse, "warning")
            assert len({said["key"] for said in pager.heard}) == 2
            assert pager.refused == 0
