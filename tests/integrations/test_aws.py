"""Amazon ECS, as ministack carries it out with real containers: released, broken, gone back."""

import asyncio
import os
import shutil
import subprocess
from collections.abc import AsyncGenerator, Generator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from pipelines.errors import Retryable, UserError
from pipelines.integrations.cloud.aws import AwsCloud
from pipelines.integrations.containers.local_process import free_port
from pipelines.model import EnvironmentPlan, Release
from tests.support.sandbox import IMAGE, docker_engine
from tests.unit.targets.services import REPOSITORY, settled, sha_of

pytestmark = pytest.mark.integration
aiobotocore = pytest.importorskip("aiobotocore.session", reason="conductor-app[aws] is missing")
PEERS = Path(__file__).parents[2] / ".peers/bin"
MINISTACK = shutil.which("ministack", path=f"{PEERS}:{os.defpath}")
GOOD = EnvironmentPlan(
    name="staging", target="aws", cluster="main", service="web", image=IMAGE, region="eu-west-1",
    health=None,
)  # fmt: skip
BROKEN = GOOD.model_copy(update={"image": "nowhere:{sha}"})


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Generator[str]:
    if MINISTACK is None:
        pytest.skip("ministack is not installed; see .ci/peers.pip")
    port = free_port()
    with docker_engine(tmp_path_factory.mktemp("engine")) as address:
        environment = {
            **os.environ, "BIND_HOST": "127.0.0.1", "GATEWAY_PORT": str(port),
            "DOCKER_HOST": address,
        }  # fmt: skip
        process = subprocess.Popen(
            [MINISTACK], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(30)


@pytest.fixture
async def ecs(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[Any]:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    async with httpx2.AsyncClient() as client, asyncio.timeout(60):
        while True:
            try:
                await client.get(f"{endpoint}/_ministack/health")
                break
            except httpx2.TransportError:
                await asyncio.sleep(0.1)
    session = aiobotocore.get_session()
    async with session.create_client("ecs", region_name="eu-west-1", endpoint_url=endpoint) as made:
        yield made


async def a_service(ecs: Any, name: str) -> None:
    await ecs.create_cluster(clusterName="main")
    container = {"name": name, "image": IMAGE, "command": ["sleep", "600"], "essential": True}
    await ecs.register_task_definition(
        family=name, containerDefinitions=[container], cpu="64", memory="64"
    )
    await ecs.create_service(
        cluster="main", serviceName=name, taskDefinition=name, desiredCount=1, launchType="EC2"
    )


def release(revision: int, plan: EnvironmentPlan = GOOD) -> Release:
    sha = sha_of(str(revision))
    return Release(
        repository=REPOSITORY, repository_id=1, environment=plan, sha=sha, revision=revision,
        key=f"release/staging/{revision}/{sha}",
    )  # fmt: skip


async def test_a_service_takes_a_commit_refuses_an_older_one_and_tells_of_a_breaker(
    ecs: Any, endpoint: str
) -> None:
    cloud = AwsCloud(endpoint)
    await a_service(ecs, "web")
    nowhere = GOOD.model_copy(update={"service": "nowhere"})
    assert (await cloud.state(nowhere, repository=REPOSITORY)).phase == "absent"
    first = release(2)
    begun = await cloud.release(first)
    assert (begun.sha, begun.revision) == (first.sha, 2)
    done = await settled(cloud, GOOD, seconds=60)
    assert (done.phase, done.sha, done.revision) == ("ready", first.sha, 2)
    tasks = (await ecs.list_task_definitions(familyPrefix="web"))["taskDefinitionArns"]
    assert await cloud.release(first) == done
    again = (await ecs.list_task_definitions(familyPrefix="web"))["taskDefinitionArns"]
    assert again == tasks, "a repeat registers nothing"
    with pytest.raises(UserError, match="older than revision 2"):
        await cloud.release(release(1))

    broken = release(3, BROKEN)
    await cloud.release(broken)
    failed = await settled(cloud, GOOD, seconds=90)
    assert (failed.phase, failed.sha, failed.revision) == ("failed", broken.sha, 3)
    assert failed.message
    assert (await cloud.release(broken)).phase == "failed", "a repeat finds that it failed"

    back = release(4)
    await cloud.release(back)
    assert (await settled(cloud, GOOD, seconds=60)).sha == back.sha


async def test_whose_credentials_are_used_is_told(ecs: Any, endpoint: str) -> None:
    assert (await AwsCloud(endpoint).account()).id.isdecimal()


async def test_what_is_missing_is_said_in_a_sentence(ecs: Any, endpoint: str) -> None:
    cloud = AwsCloud(endpoint)
    await ecs.create_cluster(clusterName="main")
    missing = release(1, GOOD.model_copy(update={"service": "nowhere"}))
    with pytest.raises(UserError, match="create it once"):
        await cloud.release(missing)
    with pytest.raises(UserError, match="needs `cluster`"):
        await cloud.state(GOOD.model_copy(update={"cluster": None}), repository=REPOSITORY)


async def test_an_address_where_nobody_is_can_be_tried_again(ecs: Any) -> None:
    with pytest.raises(Retryable):
        await AwsCloud(f"http://127.0.0.1:{free_port()}").state(GOOD, repository=REPOSITORY)
