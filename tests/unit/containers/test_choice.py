"""Which sandbox a change gets."""

import pytest

from pipelines.errors import UserError
from pipelines.integrations.containers.base import Sandbox, SandboxProvider
from pipelines.integrations.containers.choice import SandboxChoice, candidates, decide
from pipelines.integrations.containers.host import Host
from pipelines.integrations.containers.mock import MockRuntime, MockSandbox
from pipelines.model import SandboxInfo
from tests.support.clock import VirtualClock

BUBBLEWRAP = SandboxInfo(name="bubblewrap", level=1, reason="shares the machine's kernel")
DOCKER = SandboxInfo(name="docker", level=2)
GVISOR = SandboxInfo(name="docker+runsc", level=3)
CLUSTER = SandboxInfo(name="kubernetes", level=4)
NOTHING = SandboxInfo(name="none", level=0, reason="it is not installed")
HOST = SandboxInfo(name="host", level=0)


class Provider(SandboxProvider):
    """Gives what it is set to, and counts how often it was asked."""

    def __init__(self, info: SandboxInfo) -> None:
        self.info = info
        self.asked = 0

    async def available(self) -> SandboxInfo:
        self.asked += 1
        return self.info

    def sandbox(self) -> Sandbox:
        return MockSandbox(info=self.info)


@pytest.mark.parametrize(
    ("wanted", "found", "trusted", "taken"),
    [
        ("auto", {"docker": DOCKER, "bubblewrap": BUBBLEWRAP}, True, "docker"),
        ("auto", {"docker": GVISOR, "kubernetes": DOCKER}, True, "docker+runsc"),
        ("auto", {"docker": GVISOR, "kubernetes": CLUSTER}, False, "kubernetes"),
        ("auto", {"docker": NOTHING, "bubblewrap": BUBBLEWRAP}, True, "bubblewrap"),
        ("auto", {"docker": NOTHING, "bubblewrap": BUBBLEWRAP}, False, "none"),
        ("auto", {"docker": NOTHING, "host": HOST}, True, "none"),
        ("auto", {}, True, "none"),
        ("bubblewrap", {"docker": DOCKER, "bubblewrap": BUBBLEWRAP}, True, "bubblewrap"),
        ("bubblewrap", {"docker": DOCKER, "bubblewrap": BUBBLEWRAP}, False, "none"),
        ("docker", {"docker": DOCKER}, False, "docker"),
        ("docker", {"docker": NOTHING, "bubblewrap": BUBBLEWRAP}, True, "none"),
        ("host", {"host": HOST}, True, "host"),
        ("host", {"host": HOST}, False, "none"),
        ("none", {"docker": DOCKER}, True, "none"),
    ],
)
def test_the_strongest_that_is_strong_enough_is_taken(
    wanted: str, found: dict[str, SandboxInfo], trusted: bool, taken: str
) -> None:
    verdict = decide(wanted, found, trusted=trusted)
    assert verdict.info.name == taken
    assert (verdict.provider is None) == (taken == "none")
    assert verdict.info.usable or verdict.info.reason


def test_a_verdict_says_why_it_is_not_stronger() -> None:
    verdict = decide("auto", {"docker": NOTHING, "bubblewrap": BUBBLEWRAP}, trusted=True)
    assert verdict.info.reason == (
        "shares the machine's kernel; kubernetes: not set up; docker: it is not installed"
    )
    refused = decide("auto", {"bubblewrap": BUBBLEWRAP}, trusted=False)
    assert "level 1" in refused.info.reason
    assert "needs level 2" in refused.info.reason


def test_a_setting_that_is_not_known_is_named() -> None:
    with pytest.raises(UserError, match="no sandbox 'podman'"):
        candidates("podman")


async def test_what_works_is_looked_for_once() -> None:
    docker = Provider(DOCKER)
    choice = SandboxChoice("auto", {"docker": docker}, VirtualClock())
    for trusted in (True, False, True):
        sandbox = await choice.strongest(trusted)
        assert isinstance(sandbox, Sandbox)
        assert sandbox.info == DOCKER
    assert docker.asked == 1


async def test_what_did_not_work_is_looked_for_again_after_a_minute() -> None:
    docker, clock = Provider(NOTHING), VirtualClock()
    choice = SandboxChoice("docker", {"docker": docker}, clock)
    assert isinstance(await choice.strongest(True), SandboxInfo)
    docker.info = DOCKER
    assert isinstance(await choice.strongest(True), SandboxInfo)
    await clock.advance(61)
    assert isinstance(await choice.strongest(True), Sandbox)
    assert docker.asked == 2


async def test_the_host_is_never_asked_without_the_operators_word() -> None:
    choice = SandboxChoice("auto", {"host": Host()}, VirtualClock())
    assert isinstance(await choice.strongest(True), SandboxInfo)
    chosen = SandboxChoice("host", {"host": Host()}, VirtualClock())
    assert isinstance(await chosen.strongest(True), Host)
    refused = await chosen.strongest(False)
    assert isinstance(refused, SandboxInfo)
    assert not refused.usable


async def test_images_are_built_only_by_an_engine_that_is_strong_enough() -> None:
    engine = MockRuntime(MockSandbox(info=DOCKER))
    choice = SandboxChoice("auto", {"docker": engine}, VirtualClock())
    assert await choice.builder(False) is engine
    weak = SandboxChoice("auto", {"bubblewrap": Provider(BUBBLEWRAP)}, VirtualClock())
    found = [await weak.builder(True), await weak.builder(False)]
    assert all(isinstance(each, SandboxInfo) and not each.usable for each in found)
    assert isinstance(found[0], SandboxInfo)
    assert found[0].reason == "bubblewrap builds no images"
