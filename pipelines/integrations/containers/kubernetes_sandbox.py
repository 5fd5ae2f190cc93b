"""Sandbox in a cluster: each job is a Job whose only pod is hardened and cut off from the network.

The files come in and the results go out by executions in the pod, so no registry, volume or secret
of the cluster is needed. The namespace should be one that holds nothing else.
"""

import hashlib
import re
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from pipelines.errors import Retryable, UserError
from pipelines.integrations.answers import count, dig, objects, words
from pipelines.integrations.containers.base import Sandbox
from pipelines.integrations.containers.kubernetes_api import (
    NAME,
    KubernetesApi,
    KubernetesExecution,
)
from pipelines.integrations.containers.layout import Layout, laid_out
from pipelines.integrations.containers.profile import WORK
from pipelines.integrations.containers.waiting import (
    CHOOSE_ME,
    FIRST,
    OWN_PROCESSES,
    SPARE_SECONDS,
    Limit,
    Place,
    Waiting,
)
from pipelines.model import SandboxInfo, SandboxJob, SandboxResult
from pipelines.ports import Clock, Ids, Snapshot

LABEL = "conductor/sandbox"
_POLICY = "conductor-sandbox"
_START_SECONDS = 180.0
"""How long a pod may take to be scheduled, to get its image and to start."""
_END_SECONDS = 120.0
_LOOK_SECONDS = 0.25
_CPUS = 2
_FIRST_USER = 1_000_000_000
_SCRATCH = "/tmp"  # noqa: S108 - the container's own
_HOPELESS = frozenset(
    {"ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName",
     "CreateContainerConfigError", "CreateContainerError", "RunContainerError"}
)  # fmt: skip
_IMAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/:@-]{0,254}")

# The shells do not agree on the letter. What the command leaves is ended at once, because some
# runtimes keep an execution's connection open as long as anybody has its output.
_COMMAND = f"""
unset $(env | sed -n 's/^\\(KUBERNETES_[A-Z0-9_]*\\)=.*/\\1/p')
ulimit -u "$CONDUCTOR_PROCESSES" 2>/dev/null || ulimit -p "$CONDUCTOR_PROCESSES" 2>/dev/null
unset CONDUCTOR_PROCESSES
({CHOOSE_ME}; exec /bin/sh -c "$0")
code=$?
kill -9 -1
exit "$code"
"""


@dataclass(frozen=True, slots=True)
class KubernetesOptions:
    """What the operator decides; a repository has no say in it but the image's name."""

    namespace: str = "conductor-sandbox"
    """Must be there; jobs can be told apart from nothing else in it."""
    image: str | None = None
    """For jobs that name none."""
    pull: str = "IfNotPresent"
    """``imagePullPolicy``; ``Never`` for images that the nodes have."""
    runtime_class: str | None = None
    """None for gVisor or Kata if the cluster has a class of that name."""


