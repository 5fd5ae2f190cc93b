"""The story that the demo tells: a defect in a pull request is found, fixed, and answered."""

import json
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import httpx2

from bot.cli.demo.processes import program
from bot.cli.demo.sample import MODEL_SCRIPT, check_out, sample_files, service
from bot.cli.demo.stage import Stage
from bot.settings import ConductorConfig
from bot.simulator.simulator import NewApp, Simulator
from bot.simulator.state import Account, CheckRun, PullRequest, Repository, Review, Thread

STAGES = 7
_REAL_MODEL = ("ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL", "OPENAI_API_KEY", "OPENAI_BASE_URL")


@dataclass(frozen=True)
class Cast:
    """Who takes part: the App, the people, the repository."""

    app: NewApp
    ada: Account
    repository: Repository


class Story:
    """Tells the story on a stage, with everything it starts below one folder."""

    def __init__(
        self, stage: Stage, folder: Path, settings: ConductorConfig, *, keep: bool = False
    ) -> None:
        self._keep = keep
        self._stage = stage
        self._folder = folder
        self._settings = settings
        self._open = AsyncExitStack()
        self.simulator = Simulator(folder / "github")
        self.conductor = ""

    async def __aenter__(self) -> "Story":
        await self._open.__aenter__()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._open.aclose()

    async def tell(self) -> None:
        """Run all stages; what is started stays up until the context closes."""
        cast = await self._github()
        await self._conductor(cast)
        pull = await self._defect(cast)
        await self._review(cast, pull)
        await self._fix(cast, pull)
        await self._answer(cast, pull)
        self._summary(cast, pull)

    async def _github(self) -> Cast:
        self._stage.begin("A GitHub on this machine, with a small web service in it")
        base_url = await self._open.enter_async_context(self.simulator) and self.simulator.base_url
        simulator = self.simulator
        acme, ada = simulator.create_organization("acme"), simulator.create_user("ada")
        repository = await simulator.create_repository(acme, "shop", sample_files("base"))
        simulator.set_role(repository, ada, "write")
        app = await simulator.create_app(acme, "conductor")
        self._stage.fact(f"{base_url}/acme/shop", f"App {app.app.slug!r}, installed on acme/shop")
        simulator.install(app.app, acme, [repository])
        return Cast(app, ada, repository)

    async def _conductor(self, cast: Cast) -> None:
        model = self._models()
        self._stage.begin("Conductor, in its default configuration")
        key = self._folder / "app.pem"
        key.touch(mode=0o600)
        key.write_text(cast.app.private_key)
        environment = {
            "GITHUB_API_URL": self.simulator.base_url,
            "GITHUB_APP_ID": str(cast.app.app.id),
            "GITHUB_PRIVATE_KEY_PATH": str(key),
            "GITHUB_WEBHOOK_SECRET": cast.app.webhook_secret,
            "PORT": "0",
            "HOST": "127.0.0.1",
            **model,
        }
        self.conductor = await self._open.enter_async_context(
            program(
                [sys.executable, "-m", "bot", "serve"],
                folder=self._folder,
                log=self._folder / "conductor.log",
                environment=environment,
            )
        )
        cast.app.app.webhook_url = f"{self.conductor}/webhooks/github"
        self._stage.fact(
            f"{self.conductor}/readyz, durable in {self._folder / 'conductor.db'}",
            f"model: {model.get('CONDUCTOR_MODELS', 'from the keys in the environment')}",
        )

    def _models(self) -> Mapping[str, str]:
        """The real model if the environment has a key for one, else the script."""
        real = {name: os.environ[name] for name in _REAL_MODEL if os.environ.get(name)}
        if self._settings.conductor_models:
            return real | {"CONDUCTOR_MODELS": ",".join(self._settings.conductor_models)}
        return real or {"CONDUCTOR_MODELS": f"mock:{MODEL_SCRIPT}"}

    async def _defect(self, cast: Cast) -> PullRequest:
        self._stage.begin("Ada opens a pull request: carts get an average price")
        simulator, repo = self.simulator, cast.repository
        await simulator.push(
            repo, "average", sample_files("defect"), cast.ada, message="Show the average price"
        )
        pull = await simulator.open_pull_request(
            repo, "average", cast.ada, title="Show the average price of a cart"
        )
        self._stage.fact(f"{simulator.base_url}/acme/shop/pull/{pull.issue.number}")
        await self._try_service(repo, pull.head_sha)
        return pull

    async def _try_service(self, repo: Repository, commit: str) -> None:
        """Run the commit for real and ask it what a new customer would."""
        folder = Path(tempfile.mkdtemp(prefix=f"shop-{commit[:7]}-", dir=self._folder))
        await check_out(repo.git.path, commit, folder)
        async with (
            service(folder, self._folder / "shop.log") as address,
            httpx2.AsyncClient(trust_env=False, timeout=10) as client,
        ):
            answer = await client.get(f"{address}/carts/new")
        self._stage.fact(
            f"the service at {commit[:7]}: GET /carts/new → {answer.status_code} "
            f"{json.dumps(answer.json())}"
        )

    async def _review(self, cast: Cast, pull: PullRequest) -> None:
        self._stage.begin("Conductor reviews it")
        review = await self._stage.until("the review", lambda: _review_by(cast, pull))
        check = await self._stage.until("the check", lambda: _completed(cast, pull.head_sha))
        self._stage.fact(f"check {check.name!r}: {check.conclusion}: {check.title}")
        for thread in pull.threads:
            comment = thread.comments[0]
            self._stage.fact(f"review of {review.commit[:7]}: {comment.path}:{comment.line}")
            self._stage.fact(*_shown(comment.body), style="dim")

    async def _fix(self, cast: Cast, pull: PullRequest) -> None:
        self._stage.begin("Ada pushes a fix, with a test")
        commit = await self.simulator.push(
            cast.repository, "average", sample_files("fix"), cast.ada, message="Mind empty carts"
        )
        await self._try_service(cast.repository, commit)

    async def _answer(self, cast: Cast, pull: PullRequest) -> None:
        self._stage.begin("Conductor looks again and answers what was fixed")
        check = await self._stage.until("the check", lambda: _completed(cast, pull.head_sha))
        self._stage.fact(f"check {check.name!r}: {check.conclusion}: {check.title}")
        for thread in pull.threads:
            answered = await self._stage.until("the answer", lambda t=thread: _answer_in(t))
            self._stage.fact(f"in the thread: {_shown(answered)[0]}")
            if thread.resolved_by:
                self._stage.fact("the thread is resolved")

    def _summary(self, cast: Cast, pull: PullRequest) -> None:
        self._stage.begin("Done")
        statuses = Counter(str(delivery.status_code) for delivery in self.simulator.deliveries)
        calls = [call for call in self.simulator.calls if call.app_id == cast.app.app.id]
        reviews = [r for r in pull.reviews if r.user.id == cast.app.app.bot.id and r.body]
        self._stage.fact(
            f"{len(self.simulator.deliveries)} webhook deliveries, answered "
            + ", ".join(f"{count} times {status}" for status, count in sorted(statuses.items())),
            f"2 pushes: {len(reviews)} review, {len(pull.threads)} finding, found and answered",
            f"{len(calls)} GitHub calls",
        )
        if not self._keep:
            self._stage.fact("To look at it all in a browser: make demo ARGS=--keep")
            return
        self._stage.fact(
            f"pull request: {self.simulator.base_url}/acme/shop/pull/{pull.issue.number}",
            f"deliveries:   {self.simulator.base_url}/-/deliveries",
            f"Conductor:    {self.conductor}/metrics",
            f"its log:      {self._folder / 'conductor.log'}",
        )


def _review_by(cast: Cast, pull: PullRequest) -> Review | None:
    bot = cast.app.app.bot.id
    return next((r for r in pull.reviews if r.user.id == bot and r.submitted_at), None)


def _completed(cast: Cast, commit: str) -> CheckRun | None:
    found = [c for c in cast.repository.checks.values() if c.head_sha == commit]
    return next((c for c in found if c.status == "completed"), None)


def _answer_in(thread: Thread) -> str | None:
    return thread.comments[1].body if len(thread.comments) > 1 else None


def _shown(body: str) -> list[str]:
    """The comment without its hidden markers."""
    lines = (line.rstrip() for line in body.splitlines())
    return [line for line in lines if line and not line.startswith("<!--")]
