"""Google Cloud Run as a deployment target: a new revision of a service, by its v2 REST API.

The service is made if it is not there. Its annotations say what was released; Cloud Run sends
traffic to a revision only once it is ready, so the old one goes on answering until then.
"""

from typing import Any

from pipelines.errors import UserError
from pipelines.integrations.answers import count, dig, objects, words
from pipelines.integrations.cloud.base import Account, CloudProvider
from pipelines.integrations.rest import Rest
from pipelines.integrations.target import image_of, needed, refuse_older, service_of
from pipelines.model import EnvironmentPlan, Release, ReleaseState

ROOT = "https://run.googleapis.com/v2"
_KEY, _SHA, _REVISION, _OF = (
    f"conductor/{word}" for word in ("key", "sha", "revision", "environment")
)


class GoogleCloud(CloudProvider):
    """Implements ``CloudProvider``; an environment names ``project`` and ``region``."""

    name = "gcp"

    def __init__(self, api: Rest, project: str = "") -> None:
        """``api`` has ``ROOT`` as its root; ``project`` is that of the credentials."""
        self._api = api
        self._project = project

    async def account(self) -> Account:
        """Return the project of the credentials."""
        if not self._project:
            raise UserError("The Google credentials name no project.")
        return Account(id=self._project)

    async def release(self, release: Release) -> ReleaseState:
        """Create the service, or have it run the commit's image, unless it does."""
        plan = release.environment
        found = await self._api.get(_path(plan, release.repository))
        if found is None:
            query = {"serviceId": service_of(plan, release.repository)}
            await self._api.send("POST", _parent(plan), _service(release, None), query)
        elif _noted(found, _KEY) != release.key:
            _refuse_foreign(found, release)
            refuse_older(release, count(found, "annotations", _REVISION))
            body = _service(release, found)
            await self._api.send("PATCH", _path(plan, release.repository), body)
        return await self.state(plan, repository=release.repository)

    async def state(self, environment: EnvironmentPlan, *, repository: str) -> ReleaseState:
        """Return what the service's terminal condition says."""
        found = await self._api.get(_path(environment, repository))
        if found is None:
            return ReleaseState(phase="absent")
        phase, message = _progress(found)
        return ReleaseState.model_validate(
            {
                "phase": phase,
                "sha": _noted(found, _SHA),
                "revision": count(found, "annotations", _REVISION) or None,
                "message": message[:300],
                "url": words(found, "uri") or environment.url,
                "log_url": words(found, "terminalCondition", "logUri") or None,
                "ready": 1 if phase == "ready" else 0,
                "wanted": 1,
            }
        )

    async def log(self, environment: EnvironmentPlan, *, repository: str, lines: int) -> str:
        """Return nothing: Cloud Run's output is in Cloud Logging, which the state links to."""
        return ""

    async def close(self) -> None:
        """Hold nothing: the client belongs to whoever gave it."""


def _progress(found: Any) -> tuple[str, str]:
    if dig(found, "reconciling") is True or count(found, "observedGeneration") < count(
        found, "generation"
    ):
        return "progressing", ""
    state = words(found, "terminalCondition", "state")
    message = words(found, "terminalCondition", "message")
    if state == "CONDITION_SUCCEEDED":
        return "ready", ""
    return ("failed" if state == "CONDITION_FAILED" else "progressing"), message


def _service(release: Release, found: Any) -> dict[str, Any]:
    """Return the service as it shall be; of what is there everything else is kept."""
    plan = release.environment
    template: dict[str, Any] = dict(dig(found, "template") or {})
    template.pop("revision", None)
    containers = objects(template, "containers") or [{}]
    environment = [one for one in objects(containers[0], "env") if words(one, "name") != "GIT_SHA"]
    first = {
        **containers[0],
        "image": image_of(release),
        "env": [*environment, {"name": "GIT_SHA", "value": release.sha}],
    }
    if plan.command:
        first["command"] = list(plan.command)
    if plan.port is not None:
        first["ports"] = [{"containerPort": plan.port}]
    template["containers"] = [first, *containers[1:]]
    kept: dict[str, Any] = dig(found, "annotations") or {}
    notes: dict[str, Any] = {
        **kept,
        _KEY: release.key,
        _SHA: release.sha,
        _REVISION: str(release.revision),
        _OF: f"{release.repository}/{plan.name}",
    }
    body: dict[str, Any] = {"template": template, "annotations": notes}
    return {**body, "etag": words(found, "etag")} if found else body


def _refuse_foreign(found: Any, release: Release) -> None:
    ours = f"{release.repository}/{release.environment.name}"
    owner = _noted(found, _OF)
    if owner not in (None, ours):
        raise UserError(f"The Cloud Run service belongs to {owner}, not to {ours}.")


def _noted(found: Any, name: str) -> str | None:
    return words(found, "annotations", name) or None


def _parent(plan: EnvironmentPlan) -> str:
    return f"/projects/{needed(plan, 'project')}/locations/{needed(plan, 'region')}/services"


def _path(plan: EnvironmentPlan, repository: str) -> str:
    return f"{_parent(plan)}/{service_of(plan, repository)}"