class KubernetesSandbox(Sandbox):
    """Runs each job in a pod of its own, which is gone at the end whatever happened."""

    def __init__(
        self,
        api: KubernetesApi,
        ids: Ids,
        clock: Clock,
        info: SandboxInfo,
        options: KubernetesOptions,
    ) -> None:
        self._api = api
        self._ids = ids
        self._clock = clock
        self._info = info
        self._options = options
        self._running: set[str] = set()

    @property
    def info(self) -> SandboxInfo:
        """Level 2, or 4 in a runtime class of its own."""
        return self._info

    async def run(self, job: SandboxJob, snapshot: Snapshot) -> SandboxResult:
        """Run the job as ``Sandbox.run`` says; UserError if its image cannot be had."""
        layout = laid_out(snapshot, job.edits)
        image = _image(job.image or self._options.image)
        name = f"conductor-sandbox-{self._ids().lower()}"
        self._running.add(name)
        try:
            await deny_network(self._api, self._options.namespace)
            body = job_object(name, job, layout, image, self._options)
            await self._api.create(_jobs(self._options.namespace), body)
            pod = await self._started(name)
            return await self._inside(pod, job, layout)
        finally:
            self._running.discard(name)
            await removed(self._api, self._options.namespace, name, self._clock)

    async def close(self) -> None:
        """Remove the jobs that still run."""
        for name in list(self._running):
            await removed(self._api, self._options.namespace, name, self._clock)

    async def _started(self, name: str) -> Mapping[str, Any]:
        """Wait until the job's pod runs; raise what keeps it from that."""
        waited = 0.0
        while True:
            pods = await _pods(self._api, self._options.namespace, name)
            state = _state(pods[0]) if pods else None
            if dig(state, "running") is not None:
                return pods[0]
            reason = words(state, "waiting", "reason")
            if reason in _HOPELESS:
                said = words(state, "waiting", "message")[:300]
                raise UserError(f"The sandbox's pod does not start: {reason}: {said}")
            if dig(state, "terminated") is not None or waited >= _START_SECONDS:
                said = reason or _unscheduled(pods) or "it ended or was never made"
                raise Retryable(f"The sandbox's pod did not start: {said}", dependency=NAME)
            await self._clock.sleep(_LOOK_SECONDS)
            waited += _LOOK_SECONDS

    async def _inside(
        self, pod: Mapping[str, Any], job: SandboxJob, layout: Layout
    ) -> SandboxResult:
        path = _pod(pod)

        def execute(
            script: Sequence[str], stdin: bool
        ) -> AbstractAsyncContextManager[KubernetesExecution]:
            return self._execution(path, script, stdin=stdin)

        image = words(_container_status(pod), "imageID")
        place = Place(execute, _COMMAND, self._info, image, NAME)
        waiting = Waiting(place, job)
        try:
            return await waiting.run(layout)
        except (Retryable, UserError):
            limit = _limit(await self._api.get(path))
            if not limit:
                raise
            return waiting.ended(None, limit)

    @asynccontextmanager
    async def _execution(
        self, path: str, script: Sequence[str], *, stdin: bool
    ) -> AsyncGenerator[KubernetesExecution]:
        command = ["/bin/sh", "-c", *script]
        async with self._api.execution(path, command, stdin=stdin) as execution:
            yield execution


def job_object(
    name: str, job: SandboxJob, layout: Layout, image: str, options: KubernetesOptions
) -> dict[str, Any]:
    """Return the whole Job; nothing in it but names and numbers depends on the repository."""
    labels = {LABEL: name, "app.kubernetes.io/managed-by": "conductor"}
    seconds = int(job.timeout_seconds) + SPARE_SECONDS
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "namespace": options.namespace, "labels": labels},
        "spec": {
            "backoffLimit": 0,
            "activeDeadlineSeconds": seconds + int(_START_SECONDS),
            "ttlSecondsAfterFinished": SPARE_SECONDS,
            "template": {
                "metadata": {"labels": labels},
                "spec": _pod_spec(name, job, layout, image, options),
            },
        },
    }


