"""A real Kubernetes API server and its deployment controller; no node, so pods stay pending."""

from collections.abc import AsyncGenerator, Generator
from pathlib import Path

import pytest

from pipelines.errors import UserError
from pipelines.integrations.containers.kubernetes import KubernetesTarget
from pipelines.integrations.containers.kubernetes_api import KubernetesApi
from pipelines.model import EnvironmentPlan, Release
from tests.support.kubernetes import api_server, connected
from tests.unit.targets.services import REPOSITORY, settled, sha_of

pytestmark = pytest.mark.integration
pytest.importorskip("kubernetes_asyncio", reason="conductor-app[kubernetes] is missing")
PLAN = EnvironmentPlan(
    name="staging", target="kubernetes", image="registry.example/shop:{sha}", port=8080,
    namespace="default", rollout_seconds=5,
)  # fmt: skip


@pytest.fixture(scope="module")
def kubeconfig(tmp_path_factory: pytest.TempPathFactory) -> Generator[Path]:
    with api_server(tmp_path_factory.mktemp("kubernetes")) as config:
        yield config


@pytest.fixture
async def api(kubeconfig: Path) -> AsyncGenerator[KubernetesApi]:
    async with connected(kubeconfig) as made:
        yield made


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
