"""One environment, many who want it: the invariants, and the defects that they must show."""

from collections.abc import Generator

import pytest
import structlog

from pipelines.model import Effect, ReleaseService, Step, WorkflowRun
from pipelines.orchestration.acting import Acting
from pipelines.orchestration.environments import Deploying
from pipelines.orchestration.records import EnvironmentRecord, Tenure
from pipelines.orchestration.tidying import Tidying
from pipelines.ports import Receipt, Write
from tests.simulation.quay import Quay
from tests.simulation.simulator import seeds
from tests.simulation.world import Broken

SHARE = 40
"""Of so many seeds one is played: a history of the real thing takes that much longer."""
CHUNK = 25
SEEDS = range(seeds().start, seeds().stop, SHARE)
SEEDS_TO_FIND_IT = 300


@pytest.fixture(autouse=True)
def _quiet() -> Generator[None]:
    """What is logged is for nobody."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    yield
    structlog.reset_defaults()


@pytest.mark.parametrize("first", SEEDS[::CHUNK])
async def test_no_history_breaks_an_invariant(first: int) -> None:
    for seed in range(first, SEEDS.stop, SHARE)[:CHUNK]:
        try:
            await Quay(seed).run()
        except Exception as error:
            error.add_note(f"Reproduce it with CONDUCTOR_SIM_SEEDS={seed}-{seed}.")
            raise


async def test_a_seed_tells_the_same_history_every_time() -> None:
    for seed in range(5):
        one, two = Quay(seed), Quay(seed)
        await one.run()
        await two.run()
        assert one.forge.states == two.forge.states
        assert one.target.begun == two.target.begun
        assert one.history == two.history


async def test_the_histories_are_rich_enough_to_mean_something() -> None:
    quays = [Quay(seed) for seed in range(60)]
    for quay in quays:
        await quay.run()
    told = [states for quay in quays for states in quay.forge.states.values()]
    ends = {states[-1] for states in told if states}
    assert ends == {"success", "failure", "error"}
    assert any("belongs to another" in line for quay in quays for line in quay.history)
    assert any(len(quay.target.begun) > 2 for quay in quays)


class NobodyWaits(Acting):
    """Takes an environment from whoever is at work there."""

    async def _wait_for(
        self, run: WorkflowRun, step: Step, name: str, record: EnvironmentRecord
    ) -> None:
        return


class NoFence(Acting):
    """Releases with whatever revision the environment has now."""

    async def _carry_out(
        self, run: WorkflowRun, step: Step, effect: Effect, *, repeated: bool
    ) -> Receipt:
        plan = run.environment_of(step)
        if not isinstance(effect, ReleaseService) or plan is None:
            return await self._outlets.carry_out(run, effect, repeated=repeated)
        record = await self._state.environment(run.change.repository.tenant, plan.name)
        return await self._outlets.release(run, plan, effect, record.revision)


class SameRevision(Acting):
    """Gives every deployment the same revision."""

    async def _take(self, run: WorkflowRun, step: Step, effect: Deploying) -> list[Write]:
        tenant = run.change.repository.tenant
        writes = await super()._take(run, step, effect)
        if not writes:
            return []
        record = EnvironmentRecord.model_validate_json(writes[0].value or b"")
        tenures = tuple(each.model_copy(update={"revision": 1}) for each in record.tenures)
        version = (await self._state.environment(tenant, effect.environment)).version
        same = record.model_copy(update={"tenures": tenures, "version": version})
        return [self._state.environment_write(tenant, effect.environment, same)]


class Hasty(Tidying):
    """Ends deployments of runs that have only just ended, or not even that."""

    def _left(self, run: WorkflowRun, tenure: Tenure) -> bool:
        return True


@pytest.mark.parametrize(
    ("acting", "tidying", "invariant"),
    [
        (NobodyWaits, Tidying, "one holder"),
        (NoFence, Tidying, "stale release"),
        (SameRevision, Tidying, "revisions"),
        (Acting, Hasty, "last status"),
        (Acting, None, "under way"),
    ],
)
async def test_a_planted_defect_is_found_out(
    acting: type[Acting], tidying: type[Tidying] | None, invariant: str
) -> None:
    found: Broken | None = None
    for seed in range(SEEDS_TO_FIND_IT):
        try:
            await Quay(seed, acting=acting, tidying=tidying).run()
        except Broken as broken:
            found = broken
            break
    assert found is not None, f"{SEEDS_TO_FIND_IT} histories did not show it"
    assert found.invariant == invariant
