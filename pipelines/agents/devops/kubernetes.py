"""Rules for Kubernetes manifests: known kinds, of the right shape, without power over the node.

Sources: the API reference of Kubernetes, and its Pod Security Standards ("restricted").
"""

import re
from collections.abc import Iterator, Mapping, Sequence

from pipelines.agents.devops.documents import Node, child, items, text_of, values
from pipelines.agents.devops.problems import SECRET_KEY, Problem, code, error, note, warning
from pipelines.agents.devops.workflows import unpinned

KINDS: Mapping[str, str] = {
    "Deployment": "apps/v1", "StatefulSet": "apps/v1", "DaemonSet": "apps/v1", "Job": "batch/v1",
    "CronJob": "batch/v1", "Service": "v1", "ConfigMap": "v1", "Namespace": "v1",
    "ServiceAccount": "v1", "PersistentVolumeClaim": "v1", "Ingress": "networking.k8s.io/v1",
    "NetworkPolicy": "networking.k8s.io/v1", "HorizontalPodAutoscaler": "autoscaling/v2",
    "PodDisruptionBudget": "policy/v1",
}  # fmt: skip
"""What Conductor writes, and in which version; nothing that grants rights or holds secrets."""

_WORKLOADS = ("Deployment", "StatefulSet", "DaemonSet", "Job", "CronJob")
_LONG_RUNNING = ("Deployment", "StatefulSet", "DaemonSet")
_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
_QUANTITY = re.compile(r"\d+(\.\d+)?(m|k|M|G|T|Ki|Mi|Gi|Ti)?")
_POD_POWERS = ("hostNetwork", "hostPID", "hostIPC")
_SAFE_VOLUMES = frozenset(
    {
        "configMap",
        "secret",
        "emptyDir",
        "persistentVolumeClaim",
        "projected",
        "downwardAPI",
        "ephemeral",
    }
)


def manifest_problems(documents: Sequence[Node]) -> Iterator[Problem]:
    """Yield what is wrong with the objects of one file."""
    labels = [_labels(_template(each)) for each in documents if _kind(each) in _WORKLOADS]
    for document in documents:
        yield from _object(document, labels)


def _object(document: Node, pods: Sequence[Mapping[str, str]]) -> Iterator[Problem]:
    kind, line = _kind(document), document.mark.line
    wanted = KINDS.get(kind)
    if wanted is None:
        text = (
            f"The kind {code(kind)} is none that Conductor writes." if kind else "It has no kind."
        )
        yield error(text, line)
        return
    version = text_of(child(document, "apiVersion"))
    if version != wanted:
        yield error(f"{kind} is of {code(wanted)}, not of {code(version)}.", line)
    name = text_of(child(document, "metadata", "name"))
    if not _NAME.fullmatch(name):
        yield error(f"The {kind} has no name that Kubernetes takes.", line)
    if kind in _WORKLOADS:
        yield from _workload(kind, document)
    elif kind == "Service":
        yield from _service(document, pods)
    elif kind == "ConfigMap":
        yield from _config(document)


def _workload(kind: str, document: Node) -> Iterator[Problem]:
    template = _template(document)
    labels = _labels(template)
    line = document.mark.line
    if kind in _LONG_RUNNING:
        selector = values(child(document, "spec", "selector", "matchLabels"))
        wanted = {key: text_of(value) for key, value in selector.items()}
        if not wanted:
            yield error(f"The {kind} has no `selector.matchLabels`.", line)
        elif any(labels.get(key) != value for key, value in wanted.items()):
            yield error("The selector does not match the labels of its own pods.", line)
    pod = child(template, "spec")
    containers = items(child(pod, "containers"))
    if not containers:
        yield error(f"The {kind} has no containers.", line)
    yield from _pod(pod)
    for container in containers:
        yield from _container(container, pod, serves=kind in _LONG_RUNNING)
    for container in (
        *items(child(pod, "initContainers")),
        *items(child(pod, "ephemeralContainers")),
    ):
        yield from _container(container, pod, serves=False)


def _pod(pod: Node | None) -> Iterator[Problem]:
    for power in _POD_POWERS:
        if text_of(child(pod, power)) == "true":
            yield error(
                f"{code(power)} gives the pod a part of the node.", pod.mark.line if pod else 0
            )
    for volume in items(child(pod, "volumes")):
        sources = [key for key in values(volume) if key != "name"]
        for source in sources:
            if source not in _SAFE_VOLUMES:
                text = f"A volume of the type {code(source)} reaches beyond the pod."
                yield error(text, volume.mark.line)
    if text_of(child(pod, "automountServiceAccountToken")) != "false" and pod is not None:
        yield warning(
            "`automountServiceAccountToken: false` keeps the cluster's token out.", pod.mark.line
        )
    if pod is not None and child(pod, "nodeName") is not None:
        yield error("`nodeName` goes around the scheduler.", pod.mark.line)


