"""An environment with its target and its ledger, as the deploy agent meets them."""

from dataclasses import dataclass, field
from datetime import timedelta

from pipelines.errors import UserError
from pipelines.integrations.llm.base import LanguageModel
from pipelines.model import (
    CommandTrigger,
    CreateDeployment,
    DeploymentTrigger,
    Effect,
    EnvironmentPlan,
    EnvironmentState,
    LastGood,
    Probe,
    PushTrigger,
    ReleaseService,
    ReleaseState,
    SetDeploymentStatus,
    Task,
    TaskResult,
    Trigger,
)
from pipelines.ports import Receipt
from tests.support.carrying import carried_out
from tests.support.clock import EPOCH, VirtualClock
from tests.support.forge import Faults
from tests.support.models import ScriptedModel
from tests.support.samples import ADA, BASE, HEAD, REPOSITORY, a_change
from tests.support.workplace import MemoryWorkplace

GOOD, OLDER = "1" * 40, "2" * 40
PLAN = EnvironmentPlan(name="staging", target="mock", rollout_seconds=120)
STAGES = ("queued", "in_progress", "success", "failure", "error", "inactive")


class BriskClock(VirtualClock):
    """Time passes exactly as fast as somebody waits for it."""

    async def sleep(self, seconds: float) -> None:
        self._elapsed += max(0.0, seconds)
        await super().sleep(0)


@dataclass
class Deployment:
    """One deployment as people see it."""

    id: int
    sha: str
    rollback: bool
    statuses: list[str] = field(default_factory=list)
    descriptions: list[str] = field(default_factory=list)


@dataclass
class Temper:
    """How a commit behaves when it is released."""

    phase: str = "ready"
    polls: int = 2
    """How often it is ``progressing`` first."""
    healthy: bool = True
    message: str = ""


