"""The Job of a sandbox, field by field: what is not asserted here is not promised."""

from typing import Any

from pipelines.integrations.containers.kubernetes_sandbox import KubernetesOptions, job_object
from pipelines.integrations.containers.layout import laid_out
from pipelines.model import SandboxJob
from tests.support.sandbox import files

OPTIONS = KubernetesOptions(image="python:3.12")
JOB = SandboxJob(
    command="rm -rf /", timeout_seconds=60, memory_bytes=64 << 20, environment={"A": "$(B) $C"}
)


def made(name: str = "conductor-sandbox-1", options: KubernetesOptions = OPTIONS) -> dict[str, Any]:
    return job_object(name, JOB, laid_out(files({"a": "1"}), ()), "python:3.12", options)


def pod(options: KubernetesOptions = OPTIONS) -> dict[str, Any]:
    return made(options=options)["spec"]["template"]["spec"]


def test_a_job_is_tried_once_and_ends_by_itself() -> None:
    spec = made()["spec"]
    assert spec["backoffLimit"] == 0
    assert spec["activeDeadlineSeconds"] == 60 + 300 + 180
    assert spec["ttlSecondsAfterFinished"] == 300
    assert spec["template"]["spec"]["restartPolicy"] == "Never"


def test_a_pod_has_nothing_of_the_node_or_the_cluster() -> None:
    spec = pod()
    assert spec["automountServiceAccountToken"] is False
    assert spec["enableServiceLinks"] is False
    assert [spec[each] for each in ("hostNetwork", "hostPID", "hostIPC")] == [False] * 3
    assert (spec["dnsPolicy"], spec["dnsConfig"]) == ("None", {"nameservers": ["127.0.0.1"]})
    assert [set(volume) for volume in spec["volumes"]] == [{"name", "emptyDir"}] * 2
    assert {volume["emptyDir"]["medium"] for volume in spec["volumes"]} == {"Memory"}
    assert "runtimeClassName" not in spec


def test_a_pod_has_no_privileges_and_none_to_gain() -> None:
    spec = pod()
    inside = spec["securityContext"]
    assert inside["runAsNonRoot"] is True
    assert inside["runAsUser"] == inside["runAsGroup"] >= 1_000_000_000
    assert inside["seccompProfile"] == {"type": "RuntimeDefault"}
    (container,) = spec["containers"]
    assert container["securityContext"] == {
        "privileged": False,
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def test_resources_are_limited() -> None:
    (container,) = pod()["containers"]
    size = laid_out(files({"a": "1"}), ()).size
    limits = container["resources"]["limits"]
    assert limits == {"cpu": "2", "memory": str((64 << 20) + size), "ephemeral-storage": "67108864"}
    assert container["resources"]["requests"]["memory"] == limits["memory"]


def test_the_command_is_not_in_it_and_variables_stay_as_they_are() -> None:
    assert "rm -rf" not in str(made())
    (container,) = pod()["containers"]
    assert {"name": "A", "value": "$$(B) $$C"} in container["env"]


def test_two_jobs_have_users_of_their_own() -> None:
    users = {
        made(f"conductor-sandbox-{n}")["spec"]["template"]["spec"]["securityContext"]["runAsUser"]
        for n in range(50)
    }
    assert len(users) == 50


def test_a_runtime_class_is_asked_for_by_name() -> None:
    spec = pod(options=KubernetesOptions(image="python:3.12", runtime_class="gvisor"))
    assert spec["runtimeClassName"] == "gvisor"
