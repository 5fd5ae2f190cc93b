"""GitHub Actions as a deployment target: a workflow of the repository that deploys.

The workflow is started by ``workflow_dispatch`` with the inputs ``environment``, ``sha`` and
``key`` and must show the key in its name, which is how its run is found again:

    run-name: Deploy ${{ inputs.sha }} (${{ inputs.key }})
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol
from urllib.parse import quote

from pipelines.errors import Retryable
from pipelines.integrations.answers import count, objects, words
from pipelines.integrations.cicd import runs
from pipelines.integrations.cicd.base import PipelineProvider, PipelineRun
from pipelines.integrations.target import needed, newest
from pipelines.model import EnvironmentPlan, Release, ReleaseState

_PHASES = {
    "queued": "queued", "requested": "queued", "waiting": "queued", "pending": "queued",
    "in_progress": "running",
    "success": "success",
    "cancelled": "cancelled", "skipped": "cancelled", "stale": "cancelled",
    "failure": "failure", "timed_out": "failure", "startup_failure": "failure",
    "action_required": "failure", "neutral": "success",
}  # fmt: skip


class GitHubApi(Protocol):
    """The REST API with the rights of a repository's installation; paths begin with ``/repos``."""

    async def get(self, path: str) -> Any:
        """Return the JSON that is there, or None if nothing is."""
        ...

    async def post(self, path: str, data: Mapping[str, Any]) -> Any:
        """Send JSON; Ambiguous if it may have been carried out unseen."""
        ...


Connect = Callable[[str], Awaitable[GitHubApi]]
"""From ``owner/name`` to the API with the rights of that repository's installation."""


class GitHubActions(PipelineProvider):
    """Implements ``PipelineProvider``; a pipeline is ``OWNER/NAME/WORKFLOW``, a run's id alike."""

    name = "github-actions"

    def __init__(self, connect: Connect) -> None:
        self._connect = connect

    async def release(self, release: Release) -> ReleaseState:
        """Start the environment's workflow, or find the run that was started for this key."""
        plan, repository = release.environment, release.repository
        deployed = runs.found(await self._runs(plan, repository), plan)
        if runs.begun(deployed, release):
            return runs.state(deployed, plan)
        api = await self._connect(repository)
        branch = words(await api.get(f"/repos/{repository}"), "default_branch")
        workflow = f"{repository}/{needed(plan, 'workflow')}"
        run = await self.start(workflow, ref=branch, inputs=runs.inputs(release))
        return runs.started(release, run)

    async def state(self, environment: EnvironmentPlan, *, repository: str) -> ReleaseState:
        """Return how the newest run for the environment stands."""
        deployed = runs.found(await self._runs(environment, repository), environment)
        return runs.state(deployed, environment)

    async def log(self, environment: EnvironmentPlan, *, repository: str, lines: int) -> str:
        """Return the steps of the newest run and how each ended; its output is on GitHub."""
        deployed = runs.found(await self._runs(environment, repository), environment)
        if not deployed:
            return ""
        api, number = await self._connect(repository), deployed[0].run.id.rpartition("/")[2]
        jobs = await api.get(f"/repos/{repository}/actions/runs/{number}/jobs?per_page=100")
        rows = [
            f"{words(job, 'name')} / {words(step, 'name')}: {words(step, 'conclusion')}"
            for job in objects(jobs, "jobs")
            for step in objects(job, "steps")
        ]
        return newest("\n".join(rows), lines)

    async def start(self, pipeline: str, *, ref: str, inputs: dict[str, str]) -> PipelineRun:
        """Start a workflow; GitHub does not say which run it becomes, so the id is empty."""
        repository, _, workflow = pipeline.rpartition("/")
        path = f"/repos/{repository}/actions/workflows/{quote(workflow, safe='')}/dispatches"
        api = await self._connect(repository)
        await api.post(path, {"ref": ref, "inputs": inputs})
        return PipelineRun(id="", phase="queued", sha=inputs.get("sha"))

    async def run(self, run_id: str) -> PipelineRun:
        """Return one run."""
        repository, _, number = run_id.rpartition("/")
        api = await self._connect(repository)
        found = await api.get(f"/repos/{repository}/actions/runs/{quote(number, safe='')}")
        if found is None:
            raise Retryable(f"GitHub does not show run {run_id} of Actions.", dependency="github")
        return _run(found, repository)

    async def close(self) -> None:
        """Hold nothing: the client belongs to whoever gave it."""

    async def _runs(self, plan: EnvironmentPlan, repository: str) -> list[tuple[str, PipelineRun]]:
        """Return the runs of the environment's workflow with their names, newest first."""
        workflow = quote(needed(plan, "workflow"), safe="")
        path = f"/repos/{repository}/actions/workflows/{workflow}/runs"
        api = await self._connect(repository)
        listed = await api.get(f"{path}?event=workflow_dispatch&per_page=50")
        found = objects(listed, "workflow_runs")
        return [(words(one, "display_title"), _run(one, repository)) for one in found]


def _run(found: Any, repository: str) -> PipelineRun:
    said = words(found, "conclusion") or words(found, "status")
    return PipelineRun(
        id=f"{repository}/{count(found, 'id')}",
        phase=_PHASES.get(said, "unknown"),
        url=words(found, "html_url") or None,
        sha=words(found, "head_sha") or None,
    )
