"""A Kubernetes cluster as a deployment target: a Deployment, and a Service if it has a port.

What is released is written in the Deployment's annotations, so nothing has to be remembered. It is
applied against the version that was read, so two releases at once cannot overwrite each other.
"""

from collections.abc import Mapping
from typing import Any

from pipelines.errors import UserError
from pipelines.integrations.answers import count, dig, objects, words
from pipelines.integrations.containers.kubernetes_api import KubernetesApi
from pipelines.integrations.target import (
    MAX_LOG_BYTES,
    DeploymentTarget,
    image_of,
    newest,
    refuse_older,
    service_of,
)
from pipelines.model import EnvironmentPlan, Release, ReleaseState

_SERVICE = "conductor/service"
_KEY, _SHA, _REVISION, _OF = (
    f"conductor/{word}" for word in ("key", "sha", "revision", "environment")
)
_TURN = "deployment.kubernetes.io/revision"
_MAX_WORDS = 300
Object = Mapping[str, Any]


class KubernetesTarget(DeploymentTarget):
    """Implements ``DeploymentTarget`` over one cluster; scaling is left to whoever scales."""

    name = "kubernetes"

    def __init__(self, api: KubernetesApi) -> None:
        self._api = api

    async def release(self, release: Release) -> ReleaseState:
        """Apply the Deployment of this commit, unless it is there."""
        plan = release.environment
        found = await self._api.get(_path(plan, release.repository))
        if found is not None:
            _refuse_foreign(found, release)
            if _noted(found, _KEY) == release.key:
                return await self._state(found, plan)
            refuse_older(release, _revision(found))
        version = words(found, "metadata", "resourceVersion") or None
        applied = await self._api.apply(
            _path(plan, release.repository), _deployment(release, version)
        )
        if plan.port is not None:
            path = (
                f"/api/v1/namespaces/{_space(plan)}/services/{service_of(plan, release.repository)}"
            )
            await self._api.apply(path, _service(release, plan.port))
        return await self._state(applied, plan)

    async def state(self, environment: EnvironmentPlan, *, repository: str) -> ReleaseState:
        """Return what the Deployment's conditions say."""
        found = await self._api.get(_path(environment, repository))
        if found is None:
            return ReleaseState(phase="absent")
        return await self._state(found, environment)

    async def log(self, environment: EnvironmentPlan, *, repository: str, lines: int) -> str:
        """Return the output of the newest release's newest pod, or of its start before this one."""
        found = await self._api.get(_path(environment, repository))
        pods = await self._pods(found, environment) if found else []
        if not pods:
            return ""
        path = f"{_pods_path(environment)}/{words(pods[-1], 'metadata', 'name')}/log"
        query = {"tailLines": str(max(1, lines)), "limitBytes": str(MAX_LOG_BYTES)}
        text = await self._api.text(path, query)
        return newest(text or await self._api.text(path, {**query, "previous": "true"}), lines)

    async def close(self) -> None:
        """Close the connections to the cluster."""
        await self._api.close()

    async def _state(self, found: Object, plan: EnvironmentPlan) -> ReleaseState:
        phase, message = _progress(found)
        if phase != "ready":
            message = await self._trouble(found, plan) or message
        return ReleaseState.model_validate(
            {
                "phase": phase,
                "sha": _noted(found, _SHA),
                "revision": _revision(found),
                "message": message[:_MAX_WORDS],
                "url": plan.url,
                "ready": count(found, "status", "availableReplicas"),
                "wanted": _wanted(found),
            }
        )

    async def _pods(self, found: Object, plan: EnvironmentPlan) -> list[Object]:
        """Return the pods of the newest release, oldest first."""
        selector = {"labelSelector": f"{_SERVICE}={words(found, 'metadata', 'name')}"}
        sets = await self._api.get(f"/apis/apps/v1/namespaces/{_space(plan)}/replicasets", selector)
        turn = _noted(found, _TURN)
        hashes = {_hash(each) for each in objects(sets, "items") if _noted(each, _TURN) == turn}
        pods = objects(await self._api.get(_pods_path(plan), selector), "items")
        ours = [pod for pod in pods if turn and _hash(pod) in hashes]
        return sorted(ours, key=lambda pod: words(pod, "metadata", "creationTimestamp"))

    async def _trouble(self, found: Object, plan: EnvironmentPlan) -> str:
        """Return why a container of the newest release does not run, as Kubernetes puts it."""
        for pod in await self._pods(found, plan):
            for container in objects(pod, "status", "containerStatuses"):
                reason = words(container, "state", "waiting", "reason")
                if reason not in ("", "ContainerCreating", "PodInitializing"):
                    code = dig(container, "lastState", "terminated", "exitCode")
                    ended = f" after exit code {code}" if code is not None else ""
                    said = words(container, "state", "waiting", "message")
                    return f"{reason}{ended}: {said}".removesuffix(": ")
        return ""


