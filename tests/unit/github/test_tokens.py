import asyncio
from email.utils import formatdate

import jwt
import pytest

from bot.github.app import NotInstalled
from bot.github.errors import BadCredentials, ClockSkew
from bot.github.gateway import GitHub
from bot.github.throttle import Pace
from bot.github.tokens import ISSUES, READ, RESOLVE, WRITE, missing_from
from pipelines.errors import Dropped, Retryable
from tests.support.clock import VirtualClock
from tests.support.github_stub import REPOSITORY, GitHubStub, Reply, Seen, github

MINT = "/app/installations/9/access_tokens"
LONG = "ghs_77_" + "Aa0._-" * 200


async def read_repository(gateway: GitHub) -> object:
    return await gateway.client(REPOSITORY, READ).getitem("/repos/octo/shop")


@pytest.fixture(autouse=True)
def repository_route(stub: GitHubStub) -> None:
    stub.on("GET", "/repos/octo/shop", Reply({"id": 100}))


async def test_a_token_is_narrowed_to_one_repository_and_the_purpose(
    stub: GitHubStub, gateway: GitHub
) -> None:
    await read_repository(gateway)
    (mint,) = stub.calls("POST", MINT)
    assert mint.json == {"repository_ids": [100], "permissions": dict(READ)}


async def test_the_app_signs_with_a_backdated_short_lived_token(
    stub: GitHubStub, gateway: GitHub, clock: VirtualClock
) -> None:
    await read_repository(gateway)
    (mint,) = stub.calls("POST", MINT)
    claims = jwt.decode(
        mint.headers["authorization"].removeprefix("Bearer "),
        options={"verify_signature": False},
    )
    now = int(clock.now().timestamp())
    assert claims == {"iat": now - 60, "exp": now + 540, "iss": "77"}


async def test_many_readers_share_one_mint_and_one_token(stub: GitHubStub, gateway: GitHub) -> None:
    await asyncio.gather(*(read_repository(gateway) for _ in range(10)))
    assert len(stub.calls("POST", MINT)) == 1
    used = {seen.headers["authorization"] for seen in stub.calls("GET", "/repos/octo/shop")}
    assert used == {"Bearer ghs_token_1"}


async def test_another_purpose_gets_another_token(stub: GitHubStub, gateway: GitHub) -> None:
    await read_repository(gateway)
    await gateway.client(REPOSITORY, WRITE).getitem("/repos/octo/shop")
    assert len(stub.calls("POST", MINT)) == 2


async def test_tokens_for_many_purposes_do_not_wait_for_each_other(
    stub: GitHubStub, clock: VirtualClock
) -> None:
    async with github(stub, clock, pace=Pace(write_gap=1.0)) as gateway:
        purposes = (READ, WRITE, ISSUES, RESOLVE)
        await asyncio.gather(
            *(gateway.client(REPOSITORY, each).getitem("/repos/octo/shop") for each in purposes)
        )
    assert len(stub.calls("POST", MINT)) == len(purposes)


async def test_five_expiries_cost_five_mints(
    stub: GitHubStub, gateway: GitHub, clock: VirtualClock
) -> None:
    for _ in range(5):
        await read_repository(gateway)
        await clock.advance(54 * 60)
        await read_repository(gateway)
        await clock.advance(2 * 60)
    assert len(stub.calls("POST", MINT)) == 5


async def test_every_token_is_made_known_to_the_redactor(
    stub: GitHubStub, gateway: GitHub, secrets: list[str]
) -> None:
    stub.on("POST", MINT, Reply({"token": LONG, "expires_at": "2026-01-05T10:00:00Z"}, status=201))
    await read_repository(gateway)
    assert secrets == [LONG]
    assert stub.calls("GET", "/repos/octo/shop")[0].headers["authorization"] == f"Bearer {LONG}"


async def test_a_token_with_five_seconds_to_live_is_used_and_not_minted_for_each_call(
    stub: GitHubStub, gateway: GitHub, clock: VirtualClock
) -> None:
    stub.on(
        "POST", MINT, Reply({"token": "ghs_x", "expires_at": "2026-01-05T09:00:05Z"}, status=201)
    )
    await read_repository(gateway)
    await read_repository(gateway)
    assert len(stub.calls("POST", MINT)) == 1
    await clock.advance(3)
    await read_repository(gateway)
    assert len(stub.calls("POST", MINT)) == 2


async def test_a_revoked_token_is_replaced_once(stub: GitHubStub, gateway: GitHub) -> None:
    stub.on(
        "GET",
        "/repos/octo/shop",
        Reply({"message": "Bad credentials"}, status=401),
        Reply({"id": 100}),
    )
    assert await read_repository(gateway) == {"id": 100}
    tokens = [seen.headers["authorization"] for seen in stub.calls("GET", "/repos/octo/shop")]
    assert tokens == ["Bearer ghs_token_1", "Bearer ghs_token_2"]


async def test_a_token_refused_for_ever_fails_after_one_refresh(
    stub: GitHubStub, gateway: GitHub
) -> None:
    stub.on("GET", "/repos/octo/shop", Reply({"message": "Bad credentials"}, status=401))
    with pytest.raises(BadCredentials, match="refuses the App's credentials"):
        await read_repository(gateway)
    assert len(stub.calls("POST", MINT)) == 2


