"""Kubernetes: sandbox and deployment target on one cluster."""

from dataclasses import replace

from pipelines.errors import Retryable, UserError
from pipelines.integrations.answers import objects, words
from pipelines.integrations.containers.base import Build, Built, ContainerRuntime
from pipelines.integrations.containers.kubernetes import KubernetesTarget
from pipelines.integrations.containers.kubernetes_api import KubernetesApi
from pipelines.integrations.containers.kubernetes_sandbox import (
    KubernetesOptions,
    KubernetesSandbox,
    swept,
)
from pipelines.model import SandboxInfo, SandboxJob
from pipelines.ports import Clock, Ids, Snapshot

_STRONG = frozenset({"runsc", "gvisor", "kata", "kata-qemu", "kata-clh", "kata-fc"})
"""Names and handlers of runtime classes with a kernel of their own."""
_TRIAL_SECONDS = 30.0
_SHARED = "the cluster has no runtime class for gVisor or Kata, so pods share the nodes' kernel"
_OPEN = (
    "the cluster's network does not keep to NetworkPolicies, so that jobs would have network; "
    "it needs a network plugin that does"
)
_UNKNOWN = (
    "whether the cluster's network keeps to NetworkPolicies could not be seen: the image has none "
    "of python3, nc and bash"
)

# The API server is what every pod could reach without a policy.
_TRIAL = """
of() { tr '\\0' '\\n' </proc/1/environ | sed -n "s/^KUBERNETES_SERVICE_$1=//p"; }
host=$(of HOST) port=$(of PORT)
code='import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), 3)'
if [ -z "$host" ]; then echo UNKNOWN
elif command -v python3 >/dev/null; then
  python3 -c "$code" "$host" "$port" 2>/dev/null && echo OPEN || echo CLOSED
elif command -v nc >/dev/null; then
  nc -w 3 "$host" "$port" </dev/null >/dev/null 2>&1 && echo OPEN || echo CLOSED
elif command -v bash >/dev/null; then
  timeout 3 bash -c ": </dev/tcp/$host/$port" 2>/dev/null && echo OPEN || echo CLOSED
else echo UNKNOWN
fi
exit 7
"""


class KubernetesRuntime(KubernetesTarget, ContainerRuntime):
    """One cluster; its sandbox uses gVisor or Kata where the cluster has a class for it."""

    def __init__(
        self,
        api: KubernetesApi,
        ids: Ids,
        clock: Clock,
        *,
        options: KubernetesOptions | None = None,
    ) -> None:
        super().__init__(api)
        self._ids = ids
        self._clock = clock
        self._options = options or KubernetesOptions()
        self._sandbox: KubernetesSandbox | None = None

    async def available(self) -> SandboxInfo:
        """Remove what was left behind, and run something in the default image.

        Level 1 if nobody can tell that the network is closed, no sandbox if it is open.
        """
        if not self._options.image:
            return _none("no image is set for sandboxes (CONDUCTOR_SANDBOX_IMAGE)")
        try:
            await swept(self._api, self._options.namespace, self._clock)
            options = replace(self._options, runtime_class=await self._runtime_class())
            info = await self._tried(options)
        except (Retryable, UserError) as error:
            return _none(f"kubernetes does not work: {error}")
        if info.usable:
            self._sandbox = self._made(info, options)
        return info

    def sandbox(self) -> KubernetesSandbox:
        """Return the sandbox; UserError before ``available`` has found it usable."""
        if self._sandbox is None:
            raise UserError("Kubernetes was not found to work as a sandbox here.")
        return self._sandbox

    async def build(self, build: Build, snapshot: Snapshot) -> Built:
        """Refuse: a cluster has no builder of its own."""
        raise UserError(
            f"Kubernetes builds no images, so {build.tag!r} cannot be built on it; a Docker engine "
            "or a pipeline can."
        )

    async def close(self) -> None:
        """Remove sandboxes and close connections; releases go on running."""
        if self._sandbox is not None:
            await self._sandbox.close()
        await super().close()

    def _made(self, info: SandboxInfo, options: KubernetesOptions) -> KubernetesSandbox:
        return KubernetesSandbox(self._api, self._ids, self._clock, info, options)

    async def _tried(self, options: KubernetesOptions) -> SandboxInfo:
        level, reason = (4, "") if options.runtime_class else (2, _SHARED)
        info = SandboxInfo(name=self.name, level=level, reason=reason)
        job = SandboxJob(command=_TRIAL, timeout_seconds=_TRIAL_SECONDS)
        result = await self._made(info, options).run(job, Snapshot(sha="0" * 40, files={}))
        if result.exit_code != 7 or result.limit:
            return _none(f"the trial in the cluster ended with {result.exit_code}")
        said = result.output.split()
        if "CLOSED" in said:
            return info
        if "OPEN" in said:
            return _none(_OPEN)
        return SandboxInfo(name=self.name, level=1, reason=_UNKNOWN)

    async def _runtime_class(self) -> str | None:
        """Return the class to run in: the operator's, or one that is known to be strong."""
        if self._options.runtime_class is not None:
            return self._options.runtime_class
        try:
            found = await self._api.get("/apis/node.k8s.io/v1/runtimeclasses")
        except UserError:
            return None  # who may not list classes has to name one
        for each in objects(found, "items"):
            name = words(each, "metadata", "name")
            if {name, words(each, "handler")} & _STRONG:
                return name
        return None


def _none(reason: str) -> SandboxInfo:
    return SandboxInfo(name="none", level=0, reason=reason)
