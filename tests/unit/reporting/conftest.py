from collections.abc import AsyncIterator

import pytest

from bot.github.gateway import GitHub
from bot.reporting.publisher import GitHubReporter
from tests.support.clock import VirtualClock
from tests.support.github_stub import GitHubStub, github


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
async def stub(clock: VirtualClock) -> AsyncIterator[GitHubStub]:
    async with GitHubStub().running(clock) as running:
        yield running


@pytest.fixture
def requests() -> list[tuple[str, str, int]]:
    return []


@pytest.fixture
async def gateway(
    stub: GitHubStub, clock: VirtualClock, requests: list[tuple[str, str, int]]
) -> AsyncIterator[GitHub]:
    async with github(stub, clock, requests=requests) as built:
        yield built


@pytest.fixture
def reporter(gateway: GitHub) -> GitHubReporter:
    return GitHubReporter(
        gateway,
        redact=lambda text: text.replace("hunter_2", "[redacted]"),
        base_url="https://conductor.example/",
    )