def _pod_spec(
    name: str, job: SandboxJob, layout: Layout, image: str, options: KubernetesOptions
) -> dict[str, Any]:
    # Limits of processes count by user on the whole node, so that each job needs a user of its own.
    user = _FIRST_USER + int.from_bytes(hashlib.sha256(name.encode()).digest()[:4]) % 1_000_000
    scratch = job.memory_bytes // 4
    spec: dict[str, Any] = {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": 1,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "hostNetwork": False,
        "hostPID": False,
        "hostIPC": False,
        "shareProcessNamespace": False,
        "hostname": "sandbox",
        "dnsPolicy": "None",
        "dnsConfig": {"nameservers": ["127.0.0.1"]},
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": user,
            "runAsGroup": user,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [_container(job, layout, image, options)],
        "volumes": [
            _volume("work", layout.size + job.memory_bytes // 2),
            _volume("scratch", scratch),
        ],
    }
    if options.runtime_class is not None:
        spec["runtimeClassName"] = options.runtime_class
    return spec


def _container(
    job: SandboxJob, layout: Layout, image: str, options: KubernetesOptions
) -> dict[str, Any]:
    environment = {
        "HOME": _SCRATCH,
        "CI": "1",
        "CONDUCTOR_SANDBOX": "kubernetes",
        **job.environment,
        "CONDUCTOR_PROCESSES": str(job.processes + OWN_PROCESSES),
    }
    limits = {"cpu": str(_CPUS), "memory": str(job.memory_bytes + layout.size)}
    limits["ephemeral-storage"] = str(64 << 20)
    return {
        "name": "sandbox",
        "image": image,
        "imagePullPolicy": options.pull,
        "command": ["/bin/sh", "-c", FIRST, str(int(job.timeout_seconds) + SPARE_SECONDS)],
        "workingDir": WORK,
        # Kubernetes would put other variables in place of what looks like their names.
        "env": [{"name": n, "value": v.replace("$", "$$")} for n, v in environment.items()],
        "securityContext": {
            "privileged": False,
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "resources": {"limits": limits, "requests": {**limits, "cpu": "250m"}},
        "volumeMounts": [
            {"name": "work", "mountPath": WORK},
            {"name": "scratch", "mountPath": _SCRATCH},
        ],
    }


def _volume(name: str, size: int) -> dict[str, Any]:
    return {"name": name, "emptyDir": {"medium": "Memory", "sizeLimit": str(size)}}


async def deny_network(api: KubernetesApi, namespace: str) -> None:
    """Forbid sandboxes every connection; it is for the cluster's network to keep to that."""
    body = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": _POLICY, "namespace": namespace},
        "spec": {
            "podSelector": {"matchExpressions": [{"key": LABEL, "operator": "Exists"}]},
            "policyTypes": ["Ingress", "Egress"],
        },
    }
    root = f"/apis/networking.k8s.io/v1/namespaces/{namespace}/networkpolicies"
    await api.apply(f"{root}/{_POLICY}", body)


async def removed(api: KubernetesApi, namespace: str, name: str, clock: Clock) -> None:
    """Delete a job and wait until nothing of its pod runs any more; Retryable if something does."""
    await api.delete(f"{_jobs(namespace)}/{name}")
    waited = 0.0
    while pods := [pod for pod in await _pods(api, namespace, name) if not _over(pod)]:
        if waited >= _END_SECONDS:
            raise Retryable("The pod of a sandbox does not end.", dependency=NAME)
        for pod in pods:
            if dig(pod, "metadata", "deletionTimestamp") is None:
                await api.delete(_pod(pod))
        await clock.sleep(_LOOK_SECONDS)
        waited += _LOOK_SECONDS


def _over(pod: object) -> bool:
    """Whether the pod is being deleted and its container has ended; its object may go later."""
    deleted = dig(pod, "metadata", "deletionTimestamp") is not None
    ended = words(pod, "status", "phase") in ("Failed", "Succeeded")
    return deleted and ended and dig(_state(pod), "running") is None


async def swept(api: KubernetesApi, namespace: str, clock: Clock) -> None:
    """Remove jobs that a Conductor which was killed left: those that are over, or overdue."""
    for each in objects(await api.get(_jobs(namespace), {"labelSelector": LABEL}), "items"):
        made = datetime.fromisoformat(words(each, "metadata", "creationTimestamp"))
        allowed = timedelta(seconds=count(each, "spec", "activeDeadlineSeconds"))
        over = any(words(c, "status") == "True" for c in objects(each, "status", "conditions"))
        if over or clock.now() - made > allowed:
            await removed(api, namespace, words(each, "metadata", "name"), clock)


async def _pods(api: KubernetesApi, namespace: str, name: str) -> list[dict[str, Any]]:
    selector = {"labelSelector": f"{LABEL}={name}"}
    return objects(await api.get(f"/api/v1/namespaces/{namespace}/pods", selector), "items")


def _image(image: str | None) -> str:
    if not image:
        raise UserError("The Kubernetes sandbox needs an image: name one with `image:`.")
    if not _IMAGE.fullmatch(image) or ".." in image:
        raise UserError(f"{image!r} is not the name of an image.")
    return image


def _limit(pod: object) -> Limit:
    """Return the limit by which the cluster itself ended a pod, or nothing."""
    reason = words(pod, "status", "reason")
    if words(_state(pod), "terminated", "reason") == "OOMKilled":
        return "memory"
    if reason == "DeadlineExceeded":
        return "time"
    evicted = reason == "Evicted"
    return "disk" if evicted and "emptyDir" in words(pod, "status", "message") else ""


def _container_status(pod: object) -> dict[str, Any]:
    found = objects(pod, "status", "containerStatuses")
    return found[0] if found else {}


def _state(pod: object) -> Any:
    return dig(_container_status(pod), "state")


def _unscheduled(pods: Sequence[object]) -> str:
    conditions = [each for pod in pods for each in objects(pod, "status", "conditions")]
    return next((said for each in conditions if (said := words(each, "message"))), "")


def _jobs(namespace: str) -> str:
    return f"/apis/batch/v1/namespaces/{namespace}/jobs"


def _pod(pod: object) -> str:
    space, name = words(pod, "metadata", "namespace"), words(pod, "metadata", "name")
    return f"/api/v1/namespaces/{space}/pods/{name}"
