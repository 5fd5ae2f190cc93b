"""GitLab CI as a deployment target: a pipeline of a project that deploys.

A pipeline is created on the project's default branch with the variables ``CONDUCTOR_ENVIRONMENT``,
``CONDUCTOR_SHA`` and ``CONDUCTOR_KEY``; it is found again by the last.
Source: GitLab's REST API v4.
"""

from typing import Any
from urllib.parse import quote

from pipelines.errors import UserError
from pipelines.integrations.answers import count, objects, words
from pipelines.integrations.cicd import runs
from pipelines.integrations.cicd.base import PipelineProvider, PipelineRun
from pipelines.integrations.rest import Rest
from pipelines.integrations.target import needed, newest
from pipelines.model import EnvironmentPlan, Release, ReleaseState

_PREFIX = "CONDUCTOR_"
_LOOKED_AT = 20
"""How many of the newest pipelines are looked at for the environment's own."""
_PHASES = {
    "created": "queued", "waiting_for_resource": "queued", "preparing": "queued",
    "pending": "queued", "scheduled": "queued", "manual": "queued",
    "running": "running", "canceling": "running",
    "success": "success",
    "failed": "failure",
    "canceled": "cancelled", "skipped": "cancelled",
}  # fmt: skip


class GitLabCi(PipelineProvider):
    """Implements ``PipelineProvider``; an environment's ``project`` is the path or number."""

    name = "gitlab-ci"

    def __init__(self, api: Rest) -> None:
        """``api`` has ``https://HOST/api/v4`` as its root and sends ``PRIVATE-TOKEN``."""
        self._api = api

    async def release(self, release: Release) -> ReleaseState:
        """Create the pipeline of this release, or find it."""
        plan = release.environment
        deployed = runs.found(await self._runs(plan), plan)
        if runs.begun(deployed, release):
            return runs.state(deployed, plan)
        project = await self._api.get(_project(needed(plan, "project")))
        branch = words(project, "default_branch")
        if not branch:
            raise UserError(f"GitLab shows no project {plan.project!r} to this token.")
        run = await self.start(needed(plan, "project"), ref=branch, inputs=runs.inputs(release))
        return runs.started(release, run)

    async def state(self, environment: EnvironmentPlan, *, repository: str) -> ReleaseState:
        """Return how the newest pipeline for the environment stands."""
        return runs.state(runs.found(await self._runs(environment), environment), environment)

    async def log(self, environment: EnvironmentPlan, *, repository: str, lines: int) -> str:
        """Return the jobs of the newest pipeline and how each ended; their output is on GitLab."""
        deployed = runs.found(await self._runs(environment), environment)
        if not deployed:
            return ""
        number = deployed[0].run.id.rpartition("/")[2]
        path = f"{_project(needed(environment, 'project'))}/pipelines/{number}/jobs"
        jobs = await self._api.get(path, {"per_page": "100"})
        rows = [f"{words(job, 'name')}: {words(job, 'status')}" for job in objects({"": jobs}, "")]
        return newest("\n".join(rows), lines)

    async def start(self, pipeline: str, *, ref: str, inputs: dict[str, str]) -> PipelineRun:
        """Create a pipeline of a project; the inputs become its variables."""
        variables = [
            {"key": f"{_PREFIX}{name.upper()}", "value": value} for name, value in inputs.items()
        ]
        body = {"ref": ref, "variables": variables}
        return _run(pipeline, await self._api.send("POST", f"{_project(pipeline)}/pipeline", body))

    async def run(self, run_id: str) -> PipelineRun:
        """Return one pipeline; its id is ``PROJECT/NUMBER``."""
        project, _, number = run_id.rpartition("/")
        found = await self._api.get(f"{_project(project)}/pipelines/{quote(number, safe='')}")
        if found is None:
            raise UserError(f"GitLab shows no pipeline {run_id!r} to this token.")
        return _run(project, found)

    async def close(self) -> None:
        """Hold nothing: the client belongs to whoever gave it."""

    async def _runs(self, plan: EnvironmentPlan) -> list[tuple[str, PipelineRun]]:
        """Return the newest pipelines that the API created, with what their key variable says."""
        project = needed(plan, "project")
        path = f"{_project(project)}/pipelines"
        query = {"source": "api", "per_page": str(_LOOKED_AT), "order_by": "id"}
        listed = objects({"": await self._api.get(path, query)}, "")
        return [(await self._label(path, one), _run(project, one)) for one in listed]

    async def _label(self, path: str, pipeline: Any) -> str:
        variables = await self._api.get(f"{path}/{count(pipeline, 'id')}/variables")
        texts = {words(one, "key"): words(one, "value") for one in objects({"": variables}, "")}
        return texts.get(f"{_PREFIX}KEY", "")


def _project(project: str) -> str:
    return f"/projects/{quote(project, safe='')}"


def _run(project: str, found: Any) -> PipelineRun:
    return PipelineRun(
        id=f"{project}/{count(found, 'id')}",
        phase=_PHASES.get(words(found, "status"), "unknown"),
        url=words(found, "web_url") or None,
        sha=words(found, "sha") or None,
    )
