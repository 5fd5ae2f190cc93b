"""Whatever GitHub answers to a write: no crash, no second one, nothing anywhere else."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from bot.simulator.faults import Fault
from pipelines.errors import ConductorError
from pipelines.model import (
    CreateDeployment,
    Effect,
    Notify,
    OpenIssue,
    OpenPullRequest,
    ReleaseService,
    SubmitReview,
)
from tests.unit.reporting.shop import Shop, opened, payload

ODD: tuple[Any, ...] = (
    *(b"<html>", b"null", b"{}", b'"x"', b"[" * 50_000, [[]], [{}], [None], {"number": 0, "id": 0}),
    {"number": "x", "id": None, "sha": 5, "object": 7, "commits": 3, "data": {"repository": 1}},
    {"data": None, "errors": [{"type": "STALE_DATA", "message": "no"}]},
)
REFUSALS = [403, 404, 409, 422, 429, 500]


def commit(shop: Shop) -> Effect:
    return shop.commit()


def pull(shop: Shop) -> Effect:
    return OpenPullRequest(
        head_sha=shop.base, commit=shop.commit(), base_ref="main", title="Fix", body="Fix."
    )


def issue(shop: Shop) -> Effect:
    return OpenIssue(head_sha=shop.base, payload=payload(), occasion="run1/watch")


def deployment(shop: Shop) -> Effect:
    return CreateDeployment(
        head_sha=shop.base, sha=shop.base, environment="production", occasion="run1/ship"
    )


EFFECTS: list[tuple[Callable[[Shop], Effect], tuple[str, ...]]] = [
    (commit, ("*/git/ref/*", "*/git/refs", "/graphql")),
    (pull, ("*/git/ref/*", "/graphql", "*/pulls", "*/labels")),
    (issue, ("*/issues", "*/issues/*")),
    (deployment, ("*/deployments",)),
]
CASES = [(effect, path) for effect, paths in EFFECTS for path in paths]


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Shop]:
    async with opened(tmp_path) as shop:
        yield shop


async def attempt(shop: Shop, effect: Effect, *, repeated: bool) -> str:
    try:
        return (await shop.do(effect, repeated=repeated)).status
    except ConductorError as error:
        return "leak" if "ghs_" in str(error) else "error"


async def counted(shop: Shop) -> list[int]:
    branch = await shop.tip("conductor/fix-1")
    made = len(await shop.repo.git.log(shop.base, branch)) if branch else 0
    issues = [one for one in shop.repo.issues.values() if not one.pull and one.state == "open"]
    return [made, len(shop.repo.pulls), len(issues), len(shop.repo.deployments)]


@pytest.mark.parametrize(("make", "path"), CASES)
async def test_odd_answers_end_in_a_clear_error_and_never_in_a_second_one(
    shop: Shop, make: Callable[[Shop], Effect], path: str
) -> None:
    effect, refs = make(shop), {"refs/heads/main", "refs/heads/conductor/fix-1"}
    for odd in ODD:
        shop.simulator.faults.add(Fault(path=path, status=200, body=odd))
        assert await attempt(shop, effect, repeated=True) != "leak"
        shop.simulator.faults.clear()
        assert max(await counted(shop)) <= 1
    assert await attempt(shop, effect, repeated=True) in ("done", "found")
    assert await attempt(shop, effect, repeated=True) == "found"
    assert max(await counted(shop)) == 1
    assert await shop.tip("main") == shop.base
    assert set(await shop.repo.git.refs("refs/heads/")) <= refs


@pytest.mark.parametrize("status", REFUSALS)
@pytest.mark.parametrize(("make", "path"), CASES)
async def test_refusals_are_receipts_or_clear_errors(
    shop: Shop, make: Callable[[Shop], Effect], path: str, status: int
) -> None:
    shop.simulator.faults.add(Fault(path=path, status=status, body={"message": "No."}))
    assert await attempt(shop, make(shop), repeated=True) in (
        *("error", "denied", "moved", "done", "found"),
    )
    assert max(await counted(shop)) <= 1
    assert await shop.tip("main") == shop.base


async def test_what_is_not_githubs_is_a_mistake_of_the_caller(shop: Shop) -> None:
    release = ReleaseService(
        head_sha=shop.base, sha=shop.base, environment="production", deployment_id=1
    )
    for effect in (release, Notify(title="Hello", occasion="o")):
        with pytest.raises(TypeError, match=effect.kind):
            await shop.do(effect)


async def test_every_token_is_for_one_repository_and_nothing_is_ever_approved(
    shop: Shop,
) -> None:
    for make, _ in EFFECTS:
        await shop.do(make(shop))
    assert all(
        set(one) <= {"contents", "metadata", "pull_requests", "issues", "deployments"}
        for one in shop.permissions_minted()
    )
    sent = b"".join(one.request_body for one in shop.wire.exchanges)
    assert b"APPROVE" not in sent
    assert b'"force"' not in sent
    assert not [one for one in shop.wire.exchanges if one.method in ("PUT", "DELETE")]
    assert SubmitReview.model_fields.keys().isdisjoint({"event", "approve"})
