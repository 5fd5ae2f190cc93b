"""Sandboxes in a real cluster: API server, controllers, scheduler, and this machine as a node."""

import asyncio
from collections.abc import AsyncGenerator, Generator
from pathlib import Path

import pytest

from pipelines.errors import UserError
from pipelines.integrations.containers.kubernetes_api import KubernetesApi
from pipelines.integrations.containers.kubernetes_runtime import KubernetesRuntime
from pipelines.integrations.containers.kubernetes_sandbox import (
    KubernetesOptions,
    KubernetesSandbox,
    swept,
)
from pipelines.model import FileEdit, SandboxInfo, SandboxJob
from pipelines.system import SortableIds, SystemClock
from tests.support.kubernetes import api_server, connected, node, runtime_flags
from tests.support.sandbox import IMAGE, docker_engine, eventually, files

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]
pytest.importorskip("kubernetes_asyncio", reason="conductor-app[kubernetes] is missing")
CONTROLLERS = ("job", "namespace", "garbagecollector", "nodelifecycle")
SPACE = "conductor-sandbox"
JOBS, PODS = f"/apis/batch/v1/namespaces/{SPACE}/jobs", f"/api/v1/namespaces/{SPACE}/pods"
OPTIONS = KubernetesOptions(image=IMAGE, pull="Never")


@pytest.fixture(scope="module")
def kubeconfig(tmp_path_factory: pytest.TempPathFactory) -> Generator[Path]:
    folder = tmp_path_factory.mktemp("kubernetes")
    (folder / "engine").mkdir()
    with (
        docker_engine(folder / "engine", *runtime_flags(folder)) as engine,
        api_server(folder, CONTROLLERS) as config,
        node(folder, config, engine, IMAGE),
    ):
        yield config


@pytest.fixture
async def api(kubeconfig: Path) -> AsyncGenerator[KubernetesApi]:
    async with connected(kubeconfig) as made:
        space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SPACE}}
        await made.apply(f"/api/v1/namespaces/{SPACE}", space)
        yield made


@pytest.fixture
def sandbox(api: KubernetesApi) -> KubernetesSandbox:
    info = SandboxInfo(name="kubernetes", level=2)
    return KubernetesSandbox(api, SortableIds(), SystemClock(), info, OPTIONS)


async def nothing_runs(api: KubernetesApi) -> None:
    assert (await api.get(JOBS))["items"] == []
    for pod in (await api.get(PODS))["items"]:
        assert pod["status"]["phase"] in ("Failed", "Succeeded")
        assert "running" not in pod["status"]["containerStatuses"][0]["state"]


async def test_a_job_runs_over_its_files_and_gives_back_what_was_asked_for(
    sandbox: KubernetesSandbox, api: KubernetesApi
) -> None:
    job = SandboxJob(
        command=(
            "cat src/a.txt new.txt; env | grep -c KUBERNETES_; id -u; echo $DOLLARS; "
            "grep -E '^(CapEff|CapBnd|NoNewPrivs|Seccomp):' /proc/self/status; "
            "touch /bin/x || echo read-only; ls /var/run/secrets 2>&1 | tail -1; "
            "echo made >out.txt; ln -s /etc/passwd link; (sleep 600 &); exit 3"
        ),
        edits=(FileEdit(path="new.txt", content="edited\n"),),
        environment={"DOLLARS": "$(HOME) $$"},
        collect=("out.txt", "link", "nowhere", "../outside"),
    )
    result = await sandbox.run(job, files({"src/a.txt": "laid in\n"}))
    assert (result.exit_code, result.limit) == (3, "")
    assert result.output.startswith("laid in\nedited\n0\n1000")
    assert "$(HOME) $$" in result.output
    for line in ("CapEff:\t0000000000000000", "CapBnd:\t0000000000000000", "NoNewPrivs:\t1"):
        assert line in result.output
    assert "Seccomp:\t2" in result.output
    assert "read-only\n" in result.output
    assert "No such file" in result.output, "there is no service account's token"
    assert result.files == {"out.txt": "made\n"}
    assert result.refused.keys() == {"link", "nowhere", "../outside"}
    assert result.image
    await nothing_runs(api)


