"""From a repository's name to its installation, for alerts, which carry nothing else."""

import pytest

from bot.github.directory import REMEMBERED_SECONDS
from bot.github.gateway import GitHub
from tests.support.clock import VirtualClock
from tests.support.github_stub import REPOSITORY, GitHubStub, Reply

FOUND = {
    "id": REPOSITORY.id,
    "name": REPOSITORY.name,
    "owner": {"login": REPOSITORY.owner},
    "default_branch": "trunk",
    "private": True,
}
NAME = REPOSITORY.full_name


@pytest.fixture
def installed(stub: GitHubStub) -> GitHubStub:
    stub.on("GET", f"/repos/{NAME}/installation", Reply({"id": 9}))
    stub.on("GET", f"/repos/{NAME}", Reply(FOUND))
    return stub


async def test_a_repository_is_found_by_its_name_in_any_case(
    installed: GitHubStub, gateway: GitHub
) -> None:
    found = await gateway.repository(NAME.upper())
    assert found is not None
    assert (found.installation_id, found.id, found.default_branch) == (9, REPOSITORY.id, "trunk")


async def test_it_is_asked_for_once_in_ten_minutes(
    installed: GitHubStub, gateway: GitHub, clock: VirtualClock
) -> None:
    for _ in range(3):
        await gateway.repository(NAME)
    assert len(installed.calls("GET", f"/repos/{NAME}")) == 1
    await clock.advance(REMEMBERED_SECONDS + 1)
    await gateway.repository(NAME)
    assert len(installed.calls("GET", f"/repos/{NAME}")) == 2


@pytest.mark.parametrize("closed", ["archived", "disabled"])
async def test_a_closed_repository_is_not_found(
    installed: GitHubStub, gateway: GitHub, closed: str
) -> None:
    installed.on("GET", f"/repos/{NAME}", Reply({**FOUND, closed: True}))
    assert await gateway.repository(NAME) is None


async def test_a_repository_without_the_app_is_not_found(stub: GitHubStub, gateway: GitHub) -> None:
    assert await gateway.repository("somebody/else") is None


@pytest.mark.parametrize(
    "name",
    ["", "shop", "a/b/c", "../app", "octo/..", "octo/.", "octo/shop?x=1", "octo/sh op", "ö/shop"],
)
async def test_what_is_not_a_name_is_never_asked_for(
    stub: GitHubStub, gateway: GitHub, name: str
) -> None:
    assert await gateway.repository(name) is None
    assert not stub.seen
