"""Conductor as it is installed: ``conductor serve`` on SQLite, with the simulator as its GitHub."""

import asyncio
import json
import tempfile
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.load import MARK
from benchmarks.processes import Server, server
from bot.simulator.record import ApiCall
from bot.simulator.simulator import NewApp, Simulator
from bot.simulator.state import Account, CheckRun, PullRequest, Repository

_PARAGRAPH = (
    'The cart keeps its prices in a list, and "average" of an empty one divides by zero.\r\n'
    "- [ ] `shop/cart.py` says what an empty cart is worth\r\n- [x] tests\r\n\r\n"
)


@dataclass(frozen=True)
class Installation:
    """A running Conductor, its GitHub, and what the two keep."""

    server: Server
    github: Simulator
    app: NewApp
    author: Account
    repository: Repository
    folder: Path

    async def pull_request(
        self, branch: str, files: Mapping[str, str], description: str = ""
    ) -> PullRequest:
        """Open one from a new branch."""
        await self.github.push(self.repository, branch, files, self.author)
        return await self.github.open_pull_request(
            self.repository, branch, self.author, title=f"Change {branch}", body=description
        )

    def checks(self, commit: str) -> Sequence[CheckRun]:
        """Conductor's checks on the commit."""
        return [c for c in self.repository.checks.values() if c.head_sha == commit]

    def calls(self) -> Sequence[ApiCall]:
        """What Conductor has asked GitHub."""
        number = self.app.app.id
        return [call for call in self.github.calls if call.app_id == number]

    def payload(self, pull: PullRequest) -> Path:
        """Write the delivery of a pull request, as GitHub sends it, with a mark for numbers."""
        sent = next(
            delivery
            for delivery in self.github.deliveries
            if delivery.event == "pull_request"
            and json.loads(delivery.request_body)["number"] == pull.issue.number
        )
        path = self.folder / "payload.json"
        path.write_bytes(sent.request_body.replace(b'"opened"', b'"synchronize"', 1))
        return path


@asynccontextmanager
async def installation(
    files: Mapping[str, str], *, delay: float = 0.0, reachable: bool = True
) -> AsyncGenerator[Installation]:
    """Run one in a temporary folder; its model finds nothing, ``delay`` seconds after the question.

    With ``reachable`` False its GitHub does not answer, so deliveries are stored and nothing else.
    """
    with tempfile.TemporaryDirectory(prefix="conductor-bench-") as name:
        folder = Path(name)
        async with Simulator(folder / "github") as github:
            acme, author = github.create_organization("acme"), github.create_user("ada")
            repository = await github.create_repository(acme, "shop", files)
            github.set_role(repository, author, "write")
            app = await github.create_app(acme, "conductor")
            github.install(app.app, acme, [repository])
            api = github.base_url if reachable else "http://127.0.0.1:9"
            environment = _environment(app, api, folder, delay)
            async with server("-m", "bot", "serve", folder=folder, environment=environment) as up:
                app.app.webhook_url = f"{up.address}/webhooks/github"
                yield Installation(up, github, app, author, repository, folder)
                app.app.webhook_url = None


def _environment(app: NewApp, api: str, folder: Path, delay: float) -> dict[str, str]:
    script, key = folder / "model.json", folder / "app.pem"
    reply = {"delay": delay, "text": '{"findings": []}'}
    script.write_text(json.dumps({"rules": [{"replies": [reply]}]}))
    key.touch(mode=0o600)
    key.write_text(app.private_key)
    return {
        "GITHUB_API_URL": api,
        "GITHUB_APP_ID": str(app.app.id),
        "GITHUB_PRIVATE_KEY_PATH": str(key),
        "GITHUB_WEBHOOK_SECRET": app.webhook_secret,
        "CONDUCTOR_MODELS": f"mock:{script}",
        "HOST": "127.0.0.1",
        "PORT": "0",
    }


def description() -> str:
    """A pull request's text that makes its delivery as large as many are: 26 KB."""
    return MARK.decode() + "\r\n" + _PARAGRAPH * 37


async def quiet(at: Installation, *, seconds: float = 1.5) -> None:
    """Return when Conductor has asked GitHub nothing for so long."""
    seen = -1
    while seen != len(at.calls()):
        seen = len(at.calls())
        await asyncio.sleep(seconds)


async def until(what: str, look: Callable[[], bool], *, seconds: float = 60.0) -> None:
    """Return when it is so; raises TimeoutError that says what did not happen."""
    try:
        async with asyncio.timeout(seconds):
            while not look():  # noqa: ASYNC110  (the simulator has no events for its readers)
                await asyncio.sleep(0.02)
    except TimeoutError as error:
        raise TimeoutError(f"{what} did not happen within {seconds:g} s") from error
