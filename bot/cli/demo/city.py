"""What the demo plays with: a GitHub with a shop in it, Conductor beside it, customers in front."""

import os
import sys
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from bot.cli.demo.customers import Customers
from bot.cli.demo.processes import program
from bot.cli.demo.sample import MODEL_SCRIPT, sample_files
from bot.settings import ConductorConfig
from bot.simulator.simulator import NewApp, Simulator
from bot.simulator.state import Account, CheckRun, Deployment, Issue, PullRequest, Repository
from bot.wiring.deployments import SERVICES
from pipelines.integrations.containers.local import stop_all
from pipelines.system import SystemClock

_REAL_MODEL = ("ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL", "OPENAI_API_KEY", "OPENAI_BASE_URL")
DATA = "data"


@dataclass(frozen=True)
class City:
    """Everything that is up, and where the story looks for what happened."""

    folder: Path
    simulator: Simulator
    app: NewApp
    ada: Account
    repository: Repository
    conductor: str
    """Address of Conductor."""
    model: str
    """Where the model's words come from."""
    customers: Customers

    @property
    def pages(self) -> str:
        """Address of the repository."""
        return f"{self.simulator.base_url}/{self.repository.full_name}"

    def completed(self, sha: str, step: str) -> CheckRun | None:
        """Return the check of a step on a commit once it has ended."""
        found = (c for c in self.repository.checks.values() if c.head_sha == sha)
        named = (c for c in found if c.name.endswith(f"/ {step}"))
        return next((c for c in named if c.status == "completed"), None)

    def deployment(self, sha: str) -> Deployment | None:
        """Return the deployment of a commit once it has ended."""
        found = [d for d in self.repository.deployments.values() if d.sha == sha]
        done = ("success", "failure", "error")
        return next((d for d in found if d.statuses and d.statuses[-1].state in done), None)

    def own_issue(self) -> Issue | None:
        """Return the issue that Conductor opened."""
        bot = self.app.app.bot.id
        issues = self.repository.issues.values()
        return next((i for i in issues if i.user.id == bot and i.pull is None), None)

    def own_pull(self) -> PullRequest | None:
        """Return the pull request that Conductor opened."""
        bot = self.app.app.bot.id
        return next((p for p in self.repository.pulls if p.issue.user.id == bot), None)


def address_of(repository: Repository) -> str | None:
    """Return where the newest good deployment answers."""
    for deployment in reversed(list(repository.deployments.values())):
        for status in reversed(deployment.statuses):
            if status.state == "success" and status.environment_url:
                return status.environment_url.rstrip("/")
    return None


async def build(opened: AsyncExitStack, folder: Path, settings: ConductorConfig) -> City:
    """Start everything; it is ended in order when ``opened`` closes."""
    simulator = await opened.enter_async_context(Simulator(folder / "github"))
    acme, ada = simulator.create_organization("acme"), simulator.create_user("ada")
    repository = await simulator.create_repository(acme, "shop", sample_files("base"))
    simulator.set_role(repository, ada, "maintain")
    app = await simulator.create_app(acme, "conductor")
    model = _models(settings)
    opened.push_async_callback(_stop_services, folder)
    conductor = await opened.enter_async_context(
        program(
            [sys.executable, "-m", "bot", "serve"],
            folder=folder,
            log=folder / "conductor.log",
            environment={**_environment(folder, simulator, app), **model},
        )
    )
    app.app.webhook_url = f"{conductor}/webhooks/github"
    simulator.install(app.app, acme, [repository])
    customers = Customers(lambda: address_of(repository))
    await opened.enter_async_context(customers.shopping())
    return City(
        folder=folder,
        simulator=simulator,
        app=app,
        ada=ada,
        repository=repository,
        conductor=conductor,
        model=model.get("CONDUCTOR_MODELS", "from the keys in the environment"),
        customers=customers,
    )


async def _stop_services(folder: Path) -> None:
    """End what Conductor deployed: services outlive it by design, and must not outlive the demo."""
    await stop_all(folder / DATA / SERVICES, SystemClock())


def _environment(folder: Path, simulator: Simulator, app: NewApp) -> dict[str, str]:
    key = folder / "app.pem"
    key.touch(mode=0o600)
    key.write_text(app.private_key)
    return {
        "GITHUB_API_URL": simulator.base_url,
        "GITHUB_APP_ID": str(app.app.id),
        "GITHUB_PRIVATE_KEY_PATH": str(key),
        "GITHUB_WEBHOOK_SECRET": app.webhook_secret,
        "CONDUCTOR_LOCAL_TARGET": "1",
        "CONDUCTOR_DATA_DIR": str(folder / DATA),
        "CONDUCTOR_ALLOWED_HOSTS": "127.0.0.1",
        "PORT": "0",
        "HOST": "127.0.0.1",
    }


def _models(settings: ConductorConfig) -> Mapping[str, str]:
    """The real model if the environment has a key for one, else the script."""
    real = {name: os.environ[name] for name in _REAL_MODEL if os.environ.get(name)}
    if settings.conductor_models:
        return real | {"CONDUCTOR_MODELS": ",".join(settings.conductor_models)}
    return real or {"CONDUCTOR_MODELS": f"mock:{MODEL_SCRIPT}"}
