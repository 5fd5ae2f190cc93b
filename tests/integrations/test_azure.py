"""Container Apps: our fake's answers are read by Azure's own models, as ours are."""

import json
from collections.abc import Callable, Mapping
from typing import Any

import httpx2
import pytest

from pipelines.errors import Retryable, UserError
from pipelines.integrations.cloud.azure import AzureCloud
from pipelines.integrations.rest import Rest
from pipelines.model import EnvironmentPlan
from tests.unit.targets.services import REPOSITORY, a_release, sha_of

pytestmark = pytest.mark.integration
PLAN = EnvironmentPlan(
    name="staging", target="azure", project="00000000-0000-0000-0000-000000000001",
    resource_group="shop", image="acme.azurecr.io/shop:{sha}",
)  # fmt: skip
ONE, TWO = sha_of("one"), sha_of("two")


class ContainerApps:
    """Keeps one app and its newest revision."""

    def __init__(self) -> None:
        container = {"name": "shop", "image": "old", "env": [{"name": "MODE", "value": "x"}]}
        self.app: dict[str, Any] = {
            "location": "westeurope",
            "tags": {"team": "shop"},
            "properties": {
                "provisioningState": "Succeeded",
                "latestRevisionName": "shop--1",
                "configuration": {"ingress": {"fqdn": "shop.example"}},
                "template": {"containers": [container]},
            },
        }
        self.revision: dict[str, Any] = {"healthState": "Healthy", "replicas": 1}
        self.patches: list[dict[str, Any]] = []

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        assert request.url.params["api-version"]
        path = request.url.path
        group = f"/subscriptions/{PLAN.project}/resourceGroups/shop/providers/Microsoft.App"
        if path.startswith(f"{group}/containerApps/shop/revisions/"):
            return httpx2.Response(200, json={"properties": self.revision})
        if path != f"{group}/containerApps/shop":
            return httpx2.Response(404, json={})
        if request.method == "PATCH":
            body = json.loads(request.content)
            self.patches.append(body)
            self.app["tags"] = body["tags"]
            self.app["properties"]["template"] |= body["properties"]["template"]
            self.revision = {"healthState": "None", "replicas": 1}
            return httpx2.Response(202)
        return httpx2.Response(200, json=self.app)


async def nobody() -> Mapping[str, str]:
    return {}


def cloud(transport: Callable[[httpx2.Request], httpx2.Response]) -> AzureCloud:
    client = httpx2.AsyncClient(transport=httpx2.MockTransport(transport))
    return AzureCloud(Rest("azure", "https://management.azure.com", client, nobody))


async def test_an_app_takes_a_commit_once_and_its_revision_says_how_it_goes() -> None:
    server = ContainerApps()
    azure = cloud(server)
    begun = await azure.release(a_release(ONE, 1, plan=PLAN))
    assert (begun.phase, begun.sha, begun.revision) == ("progressing", ONE, 1)
    await azure.release(a_release(ONE, 1, plan=PLAN))
    assert len(server.patches) == 1, "a repeat changes nothing"
    server.revision = {"healthState": "Healthy", "replicas": 2}
    done = await azure.state(PLAN, repository=REPOSITORY)
    assert (done.phase, done.ready, done.url) == ("ready", 2, "https://shop.example")
    await azure.release(a_release(TWO, 2, plan=PLAN))
    server.revision = {"runningState": "Failed", "provisioningError": "no such image"}
    failed = await azure.state(PLAN, repository=REPOSITORY)
    assert (failed.phase, failed.sha, failed.message) == ("failed", TWO, "no such image")
    with pytest.raises(UserError, match="older than revision 2"):
        await azure.release(a_release(ONE, 1, plan=PLAN, key="other"))


async def test_what_is_sent_is_what_azures_own_models_hold() -> None:
    models = pytest.importorskip(
        "azure.mgmt.appcontainers.models", reason="azure-mgmt-appcontainers is not installed"
    )
    server = ContainerApps()
    await cloud(server).release(a_release(ONE, 1, plan=PLAN))
    app = models.ContainerApp(server.patches[0])
    (container,) = app.properties.template.containers
    assert container.image == f"acme.azurecr.io/shop:{ONE}"
    assert {one.name: one.value for one in container.env} == {"MODE": "x", "GIT_SHA": ONE}
    assert app.tags["team"] == "shop"
    assert models.ContainerApp(server.app).properties.latest_revision_name == "shop--1"


async def test_a_missing_app_and_refusals_are_told() -> None:
    with pytest.raises(UserError, match="create it once"):
        await cloud(lambda _: httpx2.Response(404, json={})).release(a_release(ONE, plan=PLAN))
    with pytest.raises(Retryable):
        await cloud(lambda _: httpx2.Response(503)).state(PLAN, repository=REPOSITORY)
