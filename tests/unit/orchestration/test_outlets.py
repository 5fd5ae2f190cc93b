"""What is done around an effect: measuring before a release, where the target says."""

import random

import httpx2
import pytest

from pipelines.errors import Retryable
from pipelines.integrations.observability.observatory import Instruments, Observatory
from pipelines.model import EnvironmentPlan, ReleaseState, WorkflowRun
from pipelines.net import AllowedHosts, GuardedClient
from pipelines.orchestration.error_handler import ErrorHandler
from pipelines.orchestration.outlets import Outlets
from tests.support.forge import Faults
from tests.support.harbor import Harbor
from tests.support.scrapes import MemoryScrapes
from tests.unit.orchestration.yard import STAGING, Yard, deploying, released


class Place:
    """An environment that is measured, at a target that knows where it is."""

    def __init__(self, yard: Yard, harbor: Harbor) -> None:
        self.asked: list[str] = []
        self.harbor = harbor
        transport = httpx2.MockTransport(self._answer)
        web = GuardedClient(AllowedHosts.parse(("127.0.0.1",)), transport=transport)
        observatory = Observatory(Instruments(clock=yard.clock, web=web), MemoryScrapes())
        self.outlets = Outlets(
            reporter=yard.forge,
            errors=ErrorHandler(clock=yard.clock, rng=random.Random(1)),
            targets=lambda plan: harbor,
            observatories=lambda tenant: observatory,
            notifier=None,
        )

    def _answer(self, request: httpx2.Request) -> httpx2.Response:
        self.asked.append(str(request.url))
        return httpx2.Response(200, text="up 1\n")

    async def release(self, run: WorkflowRun, plan: EnvironmentPlan, revision: int) -> None:
        effect = released(run, revision, sha=str(revision) * 40)
        await self.outlets.release(run, plan, effect, revision)


class Silent(Harbor):
    async def state(self, environment: EnvironmentPlan, *, repository: str) -> ReleaseState:
        if not self.begun:
            raise Retryable("The target is away.")
        return await super().state(environment, repository=repository)


async def test_before_a_release_what_runs_is_measured_where_the_target_says(yard: Yard) -> None:
    place = Place(yard, Harbor(Faults()))
    plan, run = STAGING.model_copy(update={"metrics": "/metrics"}), deploying("a")
    await place.release(run, plan, 1)
    assert place.asked == [], "nothing ran yet"
    await place.release(run, plan, 2)
    assert place.asked == ["http://127.0.0.1:9/metrics"]
    assert [each.revision for each in place.harbor.begun] == [1, 2]


async def test_the_plans_own_address_goes_before_the_targets(yard: Yard) -> None:
    place = Place(yard, Harbor(Faults()))
    plan = STAGING.model_copy(update={"metrics": "/metrics", "url": "http://127.0.0.1:8000"})
    await place.release(deploying("a"), plan, 1)
    assert place.asked == ["http://127.0.0.1:8000/metrics"]


@pytest.mark.parametrize("metrics", [None, "/metrics"])
async def test_a_release_does_not_depend_on_what_is_measured_before(
    yard: Yard, metrics: str | None
) -> None:
    place = Place(yard, Silent(Faults()))
    await place.release(deploying("a"), STAGING.model_copy(update={"metrics": metrics}), 1)
    assert place.asked == []
    assert [each.revision for each in place.harbor.begun] == [1]
