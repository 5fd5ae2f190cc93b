"""Cloud Run: every request is held to Google's own description of the API; the server is ours."""

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import httpx2
import jsonschema
import pytest

from pipelines.errors import Retryable, UserError
from pipelines.integrations.cloud.gcp import GoogleCloud
from pipelines.integrations.rest import Rest
from pipelines.model import EnvironmentPlan
from tests.unit.targets.services import REPOSITORY, a_release, sha_of

pytestmark = pytest.mark.integration
DOCUMENTS = sorted(
    (Path(__file__).parents[2] / ".peers").glob(
        "lib/*/site-packages/googleapiclient/discovery_cache/documents/run.v2.json"
    )
)
PLAN = EnvironmentPlan(
    name="staging", target="gcp", project="acme", region="europe-west1", port=8080,
    image="europe-docker.pkg.dev/acme/shop:{sha}", command=("serve",),
)  # fmt: skip
SERVICE = "projects/acme/locations/europe-west1/services/shop"
ONE, TWO = sha_of("one"), sha_of("two")


def schema_of(description: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Google's description of a message as JSON Schema that refuses what it does not know."""

    def strict(value: Any) -> Any:
        if isinstance(value, list):
            return [strict(each) for each in value]
        if not isinstance(value, dict):
            return value
        kept = {
            key: strict(each)
            for key, each in value.items()
            if key not in ("format", "description", "id", "readOnly", "enumDescriptions")
        }
        if "$ref" in kept:
            return {"$ref": f"#/$defs/{kept['$ref']}"}
        if kept.get("type") == "any":
            del kept["type"]
        if "properties" in kept:
            kept["additionalProperties"] = False
        if value.get("format") == "int64":
            kept["type"] = ["string", "integer"]
        return kept

    definitions = {each: strict(body) for each, body in description["schemas"].items()}
    return {"$ref": f"#/$defs/{name}", "$defs": definitions}


class CloudRun:
    """Keeps one service; refuses what Google's description does not allow."""

    def __init__(self, description: Mapping[str, Any]) -> None:
        locations = description["resources"]["projects"]["resources"]["locations"]
        self.methods = locations["resources"]["services"]["methods"]
        self.schema = schema_of(description, "GoogleCloudRunV2Service")
        self.service: dict[str, Any] | None = None
        self.writes = 0

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        verb = {"GET": "get", "POST": "create", "PATCH": "patch"}[request.method]
        method = self.methods[verb]
        path = request.url.path.removeprefix("/")
        template = method["flatPath"].replace("{servicesId}", "[^/]+")
        assert re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", template), path), path
        assert set(dict(request.url.params)) <= set(method["parameters"]), request.url
        if verb == "get":
            found = self.service
            return httpx2.Response(200, json=found) if found else httpx2.Response(404, json={})
        body = json.loads(request.content)
        jsonschema.validate(body, self.schema)
        self.writes += 1
        if verb == "patch" and self.service and body.get("etag") != self.service["etag"]:
            return httpx2.Response(409, json={"error": {"status": "ABORTED"}})
        before = self.service or {"generation": "0"}
        self.service = {
            **body,
            "name": SERVICE,
            "generation": str(int(before["generation"]) + 1),
            "observedGeneration": before["generation"],
            "reconciling": True,
            "etag": f"e{self.writes}",
            "uri": "https://shop.run.app",
        }
        return httpx2.Response(200, json={"name": "operations/1"})

    def finish(self, state: str, message: str = "") -> None:
        assert self.service is not None
        self.service["observedGeneration"] = self.service["generation"]
        self.service["reconciling"] = False
        self.service["terminalCondition"] = {"state": state, "message": message}
        jsonschema.validate(self.service, self.schema)


@pytest.fixture
def server() -> CloudRun:
    if not DOCUMENTS:
        pytest.skip("google-api-python-client is not installed; see .ci/peers.pip")
    return CloudRun(json.loads(DOCUMENTS[0].read_text()))


async def nobody() -> Mapping[str, str]:
    return {}


def cloud(transport: Callable[[httpx2.Request], httpx2.Response]) -> GoogleCloud:
    client = httpx2.AsyncClient(transport=httpx2.MockTransport(transport))
    return GoogleCloud(Rest("gcp", "https://run.googleapis.com/v2", client, nobody))


async def test_a_service_is_made_changed_and_told_as_google_describes_it(
    server: CloudRun,
) -> None:
    google = cloud(server)
    assert (await google.state(PLAN, repository=REPOSITORY)).phase == "absent"
    begun = await google.release(a_release(ONE, 1, plan=PLAN))
    assert (begun.phase, begun.sha, begun.revision) == ("progressing", ONE, 1)
    await google.release(a_release(ONE, 1, plan=PLAN))
    assert server.writes == 1, "a repeat writes nothing"
    server.finish("CONDITION_SUCCEEDED")
    done = await google.state(PLAN, repository=REPOSITORY)
    assert (done.phase, done.url) == ("ready", "https://shop.run.app")
    await google.release(a_release(TWO, 2, plan=PLAN))
    server.finish("CONDITION_FAILED", "The container did not listen on port 8080.")
    failed = await google.state(PLAN, repository=REPOSITORY)
    assert (failed.phase, failed.sha, failed.revision) == ("failed", TWO, 2)
    assert "did not listen" in failed.message


async def test_older_revisions_and_foreign_services_are_refused(server: CloudRun) -> None:
    google = cloud(server)
    await google.release(a_release(TWO, 5, plan=PLAN))
    with pytest.raises(UserError, match="older than revision 5"):
        await google.release(a_release(ONE, 4, plan=PLAN))
    other = PLAN.model_copy(update={"name": "production"})
    with pytest.raises(UserError, match="belongs to"):
        await google.release(a_release(ONE, 9, plan=other))
    assert server.writes == 1


async def test_googles_refusals_are_told_apart() -> None:
    for status, kind in ((503, Retryable), (429, Retryable), (403, UserError)):
        refusing = cloud(lambda _, status=status: httpx2.Response(status, json={}))
        with pytest.raises(kind):
            await refusing.state(PLAN, repository=REPOSITORY)
