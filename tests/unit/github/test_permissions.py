import pytest

from bot.github.gateway import GitHub
from bot.github.permissions import Level, PermissionChecker
from pipelines.model import GHOST, Actor
from tests.support.clock import VirtualClock
from tests.support.github_stub import REPOSITORY, GitHubStub, Reply

ADA = Actor(id=7, login="ada")
PATH = "/repos/octo/shop/collaborators/ada/permission"


@pytest.fixture
def checker(gateway: GitHub, clock: VirtualClock) -> PermissionChecker:
    return PermissionChecker(gateway, clock)


@pytest.mark.parametrize(
    ("permission", "role", "level"),
    [
        ("admin", "admin", Level.ADMIN),
        ("write", "maintain", Level.MAINTAIN),
        ("write", "write", Level.WRITE),
        ("read", "triage", Level.TRIAGE),
        ("read", "read", Level.READ),
        ("none", "", Level.NONE),
        ("write", "release-captain", Level.WRITE),
        ("superuser", "god", Level.NONE),
    ],
)
async def test_github_s_words_have_one_order(
    stub: GitHubStub, checker: PermissionChecker, permission: str, role: str, level: Level
) -> None:
    stub.on("GET", PATH, Reply({"permission": permission, "role_name": role, "user": {"id": 7}}))
    assert await checker.level(REPOSITORY, ADA) is level


@pytest.mark.parametrize(
    "reply",
    [
        Reply({"message": "Not Found"}, 404),
        Reply({"message": "no"}, 403),
        Reply(status=500),
        Reply(cut=True),
        Reply({"permission": "admin", "role_name": "admin", "user": {"id": 8}}),
        Reply({"permission": "admin", "role_name": "admin", "user": None}),
        Reply({"permission": None}),
        Reply({"permission": "admin", "user": {"id": "x"}}),
        Reply([]),
        Reply({"message": "slow"}, 429),
    ],
)
async def test_an_unanswered_check_is_a_refusal(
    stub: GitHubStub, checker: PermissionChecker, reply: Reply
) -> None:
    stub.on("GET", PATH, reply)
    assert await checker.level(REPOSITORY, ADA) is Level.NONE


@pytest.mark.parametrize("actor", [GHOST, Actor(id=7, login="ada", type="Bot")])
async def test_ghosts_and_bots_are_not_even_asked_about(
    stub: GitHubStub, checker: PermissionChecker, actor: Actor
) -> None:
    assert await checker.level(REPOSITORY, actor) is Level.NONE
    assert stub.seen == []


async def test_an_answer_is_believed_for_a_minute_and_a_failure_not_at_all(
    stub: GitHubStub, checker: PermissionChecker, clock: VirtualClock
) -> None:
    yes = Reply({"permission": "write", "user": {"id": 7}})
    stub.on("GET", PATH, Reply(status=500), yes, Reply({"permission": "read", "user": {"id": 7}}))
    assert await checker.level(REPOSITORY, ADA) is Level.NONE
    assert await checker.level(REPOSITORY, ADA) is Level.WRITE
    await clock.advance(59)
    assert await checker.level(REPOSITORY, ADA) is Level.WRITE
    await clock.advance(2)
    assert await checker.level(REPOSITORY, ADA) is Level.READ


async def test_a_login_is_one_segment_of_the_path(
    stub: GitHubStub, checker: PermissionChecker
) -> None:
    await checker.level(REPOSITORY, Actor(id=7, login="../../evil"))
    (seen,) = [one for one in stub.seen if one.method == "GET"]
    assert seen.path == "/repos/octo/shop/collaborators/../../evil/permission"
