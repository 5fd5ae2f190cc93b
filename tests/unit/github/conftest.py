from collections.abc import AsyncIterator

import pytest

from bot.github.gateway import GitHub
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
def secrets() -> list[str]:
    return []


@pytest.fixture
def requests() -> list[tuple[str, str, int]]:
    return []


@pytest.fixture
async def gateway(
    stub: GitHubStub,
    clock: VirtualClock,
    secrets: list[str],
    requests: list[tuple[str, str, int]],
) -> AsyncIterator[GitHub]:
    async with github(stub, clock, secrets=secrets, requests=requests) as built:
        yield built
