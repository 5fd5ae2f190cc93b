"""A CI system in memory: each pipeline is queued, running and then as a test says it ends."""

from collections.abc import Mapping

from pipelines.errors import UserError
from pipelines.integrations.cicd import runs
from pipelines.integrations.cicd.base import PipelineProvider, PipelineRun
from pipelines.model import EnvironmentPlan, Release, ReleaseState


class MockPipelines(PipelineProvider):
    """Implements ``PipelineProvider``; ``ends`` says by commit how pipelines end, else success."""

    name = "mock"

    def __init__(self, ends: Mapping[str, str] | None = None) -> None:
        self._ends = dict(ends or {})
        self._runs: list[tuple[str, PipelineRun]] = []

    async def release(self, release: Release) -> ReleaseState:
        """Start a pipeline, or find it."""
        plan = release.environment
        deployed = runs.found(self._runs, plan)
        if runs.begun(deployed, release):
            return runs.state(deployed, plan)
        run = await self.start(plan.name, ref="main", inputs=runs.inputs(release))
        return runs.started(release, run)

    async def state(self, environment: EnvironmentPlan, *, repository: str) -> ReleaseState:
        """Let every pipeline go one phase on, then return the newest one's state."""
        self._runs = [(text, self._moved(run)) for text, run in self._runs]
        return runs.state(runs.found(self._runs, environment), environment)

    async def log(self, environment: EnvironmentPlan, *, repository: str, lines: int) -> str:
        """Return the phases of the environment's pipelines, newest first."""
        deployed = runs.found(self._runs, environment)
        return "\n".join(f"{one.run.id}: {one.run.phase}" for one in deployed[:lines])

    async def start(self, pipeline: str, *, ref: str, inputs: dict[str, str]) -> PipelineRun:
        """Start a pipeline."""
        run = PipelineRun(id=str(len(self._runs) + 1), phase="queued", sha=inputs.get("sha"))
        self._runs.append((inputs.get("key", ""), run))
        return run

    async def run(self, run_id: str) -> PipelineRun:
        """Return a pipeline as it is."""
        for _, run in self._runs:
            if run.id == run_id:
                return run
        raise UserError(f"There is no pipeline {run_id!r}.")

    async def close(self) -> None:
        """Hold nothing."""

    def _moved(self, run: PipelineRun) -> PipelineRun:
        end = self._ends.get(run.sha or "", "success")
        phase = {"queued": "running", "running": end}.get(run.phase, run.phase)
        return run.model_copy(update={"phase": phase})