@pytest.mark.parametrize(
    "reply",
    [
        Reply({"message": "Not Found"}, status=404),
        Reply({"message": "This installation has been suspended"}, status=403),
        Reply({"message": "There is at least one repository that does not exist"}, status=422),
    ],
)
async def test_an_installation_that_is_gone_drops_its_work(
    stub: GitHubStub, gateway: GitHub, reply: Reply
) -> None:
    stub.on("POST", MINT, reply)
    with pytest.raises(Dropped):
        await read_repository(gateway)


async def test_permissions_that_are_not_granted_are_left_out_and_remembered(
    stub: GitHubStub, gateway: GitHub
) -> None:
    def mint(seen: Seen) -> Reply:
        if "checks" in seen.json["permissions"]:
            return Reply(
                {"message": "The permissions requested are not granted to this installation."},
                status=422,
            )
        return stub.mint(seen)

    stub.on("POST", MINT, mint)
    stub.on(
        "GET",
        "/app/installations/9",
        Reply({"permissions": {"contents": "read", "metadata": "read", "pull_requests": "read"}}),
    )
    assert await gateway.missing(REPOSITORY, WRITE) == ("checks:write", "pull_requests:write")
    assert stub.calls("POST", MINT)[1].json["permissions"] == dict(READ)


async def test_an_answer_with_fewer_permissions_is_remembered(
    stub: GitHubStub, gateway: GitHub
) -> None:
    stub.on(
        "POST",
        MINT,
        Reply(
            {
                "token": "ghs_x",
                "expires_at": "2026-01-05T10:00:00Z",
                "permissions": {"contents": "read", "metadata": "read", "checks": "read"},
            },
            status=201,
        ),
    )
    assert await gateway.missing(REPOSITORY, WRITE) == ("checks:write", "pull_requests:write")


@pytest.mark.parametrize(
    "answer",
    [
        {"token": "", "expires_at": "2026-01-05T10:00:00Z"},
        {"token": "ghs_x"},
        {"token": "ghs_x", "expires_at": "soon"},
        {"token": "ghs_x", "expires_at": "2020-01-01T00:00:00Z"},
        [],
    ],
)
async def test_a_broken_mint_answer_is_a_passing_fault_and_names_no_token(
    stub: GitHubStub, gateway: GitHub, answer: object
) -> None:
    stub.on("POST", MINT, Reply(answer, status=201))
    with pytest.raises(Retryable) as caught:
        await read_repository(gateway)
    assert "ghs_x" not in str(caught.value)


@pytest.mark.parametrize(("minutes", "word"), [(-10, "behind"), (10, "ahead of")])
async def test_a_wrong_clock_is_named_with_its_distance(
    stub: GitHubStub, clock: VirtualClock, minutes: int, word: str
) -> None:
    await clock.advance(3600)
    there = clock.now().timestamp() - minutes * 60
    stub.on(
        "POST",
        MINT,
        Reply(
            {"message": "'Expiration time' claim ('exp') is too far in the future"},
            status=401,
            headers={"date": formatdate(there, usegmt=True)},
        ),
    )
    async with github(stub, clock) as gateway:
        with pytest.raises(ClockSkew, match=f"600 s {word} GitHub's"):
            await read_repository(gateway)


async def test_a_key_that_is_no_key_says_so(stub: GitHubStub, clock: VirtualClock) -> None:
    broken = "-----BEGIN RSA PRIVATE KEY-----\\nnope"
    async with github(stub, clock, key=broken) as gateway:
        with pytest.raises(Exception, match="GITHUB_PRIVATE_KEY must be the PEM"):
            await gateway.identity()


async def test_the_app_learns_who_it_is_once(stub: GitHubStub, gateway: GitHub) -> None:
    first, second = await asyncio.gather(gateway.identity(), gateway.identity())
    assert first == second
    assert (first.bot_id, first.bot_login, first.slug) == (4242, "conductor[bot]", "conductor")
    assert len(stub.calls("GET", "/app")) == 1


@pytest.mark.parametrize("listed", [[], [{"id": 9, "suspended_at": "2026-01-01T00:00:00Z"}]])
async def test_an_app_that_nobody_installed_waits_for_somebody(
    stub: GitHubStub, gateway: GitHub, listed: object
) -> None:
    stub.on("GET", "/app/installations", Reply(listed), Reply([{"id": 9}]))
    with pytest.raises(NotInstalled, match="install it in an account"):
        await gateway.identity()
    assert (await gateway.identity()).bot_id == 4242


async def test_the_bot_s_number_is_asked_for_as_an_installation(
    stub: GitHubStub, gateway: GitHub
) -> None:
    await gateway.identity()
    (mint,) = stub.calls("POST", MINT)
    assert mint.json == {"permissions": {"metadata": "read"}}
    (asked,) = stub.calls("GET", "/users/conductor[bot]")
    assert asked.headers["authorization"] == "Bearer ghs_token_1"


def test_a_higher_level_includes_a_lower_one() -> None:
    granted = {"contents": "write", "metadata": "read", "pull_requests": "admin"}
    assert missing_from(granted, READ) == ()
    assert missing_from({}, READ) == ("contents:read", "metadata:read", "pull_requests:read")
    assert missing_from({"metadata": "strange"}, (("metadata", "read"),)) == ("metadata:read",)