class Estate(MemoryWorkplace):
    """Keeps intents and receipts like the parent; ``faults`` may end the agent at any await."""

    def __init__(self, plan: EnvironmentPlan = PLAN) -> None:
        super().__init__({"shop/cart.py": "new\n"}, {"shop/cart.py": "old\n"})
        self.plan = plan
        self.faults = Faults()
        self.clock = BriskClock()
        self.deployments: list[Deployment] = []
        self.running: str | None = None
        self.polls = 0
        self.revision = 3
        self.tempers: dict[str, Temper] = {}
        self.last_good: LastGood | None = None
        self.before: LastGood | None = None
        self.carried_out: list[str] = []
        self.begun: set[str] = set()
        self.ledger: dict[str, Receipt] = {}
        self.denials: dict[str, str] = {}
        """Reason by kind of effect."""
        self.refusal: str | None = None
        """What the target says when it is to release."""
        self.service_log = "starting\nValueError: no database\n"

    def has_good(self, sha: str, before: str | None = None) -> "Estate":
        """Something good runs already."""
        self.running = sha
        self.last_good = LastGood(sha=sha, deployment_id=7, at=EPOCH)
        self.before = LastGood(sha=before, deployment_id=6, at=EPOCH) if before else None
        return self

    def adopt(self, number: int, sha: str) -> None:
        """Somebody else created a deployment."""
        self.deployments.append(Deployment(number, sha, rollback=False))

    @property
    def statuses(self) -> list[tuple[str, bool, list[str]]]:
        return [(d.sha, d.rollback, d.statuses) for d in self.deployments]

    async def environment(self) -> EnvironmentState:
        self.faults.point("environment")
        own = self.deployments[-1] if self.deployments else None
        return EnvironmentState(
            plan=self.plan,
            deployment_id=own.id if own else None,
            deployment_sha=own.sha if own else None,
            rolling_back=own.rollback if own else False,
            revision=self.revision,
            current_sha=self.running,
            last_good=self.last_good,
            before=self.before,
        )

    async def perform(self, effect: Effect) -> Receipt:
        self.faults.point(f"before {effect.key}")
        if reason := self.denials.get(effect.kind):
            return Receipt(key=effect.key, status="denied", message=reason)
        known = self.ledger.get(effect.key)
        if known is not None:
            return known
        self.effects.append(effect)
        receipt = self._found(effect) if effect.key in self.begun else None
        self.begun.add(effect.key)
        if receipt is None:
            receipt = self._carry_out(effect)
            self.carried_out.append(effect.key)
        self.faults.point(f"without a receipt {effect.key}")
        self.ledger[effect.key] = receipt
        self.faults.point(f"after {effect.key}")
        return receipt

    def _found(self, effect: Effect) -> Receipt | None:
        """Look for what an earlier try without a receipt may have done."""
        if effect.key not in self.carried_out:
            return None
        number = None
        if isinstance(effect, CreateDeployment):
            wanted = (effect.sha, effect.rollback)
            number = next(d.id for d in self.deployments if (d.sha, d.rollback) == wanted)
        return Receipt(key=effect.key, status="found", number=number)

    def _carry_out(self, effect: Effect) -> Receipt:
        number = None
        if isinstance(effect, CreateDeployment):
            self.revision += 1
            number = 40 + self.revision
            self.deployments.append(Deployment(number, effect.sha, effect.rollback))
        elif isinstance(effect, ReleaseService):
            if self.refusal:
                raise UserError(self.refusal)
            self.running, self.polls = effect.sha, 0
        elif isinstance(effect, SetDeploymentStatus):
            self._set_status(effect)
        return Receipt(key=effect.key, status="done", number=number)

    def _set_status(self, effect: SetDeploymentStatus) -> None:
        (deployment,) = (d for d in self.deployments if d.id == effect.deployment_id)
        before = deployment.statuses[-1] if deployment.statuses else "queued"
        assert STAGES.index(effect.state) > STAGES.index(before), "statuses only go forward"
        assert before in ("queued", "in_progress"), "an end is final"
        deployment.statuses.append(effect.state)
        deployment.descriptions.append(effect.description)
        if effect.state == "success":
            if self.last_good is None or self.last_good.sha != deployment.sha:
                self.before = self.last_good
            self.last_good = LastGood(sha=deployment.sha, deployment_id=deployment.id, at=EPOCH)

    async def release_state(self) -> ReleaseState:
        self.faults.point("state")
        if self.running is None:
            return ReleaseState(phase="absent")
        temper = self.tempers.get(self.running, Temper())
        self.polls += 1
        phase = temper.phase if self.polls > temper.polls else "progressing"
        return ReleaseState.model_validate(
            {
                "phase": phase,
                "sha": self.running,
                "revision": self.revision,
                "message": temper.message,
                "url": "http://127.0.0.1:8123",
            }
        )

    async def probe(self) -> Probe:
        self.faults.point("probe")
        temper = self.tempers.get(self.running or "", Temper())
        return Probe(ok=temper.healthy, status=200 if temper.healthy else 500)

    async def release_log(self, lines: int = 100) -> str:
        self.faults.point("log")
        return await super().release_log(lines)


def push() -> PushTrigger:
    return PushTrigger(
        repository=REPOSITORY, actor=ADA, delivery_id="d", ref="refs/heads/main", before=BASE,
        after=HEAD,
    )  # fmt: skip


def command(verb: str) -> CommandTrigger:
    return CommandTrigger(
        repository=REPOSITORY, actor=ADA, delivery_id="d", number=12, on_pull_request=False,
        comment_id=5, verb=verb, arguments=("staging",),
    )  # fmt: skip


def deployment(number: int, environment: str = "staging", sha: str = HEAD) -> DeploymentTrigger:
    return DeploymentTrigger(
        repository=REPOSITORY, actor=ADA, delivery_id="d", deployment_id=number,
        environment=environment, sha=sha, ref="main",
    )  # fmt: skip


def a_task(
    trigger: Trigger | None = None, *, plan: EnvironmentPlan | None = PLAN, seconds: float = 900.0,
    **changes: object,
) -> Task:  # fmt: skip
    return Task.model_validate(
        {
            "run_id": "run-1",
            "step": "ship",
            "agent": "deploy",
            "attempt": 1,
            "trigger": trigger or push(),
            "change": a_change(number=None),
            "environment": plan,
            "budget_usd": 1.0,
            "deadline": EPOCH + timedelta(seconds=seconds),
        }
        | changes
    )


async def carry_out(
    workplace: MemoryWorkplace, task: Task | None = None, model: LanguageModel | None = None
) -> TaskResult:
    """Run the deploy agent once."""
    task = task or a_task()
    clock = workplace.clock if isinstance(workplace, Estate) else BriskClock()
    return await carried_out(task, workplace, model or ScriptedModel("{}"), clock)
