"""A simulator with one organisation, two people, a repository, an App, and a small client."""

import json
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import jwt

from bot.simulator import NewApp, Simulator
from bot.simulator.state import Account, Installation, PullRequest, Repository
from tests.support.clock import VirtualClock
from tests.support.github_schema import SchemaChecker

BASE = "".join(f"line {n}\n" for n in range(1, 41))


@dataclass
class Reply:
    """An answer of the API."""

    status: int
    headers: Any
    json: Any
    body: bytes


@dataclass
class Received:
    """What came to the App's webhook."""

    headers: Any
    body: bytes


@dataclass
class Hub:
    """The simulator and everybody in it, with a small client of the test's own."""

    simulator: Simulator
    session: aiohttp.ClientSession
    clock: VirtualClock
    schema: SchemaChecker
    org: Account
    alice: Account
    bob: Account
    new_app: NewApp
    repo: Repository
    installation: Installation
    inbox: list[Received]
    statuses: list[int] = field(default_factory=list[int])

    def jwt(self, **claims: Any) -> str:
        return self.jwt_of(self.new_app, **claims)

    def jwt_of(self, new_app: NewApp, **claims: Any) -> str:
        """An App's JWT; a claim of None is left out."""
        now = int(self.clock.now().timestamp())
        base = {"iss": str(new_app.app.id), "iat": now - 60, "exp": now + 540, **claims}
        kept = {name: value for name, value in base.items() if value is not None}
        return jwt.encode(kept, new_app.private_key, "RS256")

    async def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        token: str | None = None,
        **headers: str,
    ) -> Reply:
        """One request; the paths of a repository may start with ``~``."""
        known = f"/repos/{self.repo.full_name}"
        sent = {"Authorization": f"Bearer {token}"} if token else {}
        accept = {k.replace("_", "-"): v for k, v in headers.items()}
        async with self.session.request(
            method,
            self.simulator.base_url + path.replace("~", known),
            json=body,
            headers={"User-Agent": "tests", **sent, **accept},
            allow_redirects=False,
        ) as answer:
            content = await answer.read()
            is_json = answer.content_type == "application/json"
            return Reply(
                answer.status,
                answer.headers,
                json.loads(content) if is_json and content[:1] in (b"{", b"[") else None,
                content,
            )

    async def token(self, **scope: Any) -> str:
        path = f"/app/installations/{self.installation.id}/access_tokens"
        answer = await self.call("POST", path, scope, token=self.jwt())
        assert answer.status == 201, answer.json
        return answer.json["token"]

    async def api(self, method: str, path: str, body: Any = None, **headers: str) -> Reply:
        """One request with a full token."""
        if not self._token:
            self._token = await self.token()
        return await self.call(method, path, body, token=self._token, **headers)

    def expire_token(self) -> None:
        """Forget the full token, so that the next request takes a new one."""
        self._token = ""

    _token: str = ""

    async def pull(self, files: dict[str, str | bytes | None] | None = None) -> PullRequest:
        """A pull request of Alice that changes lines 10 and 30 of a file."""
        changed = BASE.replace("line 10\n", "line ten\n").replace("line 30\n", "line thirty\n")
        await self.simulator.push(
            self.repo, "topic", files or {"src/a.txt": changed}, self.alice, message="Change"
        )
        return await self.simulator.open_pull_request(self.repo, "topic", self.alice, title="T")

    def events(self) -> list[tuple[str, str | None]]:
        return [(d.event, d.action) for d in self.simulator.deliveries]
