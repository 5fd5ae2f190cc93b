"""A real Kubernetes API server and its deployment controller; no node, so pods stay pending."""

import asyncio
import os
import shutil
import signal
import subprocess
from collections.abc import AsyncGenerator, Generator
from contextlib import ExitStack
from pathlib import Path

import pytest

from pipelines.errors import Retryable, UserError
from pipelines.integrations.containers.kubernetes import KubernetesTarget
from pipelines.integrations.containers.kubernetes_api import KubernetesApi
from pipelines.integrations.containers.local_process import free_port
from pipelines.model import EnvironmentPlan, Release
from tests.unit.targets.services import REPOSITORY, settled, sha_of

pytestmark = pytest.mark.integration
pytest.importorskip("kubernetes_asyncio", reason="conductor-app[kubernetes] is missing")
PLAN = EnvironmentPlan(
    name="staging", target="kubernetes", image="registry.example/shop:{sha}", port=8080,
    namespace="default", rollout_seconds=5,
)  # fmt: skip
BINARIES = f"{os.environ.get('KUBERNETES_BIN', '')}:{os.environ.get('PATH', '')}:/usr/sbin"
NEEDED = ("etcd", "kube-apiserver", "kube-controller-manager", "openssl")
CONFIG = """
apiVersion: v1
kind: Config
clusters:
- {{name: c, cluster: {{server: "https://127.0.0.1:{port}", insecure-skip-tls-verify: true}}}}
users: [{{name: u, user: {{token: {token}}}}}]
contexts: [{{name: x, context: {{cluster: c, user: u}}}}]
current-context: x
"""


def program(name: str) -> str:
    found = shutil.which(name, path=BINARIES)
    if found is None:
        pytest.skip(f"a Kubernetes API server needs {', '.join(NEEDED)}; set KUBERNETES_BIN")
    return found


def start(stack: ExitStack, folder: Path, name: str, *arguments: str) -> None:
    log = stack.enter_context((folder / f"{name}.log").open("wb"))
    process = subprocess.Popen([program(name), *arguments], cwd=folder, stdout=log, stderr=log)
    stack.callback(process.wait, 30)
    stack.callback(process.send_signal, signal.SIGTERM)


@pytest.fixture(scope="module")
def kubeconfig(tmp_path_factory: pytest.TempPathFactory) -> Generator[Path]:
    folder = tmp_path_factory.mktemp("kubernetes")
    for name in NEEDED:
        program(name)
    key, token = folder / "sa.key", "token-of-the-test"
    subprocess.run(
        [program("openssl"), "genrsa", "-out", key, "2048"], check=True, capture_output=True
    )
    (folder / "tokens.csv").write_text(f"{token},admin,1,system:masters\n")
    store, peer, port = (free_port() for _ in range(3))
    config = folder / "kubeconfig"
    config.write_text(CONFIG.format(port=port, token=token))
    with ExitStack() as stack:
        start(
            stack, folder, "etcd", "--data-dir", "data",
            "--listen-client-urls", f"http://127.0.0.1:{store}",
            "--advertise-client-urls", f"http://127.0.0.1:{store}",
            "--listen-peer-urls", f"http://127.0.0.1:{peer}",
            "--initial-advertise-peer-urls", f"http://127.0.0.1:{peer}",
            "--initial-cluster", f"default=http://127.0.0.1:{peer}",
        )  # fmt: skip
        start(
            stack, folder, "kube-apiserver", f"--etcd-servers=http://127.0.0.1:{store}",
            "--bind-address=127.0.0.1", "--advertise-address=127.0.0.1", f"--secure-port={port}",
            "--cert-dir=certs", f"--service-account-key-file={key}",
            f"--service-account-signing-key-file={key}", "--api-audiences=api",
            "--service-account-issuer=https://kubernetes.default.svc",
            "--token-auth-file=tokens.csv", "--authorization-mode=RBAC",
            "--service-cluster-ip-range=10.250.0.0/24",
            "--disable-admission-plugins=ServiceAccount", "--endpoint-reconciler-type=none",
        )  # fmt: skip
        start(
            stack, folder, "kube-controller-manager", f"--kubeconfig={config}",
            "--leader-elect=false", "--port=0", "--secure-port=0", "--bind-address=127.0.0.1",
            "--controllers=deployment,replicaset",
        )  # fmt: skip
        yield config


@pytest.fixture
async def api(kubeconfig: Path) -> AsyncGenerator[KubernetesApi]:
    made = KubernetesApi(kubeconfig=kubeconfig)
    async with asyncio.timeout(60):
        while True:
            try:
                if await made.get("/api/v1/namespaces/default"):
                    break
            except (Retryable, UserError):
                await asyncio.sleep(0.2)
    yield made
    await made.close()


def release(revision: int, plan: EnvironmentPlan = PLAN) -> Release:
    sha = sha_of(str(revision))
    return Release(
        repository=REPOSITORY, repository_id=1, environment=plan, sha=sha, revision=revision,
        key=f"release/staging/{revision}/{sha}",
    )  # fmt: skip


async def test_a_release_is_applied_once_and_a_rollout_that_cannot_succeed_fails(
    api: KubernetesApi,
) -> None:
    target = KubernetesTarget(api)
    assert (await target.state(PLAN, repository=REPOSITORY)).phase == "absent"
    begun = await target.release(release(3))
    assert (begun.phase, begun.sha, begun.revision) == ("progressing", sha_of("3"), 3)
    path = "/apis/apps/v1/namespaces/default/deployments/shop"
    applied = await api.get(path)
    await target.release(release(3))
    again = await api.get(path)
    assert again["metadata"]["generation"] == applied["metadata"]["generation"]
    container = again["spec"]["template"]["spec"]["containers"][0]
    assert container["image"] == f"registry.example/shop:{sha_of('3')}"
    assert container["readinessProbe"]["httpGet"]["path"] == "/healthz"
    service = await api.get("/api/v1/namespaces/default/services/shop")
    assert service["spec"]["ports"][0]["port"] == 8080
    failed = await settled(target, seconds=60, plan=PLAN)
    assert (failed.phase, failed.sha) == ("failed", sha_of("3"))
    assert "exceeded" in failed.message or "progress" in failed.message
    assert await target.log(PLAN, repository=REPOSITORY, lines=5) == ""


async def test_an_older_revision_and_a_deployment_of_somebody_else_are_refused(
    api: KubernetesApi,
) -> None:
    target = KubernetesTarget(api)
    plan = PLAN.model_copy(update={"service": "older"})
    await target.release(release(5, plan))
    with pytest.raises(UserError, match="older than revision 5"):
        await target.release(release(4, plan))
    other = plan.model_copy(update={"name": "production"})
    with pytest.raises(UserError, match="another `service` or `namespace`"):
        await target.release(release(9, other))


async def test_what_kubernetes_refuses_is_told_in_its_words(api: KubernetesApi) -> None:
    target = KubernetesTarget(api)
    with pytest.raises(UserError, match="not found"):
        await target.release(release(1, PLAN.model_copy(update={"namespace": "nowhere"})))
