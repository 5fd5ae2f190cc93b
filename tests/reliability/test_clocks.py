"""A machine whose clock is wrong: a little does not matter, more is named with its distance."""

from datetime import timedelta
from typing import Any

import jwt
import pytest

from bot.github.errors import ClockSkew
from bot.github.gateway import GitHub
from bot.github.tokens import READ
from tests.support.clock import EPOCH, VirtualClock
from tests.support.github_stub import REPOSITORY, GitHubStub, Reply, Seen, github

MINT = "/app/installations/9/access_tokens"
LONGEST = 600
"""Seconds that GitHub lets an App's token live from now on; it must have been issued before now."""


def refusal(claims: dict[str, Any], now: float) -> str | None:
    if claims["iat"] > now:
        return "'Issued at' claim ('iat') must be an Integer representing the time that the "
    if not now < claims["exp"] <= now + LONGEST:
        return "'Expiration time' claim ('exp') is too far in the future"
    return None


def strict(stub: GitHubStub) -> None:
    """Have the stub judge the times of the App's tokens as GitHub does."""

    def mint(seen: Seen) -> Reply:
        token = seen.headers["authorization"].removeprefix("Bearer ")
        claims = jwt.decode(token, options={"verify_signature": False})
        refused = refusal(claims, stub.now().timestamp())
        return Reply({"message": refused}, status=401) if refused else stub.mint(seen)

    stub.on("POST", MINT, mint)
    stub.on("GET", "/repos/octo/shop", Reply({"id": 100}))


async def read(gateway: GitHub) -> ClockSkew | None:
    """Read the repository; return what is said of our clock, if anything."""
    try:
        await gateway.client(REPOSITORY, READ).getitem("/repos/octo/shop")
    except ClockSkew as error:
        return error
    return None


async def test_fifty_seconds_do_not_matter_and_more_is_named() -> None:
    verdicts: dict[int, ClockSkew | None] = {}
    async with GitHubStub().running(VirtualClock()) as stub:
        strict(stub)
        for skew in range(-600, 601, 10):
            here = VirtualClock(EPOCH + timedelta(seconds=skew))
            async with github(stub, here) as gateway:
                verdicts[skew] = await read(gateway)
    works = [skew for skew, said in verdicts.items() if said is None]
    named = {skew: said for skew, said in verdicts.items() if said is not None}
    print(
        f"R20: of {len(verdicts)} skews those of {works[0]} to {works[-1]} s work, others are told"
    )
    assert set(range(-50, 51, 10)) <= set(works)
    assert named
    for skew, error in named.items():
        assert error.seconds == pytest.approx(skew, abs=1)
        word = "ahead of" if skew > 0 else "behind"
        assert f"{abs(error.seconds):.0f} s {word} GitHub's" in str(error)
