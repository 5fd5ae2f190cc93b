"""From an environment to its target, and the cloud in memory."""

from importlib.util import find_spec
from pathlib import Path

import httpx2
import pytest

from pipelines.errors import UserError
from pipelines.integrations.cloud.mock import Behaviour, MockCloud
from pipelines.integrations.target import image_of, service_of
from pipelines.integrations.targets import Targets, TargetSettings, standard_factories
from pipelines.model import EnvironmentPlan
from pipelines.system import SystemClock
from tests.unit.targets.services import REPOSITORY, Commits, a_release, settled, sha_of

PLAN = EnvironmentPlan(name="staging", target="mock", url="https://shop.example")
ONE, TWO = sha_of("one"), sha_of("two")


def installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False


async def test_each_kind_is_made_once_and_only_what_was_set_up(tmp_path: Path) -> None:
    async with httpx2.AsyncClient() as client:
        settings = TargetSettings(local_directory=tmp_path)
        targets = Targets(
            standard_factories(
                settings, client=client, clock=SystemClock(), files=Commits(), github=None
            )
        )
        extras = {
            "aws": "aiobotocore", "azure": "azure.identity", "gcp": "google.auth",
            "kubernetes": "kubernetes_asyncio",
        }  # fmt: skip
        there = [name for name, module in extras.items() if installed(module)]
        for name in ("local", "mock", *there):
            plan = EnvironmentPlan.model_validate({"name": "staging", "target": name})
            assert targets(plan).name == name
            assert targets(plan) is targets(plan.model_copy(update={"name": "other"}))
        for name in ("gitlab-ci", "github-actions", "docker"):
            plan = EnvironmentPlan.model_validate({"name": "staging", "target": name})
            with pytest.raises(UserError, match=f"does not deploy to `{name}`"):
                targets(plan)
        await targets.close()


async def test_the_local_target_is_not_there_unless_the_operator_allowed_it() -> None:
    async with httpx2.AsyncClient() as client:
        factories = standard_factories(
            TargetSettings(), client=client, clock=SystemClock(), files=Commits(), github=None
        )
        with pytest.raises(UserError, match="CONDUCTOR_LOCAL_TARGET=1"):
            Targets(factories)(PLAN.model_copy(update={"target": "local"}))


async def test_the_cloud_in_memory_releases_and_fails_as_it_is_told() -> None:
    cloud = MockCloud({TWO: Behaviour(looks=2, failure="no database", log="a\nb\n")})
    assert (await cloud.state(PLAN, repository=REPOSITORY)).phase == "absent"
    assert (await cloud.release(a_release(ONE, 1, plan=PLAN))).phase == "progressing"
    assert (await settled(cloud, PLAN)).phase == "ready"
    begun = await cloud.release(a_release(TWO, 2, plan=PLAN))
    assert (begun.phase, begun.url) == ("progressing", PLAN.url)
    failed = await settled(cloud, PLAN)
    assert (failed.phase, failed.sha, failed.message) == ("failed", TWO, "no database")
    assert await cloud.log(PLAN, repository=REPOSITORY, lines=1) == "b"
    assert (await cloud.release(a_release(TWO, 2, plan=PLAN))).phase == "failed"
    with pytest.raises(UserError, match="older"):
        await cloud.release(a_release(ONE, 0 + 1, plan=PLAN, key="another"))


def test_names_and_images_have_sensible_defaults() -> None:
    release = a_release(ONE, plan=PLAN)
    assert image_of(release) == f"ghcr.io/{REPOSITORY}:{ONE}"
    assert service_of(PLAN, "acme/My.Shop_2") == "my-shop-2"
    assert service_of(PLAN.model_copy(update={"service": "web"}), REPOSITORY) == "web"