def _progress(found: Object) -> tuple[str, str]:
    """Return the phase and why, from the Deployment's own account."""
    if count(found, "status", "observedGeneration") < count(found, "metadata", "generation"):
        return "progressing", ""
    conditions = {words(each, "type"): each for each in objects(found, "status", "conditions")}
    if words(conditions, "Progressing", "reason") == "ProgressDeadlineExceeded":
        return "failed", words(conditions, "Progressing", "message")
    wanted, updated = _wanted(found), count(found, "status", "updatedReplicas")
    here = min(updated, count(found, "status", "availableReplicas"))
    if here >= wanted >= count(found, "status", "replicas"):
        return "ready", ""
    failure = words(conditions, "ReplicaFailure", "message")
    return "progressing", failure or f"{updated} of {wanted} pods are new"


def _wanted(found: Object) -> int:
    return 1 if dig(found, "spec", "replicas") is None else count(found, "spec", "replicas")


def _hash(found: Object) -> str:
    return words(found, "metadata", "labels", "pod-template-hash")


def _deployment(release: Release, version: str | None) -> dict[str, Any]:
    plan = release.environment
    name = service_of(plan, release.repository)
    labels = {_SERVICE: name}
    notes = {
        _KEY: release.key,
        _SHA: release.sha,
        _REVISION: str(release.revision),
        _OF: f"{release.repository}/{plan.name}",
    }
    metadata: dict[str, Any] = {"name": name, "namespace": _space(plan), "annotations": notes}
    metadata["labels"] = {**labels, "app.kubernetes.io/managed-by": "conductor"}
    if version is not None:
        metadata["resourceVersion"] = version
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata,
        "spec": {
            "progressDeadlineSeconds": max(2, int(plan.rollout_seconds)),
            "revisionHistoryLimit": 5,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels, "annotations": {_SHA: release.sha}},
                "spec": {
                    "automountServiceAccountToken": False,
                    "containers": [_container(release)],
                },
            },
        },
    }


def _container(release: Release) -> dict[str, Any]:
    plan = release.environment
    environment = [{"name": "GIT_SHA", "value": release.sha}]
    made: dict[str, Any] = {
        "name": "service",
        "image": image_of(release),
        "env": environment,
        "securityContext": {"allowPrivilegeEscalation": False},
    }
    if plan.command:
        made["command"] = list(plan.command)
    if plan.port is not None:
        environment.append({"name": "PORT", "value": str(plan.port)})
        made["ports"] = [{"containerPort": plan.port, "protocol": "TCP"}]
        if plan.health is not None:
            probe = {"httpGet": {"path": plan.health, "port": plan.port}, "periodSeconds": 2}
            made["readinessProbe"] = probe
    return made


def _service(release: Release, port: int) -> dict[str, Any]:
    name = service_of(release.environment, release.repository)
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": _space(release.environment)},
        "spec": {
            "selector": {_SERVICE: name},
            "ports": [{"name": "http", "port": port, "targetPort": port, "protocol": "TCP"}],
        },
    }


def _refuse_foreign(found: Object, release: Release) -> None:
    ours = f"{release.repository}/{release.environment.name}"
    if _noted(found, _OF) != ours:
        owner = _noted(found, _OF) or "somebody else"
        raise UserError(
            f"The Deployment {words(found, 'metadata', 'name')!r} is of {owner}, not of {ours}; "
            "give the environment another `service` or `namespace`."
        )


def _noted(found: Object, name: str) -> str | None:
    return words(found, "metadata", "annotations", name) or None


def _revision(found: Object) -> int | None:
    text = _noted(found, _REVISION) or ""
    return int(text) if text.isdecimal() else None


def _space(plan: EnvironmentPlan) -> str:
    return plan.namespace or "default"


def _path(plan: EnvironmentPlan, repository: str) -> str:
    return f"/apis/apps/v1/namespaces/{_space(plan)}/deployments/{service_of(plan, repository)}"


def _pods_path(plan: EnvironmentPlan) -> str:
    return f"/api/v1/namespaces/{_space(plan)}/pods"
