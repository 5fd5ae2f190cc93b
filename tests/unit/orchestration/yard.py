"""Acting on one store: runs that deploy, a forge that records, a target that keeps its promises."""

import random
from typing import Any

from pipelines.model import (
    CreateDeployment,
    EnvironmentPlan,
    PushTrigger,
    ReleaseService,
    RunState,
    SetDeploymentStatus,
    Step,
    StepState,
    Task,
    WorkflowRun,
)
from pipelines.orchestration.acting import Acting
from pipelines.orchestration.bus.local import LocalBus
from pipelines.orchestration.error_handler import ErrorHandler
from pipelines.orchestration.facts import FactFinder
from pipelines.orchestration.outlets import Outlets
from pipelines.orchestration.policy import PolicyEngine
from pipelines.orchestration.records import EnvironmentRecord
from pipelines.orchestration.standing import Standing
from pipelines.orchestration.state import StateManager
from pipelines.orchestration.tasks import Tasks
from pipelines.orchestration.tidying import Tidying
from pipelines.orchestration.workplace import Site, TaskWorkplace
from pipelines.ports import Receipt
from pipelines.stores.backend import StorageBackend
from tests.simulation.plans import AUTHOR, HEAD, REPOSITORY, a_change, a_run, a_step
from tests.support.clock import VirtualClock
from tests.support.forge import Faults, Forge
from tests.support.harbor import Harbor
from tests.support.world import FaultyBackend

AGENTS = frozenset({"review", "coding", "test", "test-data", "devops", "deploy", "monitor"})
STAGING = EnvironmentPlan(name="staging", target="mock")
TENANT = REPOSITORY.tenant


def pushed(sha: str = HEAD, **fields: Any) -> PushTrigger:
    known: dict[str, Any] = {
        "repository": REPOSITORY,
        "actor": AUTHOR,
        "delivery_id": "d-2",
        "ref": "refs/heads/main",
        "before": "0" * 40,
        "after": sha,
    }
    return PushTrigger(**(known | fields))


def deploying(run_id: str, sha: str = HEAD, *steps: Step, **fields: Any) -> WorkflowRun:
    """A run of a push to the default branch whose step ``ship`` is at work."""
    ship = a_step("ship", agent="deploy", options={"environment": "staging"}, attempt=1)
    ship = ship.model_copy(update={"state": StepState.RUNNING})
    change = a_change(sha, number=None, head_ref="main", base_ref="main")
    run = a_run(*(steps or (ship,)), change=change)
    known: dict[str, Any] = {
        "id": run_id,
        "group": run_id,
        "trigger": pushed(sha),
        "environments": (STAGING,),
    }
    return run.model_copy(update=known | fields)


def created(run: WorkflowRun, **fields: Any) -> CreateDeployment:
    known: dict[str, Any] = {
        "head_sha": run.change.head_sha,
        "sha": run.change.head_sha,
        "environment": "staging",
        "occasion": f"{run.id}/ship",
    }
    return CreateDeployment(**(known | fields))


def released(run: WorkflowRun, number: int, **fields: Any) -> ReleaseService:
    known: dict[str, Any] = {
        "head_sha": run.change.head_sha,
        "sha": run.change.head_sha,
        "environment": "staging",
        "deployment_id": number,
    }
    return ReleaseService(**(known | fields))


def told(run: WorkflowRun, number: int, state: Any) -> SetDeploymentStatus:
    return SetDeploymentStatus(
        head_sha=run.change.head_sha, environment="staging", deployment_id=number, state=state
    )


class Yard:
    """Everything that acts, put together over one store."""

    def __init__(self, inner: StorageBackend, clock: VirtualClock) -> None:
        self.inner, self.clock = inner, clock
        self.forge = Forge(faults=Faults())
        self.harbor = Harbor(self.forge.faults)

    async def start(self) -> None:
        """Put every part together on what is stored, as at the start of the process."""
        clock = self.clock
        self.backend = backend = FaultyBackend(self.inner, self.forge.faults)
        self.bus = bus = LocalBus(backend, clock)
        await bus.start()
        self.state = StateManager(backend, bus, clock)
        self.facts = FactFinder(
            state=self.state,
            standing=Standing(backend),
            source=self.forge,
            clock=clock,
            agents=AGENTS,
            day_budget_usd=None,
        )
        self.outlets = Outlets(
            reporter=self.forge,
            errors=ErrorHandler(clock=clock, rng=random.Random(1)),
            targets=lambda plan: self.harbor,
            observatories=None,
            notifier=None,
        )
        self.acting = Acting(
            state=self.state,
            outlets=self.outlets,
            policy=PolicyEngine(),
            facts=self.facts,
            bus=bus,
            clock=clock,
        )
        self.tidying = Tidying(state=self.state, acting=self.acting, clock=clock)

    async def begun(self, run: WorkflowRun) -> WorkflowRun:
        """Store a run as it is."""
        return await self.state.create(run)

    async def ended(self, run: WorkflowRun) -> WorkflowRun:
        """Store that a run is over, whatever it held."""
        stored = await self.state.get(TENANT, run.id)
        assert stored is not None
        done = tuple(s.model_copy(update={"state": StepState.COMPLETED}) for s in stored.steps)
        over = stored.model_copy(update={"state": RunState.COMPLETED, "steps": done})
        return await self.state.commit(over, before=stored)

    async def environment(self) -> EnvironmentRecord:
        return await self.state.environment(TENANT, "staging")

    async def act(self, run: WorkflowRun, effect: Any, step: str = "ship") -> Receipt:
        return await self.acting.act(run, run.step(step), effect, during=True)

    async def deploy(self, run: WorkflowRun, outcome: str = "success") -> int:
        """Bring a deployment from its beginning to its end; returns its number."""
        number = (await self.act(run, created(run))).number
        assert number is not None
        await self.act(run, told(run, number, "in_progress"))
        await self.act(run, released(run, number))
        await self.act(run, told(run, number, outcome))
        return number

    async def workplace(
        self, run: WorkflowRun, step: str = "ship", **site: Any
    ) -> tuple[TaskWorkplace, Task]:
        """The workplace of a step that is at work."""
        here = Site(
            source=self.forge,
            state=self.state,
            acting=self.acting,
            outlets=self.outlets,
            bus=self.bus,
            **site,
        )
        at_work = run.step(step).model_copy(update={"deadline": self.clock.now()})
        task = await Tasks(self.forge, self.facts, None)(run, at_work)
        return TaskWorkplace(here, run, run.step(step), task), task
