"""One repository on the simulator, and Conductor's two ends of GitHub, for tests of effects."""

import json
import random
import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bot.github.gateway import GitHub
from bot.github.permissions import PermissionChecker
from bot.github.source import GitHubSource
from bot.github.throttle import Pace
from bot.github.transport import http_client
from bot.reporting.publisher import GitHubReporter
from bot.simulator import Exchange, Simulator
from bot.simulator.faults import Fault
from bot.simulator.simulator import PERMISSIONS
from bot.simulator.state import Account, Installation
from bot.simulator.state import Repository as SimulatedRepository
from pipelines.errors import Retryable
from pipelines.model import (
    Actor,
    Breach,
    Change,
    Effect,
    FeedbackPayload,
    FileEdit,
    Provenance,
    PushCommit,
    PushTrigger,
    Repository,
    Severity,
    WorkflowRun,
)
from pipelines.ports import Receipt
from tests.support.clock import EPOCH, VirtualClock
from tests.support.github_schema import SchemaChecker
from tests.unit.reporting.samples import run

KEY = b"k" * 32
SECRET = "hunter_2"


@dataclass
class Wire:
    """Keeps every exchange, for questions about what was sent."""

    exchanges: list[Exchange] = field(default_factory=list[Exchange])

    def exchange(self, exchange: Exchange) -> None:
        self.exchanges.append(exchange)

    def delivery(self, event: str, body: bytes) -> None:
        del event, body


@dataclass
class Shop:
    simulator: Simulator
    repo: SimulatedRepository
    alice: Account
    installation: Installation
    repository: Repository
    source: GitHubSource
    reporter: GitHubReporter
    clock: VirtualClock
    wire: Wire
    base: str
    """The head of main when the run started."""

    @property
    def bot(self) -> Account:
        return self.installation.app.bot

    def run(self, run_id: str = "run1", **change: Any) -> WorkflowRun:
        """A run on the default branch, second link of a chain."""
        trigger = PushTrigger(
            repository=self.repository,
            actor=Actor(id=self.alice.id, login=self.alice.login),
            delivery_id="d-1",
            ref="refs/heads/main",
            before=self.base,
            after=self.base,
            provenance=Provenance(root_run="root", depth=1),
        )
        values: dict[str, Any] = {
            "repository": self.repository,
            "head_sha": self.base,
            "base_sha": self.base,
            "base_ref": "main",
        }
        return run().model_copy(
            update={"id": run_id, "trigger": trigger, "change": Change(**{**values, **change})}
        )

    async def do(self, effect: Effect, *, repeated: bool = False, **fields: Any) -> Receipt:
        return await self.reporter.carry_out(self.run(**fields), effect, repeated=repeated)

    async def survive(self, effect: Effect, fault: Fault) -> Receipt:
        """Carry an effect out while GitHub cuts the connection, as often as needed."""
        self.simulator.faults.add(fault)
        for attempt in range(5):
            try:
                return await self.do(effect, repeated=attempt > 0)
            except Retryable:
                continue
        raise AssertionError("it never came through")

    def commit(self, branch: str = "conductor/fix-1", **fields: Any) -> PushCommit:
        edits = (FileEdit(path="a.py", content="print(2)\n"), FileEdit(path="old", content=None))
        values: dict[str, Any] = {
            "head_sha": self.base,
            "branch": branch,
            "edits": edits,
            "headline": "Fix the sum",
        }
        return PushCommit(**{**values, **fields})

    async def tip(self, branch: str) -> str | None:
        return await self.repo.git.resolve(f"refs/heads/{branch}")

    def permissions_minted(self) -> list[dict[str, str]]:
        """What each token was asked for, always for the one repository."""
        asked: list[dict[str, str]] = []
        for exchange in self.wire.exchanges:
            if exchange.path.endswith("/access_tokens"):
                body = json.loads(exchange.request_body)
                if body.get("repository_ids") == [self.repo.id]:
                    asked.append(body["permissions"])
                else:
                    assert body["permissions"] == {"metadata": "read"}
        return asked


def payload(**fields: Any) -> FeedbackPayload:
    values: dict[str, Any] = {
        "fingerprint": "0123456789abcdef",
        "environment": "production",
        "severity": Severity.HIGH,
        "title": "The error rate is up",
        "breaches": (
            Breach(
                rule="error rate",
                query="sum(rate(errors[5m]))",
                observed=0.213456,
                baseline=0.001,
                above=0.02,
                unit="/s",
                samples=40,
                points=(0.0, 0.1, 0.2),
            ),
        ),
        "findings": ("Errors rose after the deployment.",),
        "recommendations": ("Roll back.",),
        "observed_at": EPOCH,
    }
    return FeedbackPayload(**{**values, **fields})


@asynccontextmanager
async def opened(folder: Path, **granted: str) -> AsyncGenerator[Shop]:
    clock, schema, wire = VirtualClock(), SchemaChecker(), Wire()
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    async with (
        Simulator(folder, clock=clock, rng=random.Random(7), observer=schema) as simulator,
        http_client(verify=tls) as http,
    ):
        simulator.observe(wire)
        org, alice = simulator.create_organization("acme"), simulator.create_user("alice")
        app = await simulator.create_app(org, permissions={**PERMISSIONS, "workflows": "write"})
        files: dict[str, str | bytes | None] = {"a.py": "print(1)\n", "old": "x\n"}
        repo = await simulator.create_repository(org, "shop", files)
        simulator.set_role(repo, alice, "write")
        kept = {name: level for name, level in app.app.permissions.items() if name not in granted}
        limits = {name: level for name, level in granted.items() if level != "none"}
        installation = simulator.install(app.app, org, permissions={**kept, **limits})
        github = GitHub(
            http,
            app_id=str(app.app.id),
            private_key=app.private_key,
            api_url=simulator.base_url,
            clock=clock,
            version="0.0.0",
            register_secret=lambda _: None,
            pace=Pace(write_gap=0.0),
        )
        base = await repo.git.resolve("main")
        assert base
        yield Shop(
            simulator=simulator,
            repo=repo,
            alice=alice,
            installation=installation,
            repository=Repository(
                installation_id=installation.id, id=repo.id, owner="acme", name="shop"
            ),
            source=GitHubSource(
                github, PermissionChecker(github, clock), clock, marker_keys=(KEY,)
            ),
            reporter=GitHubReporter(
                github,
                redact=lambda text: text.replace(SECRET, "[redacted]"),
                base_url="https://conductor.example",
                marker_keys=(KEY,),
            ),
            clock=clock,
            wire=wire,
            base=base,
        )
    schema.verify()
