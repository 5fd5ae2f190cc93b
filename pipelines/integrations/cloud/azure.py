"""Azure Container Apps as a deployment target: a new revision of an app that is there.

The app itself (environment, ingress, registry) is the operator's; a release changes the image of
its container. The app's tags say what was released. Source: Azure's REST API of Microsoft.App.
"""

from typing import Any

from pipelines.errors import UserError
from pipelines.integrations.answers import count, dig, objects, words
from pipelines.integrations.cloud.base import Account, CloudProvider
from pipelines.integrations.rest import Rest
from pipelines.integrations.target import image_of, needed, refuse_older, service_of
from pipelines.model import EnvironmentPlan, Release, ReleaseState

ROOT = "https://management.azure.com"
VERSION = {"api-version": "2025-07-01"}
_KEY, _SHA, _REVISION = (f"conductor-{word}" for word in ("key", "sha", "revision"))


class AzureCloud(CloudProvider):
    """Implements ``CloudProvider``; an environment's ``project`` is the subscription's id."""

    name = "azure"

    def __init__(self, api: Rest) -> None:
        """``api`` has ``ROOT`` as its root."""
        self._api = api

    async def account(self) -> Account:
        """Return the first subscription that the credentials may see."""
        found = objects(
            await self._api.get("/subscriptions", {"api-version": "2022-12-01"}), "value"
        )
        if not found:
            raise UserError("The Azure credentials may see no subscription.")
        return Account(id=words(found[0], "subscriptionId"))

    async def release(self, release: Release) -> ReleaseState:
        """Have the app run the commit's image, unless it does."""
        plan = release.environment
        path = _path(plan, release.repository)
        found = await self._api.get(path, VERSION)
        if found is None:
            raise UserError(
                f"There is no container app {service_of(plan, release.repository)!r}; create it "
                "once, releases then change its image."
            )
        if words(found, "tags", _KEY) != release.key:
            refuse_older(release, count(found, "tags", _REVISION))
            await self._api.send("PATCH", path, _app(release, found), VERSION)
        return await self.state(plan, repository=release.repository)

    async def state(self, environment: EnvironmentPlan, *, repository: str) -> ReleaseState:
        """Return how the app's newest revision stands."""
        path = _path(environment, repository)
        found = await self._api.get(path, VERSION)
        if found is None:
            return ReleaseState(phase="absent")
        latest = words(found, "properties", "latestRevisionName")
        revision = await self._api.get(f"{path}/revisions/{latest}", VERSION) if latest else None
        phase, message = _progress(found, revision)
        host = words(found, "properties", "configuration", "ingress", "fqdn")
        return ReleaseState.model_validate(
            {
                "phase": phase,
                "sha": words(found, "tags", _SHA) or None,
                "revision": count(found, "tags", _REVISION) or None,
                "message": message[:300],
                "url": environment.url or (f"https://{host}" if host else None),
                "ready": count(revision, "properties", "replicas") if phase == "ready" else 0,
                "wanted": count(revision, "properties", "replicas"),
            }
        )

    async def log(self, environment: EnvironmentPlan, *, repository: str, lines: int) -> str:
        """Return nothing: the output is in Log Analytics, which has an address of its own."""
        return ""

    async def close(self) -> None:
        """Hold nothing: the client belongs to whoever gave it."""


def _progress(app: Any, revision: Any) -> tuple[str, str]:
    """Return the phase and why, from the app's provisioning and its newest revision's health."""
    provisioning = words(app, "properties", "provisioningState")
    if provisioning in ("InProgress", "Updating"):
        return "progressing", ""
    message = words(revision, "properties", "provisioningError")
    running = words(revision, "properties", "runningState")
    broken = provisioning in ("Failed", "Canceled") or running in ("Failed", "Degraded")
    if broken or words(revision, "properties", "provisioningState") == "Failed":
        return "failed", message or f"The revision is {running or provisioning}."
    healthy = words(revision, "properties", "healthState") == "Healthy"
    return ("ready" if healthy else "progressing"), message


def _app(release: Release, found: Any) -> dict[str, Any]:
    """Return what changes of the app: image and commit of its container, and the tags."""
    name = service_of(release.environment, release.repository)
    containers = objects(found, "properties", "template", "containers")
    if not containers:
        raise UserError(f"The container app {name!r} has no container.")
    ours = next((one for one in containers if words(one, "name") == name), containers[0])
    environment = [one for one in objects(ours, "env") if words(one, "name") != "GIT_SHA"]
    environment.append({"name": "GIT_SHA", "value": release.sha})
    changed = {**ours, "image": image_of(release), "env": environment}
    tags: dict[str, Any] = dig(found, "tags") or {}
    notes = {_KEY: release.key, _SHA: release.sha, _REVISION: str(release.revision)}
    template = {"containers": [changed if one is ours else one for one in containers]}
    return {"tags": {**tags, **notes}, "properties": {"template": template}}


def _path(plan: EnvironmentPlan, repository: str) -> str:
    group = (
        f"/subscriptions/{needed(plan, 'project')}/resourceGroups/{needed(plan, 'resource_group')}"
    )
    return f"{group}/providers/Microsoft.App/containerApps/{service_of(plan, repository)}"
