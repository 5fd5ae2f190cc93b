"""A GitHub that says exactly what a test tells it to, over real HTTP, however odd.

Each route has a list of replies; the last one stays. A reply may be a function of the request.
"""

import json
import ssl
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import formatdate
from functools import cache
from typing import Any

from aiohttp import web
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from multidict import CIMultiDict

from bot.github.gateway import GitHub
from bot.github.throttle import Ledger, Pace
from bot.github.transport import http_client
from pipelines.model import Repository
from pipelines.ports import Clock

BOT_ID = 4242
APP_ID = "77"
REPOSITORY = Repository(installation_id=9, id=100, owner="octo", name="shop")
UNHURRIED = Pace(write_gap=0.0)


@cache
def private_key() -> str:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()


@dataclass
class Reply:
    """What to answer; ``cut`` closes the connection without a word after reading the request."""

    data: Any = None
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    content_type: str = "application/json; charset=utf-8"
    cut: bool = False


@dataclass
class Seen:
    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes
    at: datetime

    @property
    def json(self) -> Any:
        return json.loads(self.body) if self.body else None

    @property
    def operation(self) -> str:
        """The name of the GraphQL operation."""
        words = self.json["query"].split("(", 1)[0].split()
        return words[1]


Answering = Reply | Callable[[Seen], Reply]


class GitHubStub:
    def __init__(self) -> None:
        self.url = ""
        self.clock: Clock | None = None
        self.seen: list[Seen] = []
        self._routes: dict[tuple[str, str], list[Answering]] = {}
        self.on("GET", "/app", Reply({"id": 77, "slug": "conductor", "permissions": {}}))
        self.on("GET", "/users/conductor[bot]", Reply({"id": BOT_ID, "login": "conductor[bot]"}))
        self.on(
            "GET",
            "/app/installations",
            Reply([{"id": 8, "suspended_at": "2026-01-01T00:00:00Z"}, {"id": 9}]),
        )
        self._mints = 0
        self.on("POST", "/app/installations/9/access_tokens", self.mint)

    def now(self) -> datetime:
        return self.clock.now() if self.clock else datetime.now(UTC)

    def mint(self, seen: Seen) -> Reply:
        self._mints += 1
        return Reply(
            {
                "token": f"ghs_token_{self._mints}",
                "expires_at": (self.now() + timedelta(hours=1)).isoformat(),
                "permissions": seen.json["permissions"],
            },
            status=201,
        )

    def on(self, method: str, path: str, *replies: Answering) -> None:
        self._routes[method, path] = list(replies)

    def on_graphql(self, operation: str, *replies: Answering) -> None:
        self._routes["GRAPHQL", operation] = list(replies)

    def calls(self, method: str, path: str) -> list[Seen]:
        return [seen for seen in self.seen if (seen.method, seen.path) == (method, path)]

    def operations(self, name: str) -> list[Seen]:
        return [seen for seen in self.calls("POST", "/graphql") if seen.operation == name]

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        seen = Seen(
            request.method,
            request.path,
            request.query_string,
            {name.lower(): value for name, value in request.headers.items()},
            await request.read(),
            self.now(),
        )
        self.seen.append(seen)
        graphql = request.path == "/graphql"
        key = ("GRAPHQL", seen.operation) if graphql else (request.method, request.path)
        replies = self._routes.get(key)
        if replies is None:
            return web.json_response({"message": f"Not Found: {key}"}, status=404)
        reply = replies.pop(0) if len(replies) > 1 else replies[0]
        if callable(reply):
            reply = reply(seen)
        if reply.cut:
            assert request.transport is not None
            request.transport.close()
            return web.Response()
        body = json.dumps(reply.data).encode() if reply.body is None else reply.body
        date = formatdate(self.now().timestamp(), usegmt=True)
        headers = CIMultiDict({"content-type": reply.content_type})
        if "date" not in reply.headers:
            headers["date"] = date
        headers.extend(reply.headers)
        return web.Response(status=reply.status, body=body, headers=headers)

    @asynccontextmanager
    async def running(self, clock: Clock | None = None) -> AsyncGenerator["GitHubStub", None]:
        self.clock = clock
        app = web.Application(client_max_size=64 * 1024 * 1024)
        app.router.add_route("*", "/{tail:.*}", self._answer)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"
        try:
            yield self
        finally:
            await runner.cleanup()


@asynccontextmanager
async def github(
    stub: GitHubStub,
    clock: Clock,
    *,
    secrets: list[str] | None = None,
    requests: list[tuple[str, str, int]] | None = None,
    pace: Pace = UNHURRIED,
    key: str | None = None,
    ledger: Ledger | None = None,
) -> AsyncGenerator[GitHub, None]:
    """A gateway to the stub, over plain HTTP: no certificates are loaded."""
    known = secrets if secrets is not None else []
    counted = requests if requests is not None else []
    async with http_client(verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)) as http:
        yield GitHub(
            http,
            app_id=APP_ID,
            private_key=key or private_key(),
            api_url=stub.url,
            clock=clock,
            version="0.0.0",
            register_secret=known.append,
            on_request=lambda method, path, status, _: counted.append((method, path, status)),
            pace=pace,
            ledger=ledger,
        )


def graphql_data(data: Any) -> Reply:
    return Reply({"data": data})