def _container(container: Node, pod: Node | None, *, serves: bool) -> Iterator[Problem]:
    line = container.mark.line
    name = text_of(child(container, "name"))
    if not _NAME.fullmatch(name):
        yield error("A container has no name that Kubernetes takes.", line)
    image = text_of(child(container, "image"))
    if not image:
        yield error(f"The container {code(name)} has no image.", line)
    elif why := unpinned(image):
        yield error(f"The image {code(image)} {why}.", line)
    yield from _security(container, pod, code(name))
    yield from _resources(container, code(name))
    if serves:
        for probe in ("readinessProbe", "livenessProbe"):
            if child(container, probe) is None:
                yield warning(f"The container {code(name)} has no {code(probe)}.", line)
    for port in items(child(container, "ports")):
        if child(port, "hostPort") is not None:
            yield error("`hostPort` takes a port of the node.", port.mark.line)
    for variable in items(child(container, "env")):
        key, value = (text_of(child(variable, part)) for part in ("name", "value"))
        if value and SECRET_KEY.search(key):
            yield error(
                f"{code(key)} stands in the manifest; take it from a Secret.", variable.mark.line
            )


def _security(container: Node, pod: Node | None, name: str) -> Iterator[Problem]:
    own, shared = child(container, "securityContext"), child(pod, "securityContext")
    line = (own or container).mark.line

    def setting(key: str) -> str:
        return text_of(child(own, key)) or text_of(child(shared, key))

    if text_of(child(own, "privileged")) == "true":
        yield error(f"The container {name} is privileged: root on the node.", line)
    if setting("runAsNonRoot") != "true":
        yield error(f"The container {name} may run as root; set `runAsNonRoot: true`.", line)
    if setting("runAsUser") == "0":
        yield error(f"The container {name} runs as root.", line)
    if text_of(child(own, "allowPrivilegeEscalation")) != "false":
        yield error(f"The container {name} lacks `allowPrivilegeEscalation: false`.", line)
    added = [text_of(each) for each in items(child(own, "capabilities", "add"))]
    if beyond := [each for each in added if each != "NET_BIND_SERVICE"]:
        yield error(f"The container {name} adds {', '.join(map(code, beyond))}.", line)
    if "ALL" not in [text_of(each) for each in items(child(own, "capabilities", "drop"))]:
        yield warning(f"The container {name} does not drop all capabilities.", line)
    for context in (own, shared):
        if text_of(child(context, "seccompProfile", "type")) == "Unconfined":
            yield error(f"The container {name} has no filter of system calls.", line)


def _resources(container: Node, name: str) -> Iterator[Problem]:
    resources = child(container, "resources")
    line = container.mark.line
    if child(resources, "limits", "memory") is None:
        yield error(f"The container {name} has no limit of memory.", line)
    for which in ("cpu", "memory"):
        if child(resources, "requests", which) is None:
            yield warning(f"The container {name} requests no {which}.", line)
    for side in ("limits", "requests"):
        for amount in values(child(resources, side)).values():
            if not _QUANTITY.fullmatch(text_of(amount)):
                yield error(f"{code(text_of(amount))} is no quantity.", amount.mark.line)


def _service(document: Node, pods: Sequence[Mapping[str, str]]) -> Iterator[Problem]:
    line = document.mark.line
    spec = child(document, "spec")
    if not items(child(spec, "ports")):
        yield error("The Service has no ports.", line)
    if child(spec, "externalIPs") is not None or text_of(child(spec, "type")) == "ExternalName":
        yield error("The Service leads out of the cluster.", line)
    if text_of(child(spec, "type")) in ("LoadBalancer", "NodePort"):
        yield note("The Service can be reached from outside of the cluster.", line)
    selector = {key: text_of(value) for key, value in values(child(spec, "selector")).items()}
    matching = [each for each in pods if selector.items() <= each.items()]
    if pods and (not selector or not matching):
        yield error("The Service selects none of the pods in this file.", line)


def _config(document: Node) -> Iterator[Problem]:
    for key, value in values(child(document, "data")).items():
        if SECRET_KEY.search(key) and text_of(value):
            yield error(
                f"{code(key)} stands in a ConfigMap; it belongs into a Secret.", value.mark.line
            )


def _template(document: Node) -> Node | None:
    if _kind(document) == "CronJob":
        return child(document, "spec", "jobTemplate", "spec", "template")
    return child(document, "spec", "template")


def _labels(template: Node | None) -> Mapping[str, str]:
    found = values(child(template, "metadata", "labels"))
    return {key: text_of(value) for key, value in found.items()}


def _kind(document: Node) -> str:
    return text_of(child(document, "kind"))