@pytest.mark.parametrize(
    ("command", "limit"),
    [
        ("sleep 600", "time"),
        ("x=$(dd if=/dev/zero bs=1M count=900 | tr '\\0' a); echo ${#x}", "memory"),
        ("yes", "output"),
    ],
)
async def test_a_job_that_meets_a_limit_is_ended_and_says_which(
    sandbox: KubernetesSandbox, api: KubernetesApi, command: str, limit: str
) -> None:
    job = SandboxJob(command=command, timeout_seconds=15, memory_bytes=64 << 20, collect=("a",))
    result = await sandbox.run(job, files())
    assert (result.exit_code, result.limit) == (None, limit), result.output[-500:]
    assert result.refused == {"a": "the command was ended by a limit"}
    await nothing_runs(api)


async def test_forks_are_limited(sandbox: KubernetesSandbox) -> None:
    command = "for n in 1 2 3 4 5 6 7 8 9; do (for m in 1 2 3 4 5 6; do sleep 60 & done); done"
    result = await sandbox.run(
        SandboxJob(command=command, processes=8, timeout_seconds=30), files()
    )
    assert "can't fork" in result.output
    assert result.limit == ""


async def test_a_cancelled_job_is_deleted(sandbox: KubernetesSandbox, api: KubernetesApi) -> None:
    job = SandboxJob(command="sleep 600")
    running = asyncio.create_task(sandbox.run(job, files()))

    async def made() -> bool | None:
        return bool((await api.get(JOBS))["items"]) or None

    await eventually(made, 60)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    await nothing_runs(api)


async def test_a_cluster_is_tried_and_its_network_found_closed(api: KubernetesApi) -> None:
    runtime = KubernetesRuntime(api, SortableIds(), SystemClock(), options=OPTIONS)
    info = await runtime.available()
    assert (info.name, info.level) == ("kubernetes", 2), info.reason
    assert "no runtime class" in info.reason
    assert runtime.sandbox().info == info
    path = f"/apis/networking.k8s.io/v1/namespaces/{SPACE}/networkpolicies/conductor-sandbox"
    spec = (await api.get(path))["spec"]
    assert spec["policyTypes"] == ["Ingress", "Egress"]
    assert "egress" not in spec
    assert "ingress" not in spec
    assert spec["podSelector"]["matchExpressions"][0]["key"] == "conductor/sandbox"


async def test_an_image_that_is_not_there_is_told(sandbox: KubernetesSandbox) -> None:
    job = SandboxJob(command="true", image="nowhere:1")
    with pytest.raises(UserError, match="ErrImageNeverPull"):
        await sandbox.run(job, files())


async def test_what_a_killed_conductor_left_is_removed_once_it_is_over(api: KubernetesApi) -> None:
    left = {
        "apiVersion": "batch/v1", "kind": "Job",
        "metadata": {"name": "left", "namespace": SPACE, "labels": {"conductor/sandbox": "left"}},
        "spec": {
            "activeDeadlineSeconds": 1, "backoffLimit": 0,
            "template": {
                "metadata": {"labels": {"conductor/sandbox": "left"}},
                "spec": {
                    "restartPolicy": "Never", "terminationGracePeriodSeconds": 1,
                    "automountServiceAccountToken": False,
                    "containers": [{
                        "name": "sandbox", "image": IMAGE, "imagePullPolicy": "Never",
                        "command": ["/bin/sleep", "600"],
                    }],
                },
            },
        },
    }  # fmt: skip
    await api.create(JOBS, left)
    async with asyncio.timeout(120):
        while await api.get(f"{JOBS}/left"):
            await swept(api, SPACE, SystemClock())
            await asyncio.sleep(0.2)
    await nothing_runs(api)


async def test_without_its_namespace_there_is_no_sandbox(api: KubernetesApi) -> None:
    options = KubernetesOptions(image=IMAGE, namespace="nowhere")
    runtime = KubernetesRuntime(api, SortableIds(), SystemClock(), options=options)
    info = await runtime.available()
    assert not info.usable
    assert "not found" in info.reason
