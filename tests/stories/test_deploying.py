"""From a commit to what runs: deployments, their statuses, consent, freezes, and the way back."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bot.simulator.state import Account, Deployment
from tests.support.storefront import DOWN, Storefront, open_storefront
from tests.support.town import Town, running_town
from tests.support.town_model import CART

ALLOWED = {"conductor_allowed_hosts": ("127.0.0.1",)}


@pytest.fixture
async def town(tmp_path: Path) -> AsyncIterator[Town]:
    async with running_town(tmp_path, settings=ALLOWED) as running:
        yield running


@pytest.fixture
async def front(town: Town) -> AsyncIterator[Storefront]:
    async with open_storefront(town.repo, town.clock) as opened:
        yield opened


def config(front: Storefront, production: str = "") -> str:
    return f"""\
version: 1
environments:
  staging: {{ {front.config} }}
  production: {{ {front.config}{production} }}
workflows:
  deliver:
    on: {{ push: {{ branches: [main] }} }}
    concurrency: run-all
    steps: {{ ship: {{ agent: deploy, environment: staging }} }}
  release:
    on: {{ deployment: {{ environments: [production] }} }}
    steps: {{ ship: {{ agent: deploy }} }}
"""


async def opened(town: Town, front: Storefront, production: str = "") -> str:
    """Put the configuration there, with which staging is deployed for the first time."""
    files = {".conductor.yml": config(front, production)}
    sha = await town.push(files, "main", message="Configure Conductor")
    await town.settled()
    return sha


def history(deployment: Deployment) -> list[str]:
    return [status.state for status in deployment.statuses]


def deployments(town: Town, environment: str = "staging") -> list[Deployment]:
    return [d for d in town.repo.deployments.values() if d.environment == environment]


def person(town: Town, name: str, role: str) -> Account:
    account = town.github.create_user(name)
    town.github.set_role(town.repo, account, role)  # type: ignore[arg-type]
    return account


async def test_a_push_to_main_is_deployed(town: Town, front: Storefront) -> None:
    sha = await opened(town, front)
    (deployment,) = deployments(town)
    assert (deployment.sha, deployment.creator) == (sha, town.app.app.bot)
    assert history(deployment) == ["in_progress", "success"]
    assert deployment.statuses[-1].environment_url == front.address
    assert town.step(sha, "ship").conclusion == "success"


async def test_an_unhealthy_release_is_taken_back(town: Town, front: Storefront) -> None:
    good = await opened(town, front)
    bad = await town.push({"shop/cart.py": CART + DOWN}, "main")
    await town.settled()
    first, failed, back = deployments(town)
    assert (first.sha, failed.sha, back.sha) == (good, bad, good)
    assert history(failed) == ["in_progress", "failure"]
    assert history(back) == ["in_progress", "success"]
    assert DOWN not in await front.cart()
    check = town.step(bad, "ship")
    assert check.conclusion == "failure"
    assert "HTTP 500" in (check.summary or "")
    assert good[:10] in f"{check.title} {check.summary}"


async def test_staging_is_deployed_and_rolled_back_by_command(
    town: Town, front: Storefront
) -> None:
    good = await opened(town, front)
    pull = await town.reviewed_pull_request({"shop/cart.py": CART + "# New.\n"})
    asked = await town.say(pull, "/conductor deploy staging")
    assert town.reactions(asked) == ["eyes", "rocket"]
    assert [d.sha for d in deployments(town)] == [good, pull.head_sha]
    assert history(deployments(town)[-1]) == ["in_progress", "success"]
    asked = await town.say(pull, "/conductor rollback staging")
    assert town.reactions(asked) == ["eyes", "rocket"]
    assert [d.sha for d in deployments(town)] == [good, pull.head_sha, good]
    assert history(deployments(town)[-1]) == ["in_progress", "success"]


async def test_a_stranger_deploys_nothing(town: Town, front: Storefront) -> None:
    await opened(town, front)
    pull = await town.reviewed_pull_request({"shop/cart.py": CART + "# New.\n"})
    asked = await town.say(pull, "/conductor deploy staging", person(town, "mallory", "triage"))
    assert town.reactions(asked) == ["eyes", "confused"]
    assert "yours is triage" in town.answers(pull)[-1]
    assert len(deployments(town)) == 1


async def test_production_takes_a_maintainer(town: Town, front: Storefront) -> None:
    await opened(town, front)
    pull = await town.reviewed_pull_request({"shop/cart.py": CART + "# New.\n"})
    writer = person(town, "will", "write")
    asked = await town.say(pull, "/conductor deploy production", writer)
    assert town.reactions(asked) == ["eyes", "confused"]
    assert "needs the permission maintain" in town.answers(pull)[-1]
    assert deployments(town, "production") == []
    asked = await town.say(pull, "/conductor deploy production")
    assert town.reactions(asked) == ["eyes", "rocket"]
    (deployment,) = deployments(town, "production")
    assert (deployment.production, history(deployment)) == (True, ["in_progress", "success"])


async def test_the_author_s_own_approval_does_not_count(town: Town, front: Storefront) -> None:
    await opened(town, front, ", approval: 1")
    pull = await town.reviewed_pull_request({"shop/cart.py": CART + "# New.\n"})
    await town.say(pull, "/conductor deploy production")
    waiting = town.step(pull.head_sha, "deploy")
    assert waiting.conclusion == "action_required"
    assert waiting.title == "`production` needs the approval of 1 more person besides the author."
    own = await town.say(pull, "/conductor approve")
    assert town.reactions(own) == ["eyes", "confused"]
    assert "deploys your own change; somebody else must approve it" in town.answers(pull)[-1]
    assert deployments(town, "production") == []
    other = await town.say(pull, "/conductor approve", person(town, "grace", "maintain"))
    assert town.reactions(other) == ["eyes", "rocket"]
    (deployment,) = deployments(town, "production")
    assert history(deployment) == ["in_progress", "success"]


async def test_approvers_are_known_by_their_number(town: Town, front: Storefront) -> None:
    olivia = person(town, "olivia", "write")
    await opened(town, front, f", approval: 1, approvers: [{olivia.id}]")
    pull = await town.reviewed_pull_request({"shop/cart.py": CART + "# New.\n"})
    await town.say(pull, "/conductor deploy production")
    will = await town.say(pull, "/conductor approve", person(town, "will", "write"))
    assert town.reactions(will) == ["eyes", "confused"]
    assert deployments(town, "production") == []
    await town.say(pull, "/conductor approve", olivia)
    (deployment,) = deployments(town, "production")
    assert history(deployment) == ["in_progress", "success"]


async def test_nothing_is_deployed_during_a_freeze(town: Town, front: Storefront) -> None:
    # The town's time begins on a Monday at nine.
    await opened(town, front, ", freeze: ['Mon 00:00 - Tue 06:00 UTC']")
    pull = await town.reviewed_pull_request({"shop/cart.py": CART + "# New.\n"})
    await town.say(pull, "/conductor deploy production")
    check = town.step(pull.head_sha, "deploy")
    assert check.conclusion == "neutral"
    assert check.title == (
        "`production` is frozen until 2026-01-06 06:00 UTC; `/conductor retry` deploys then."
    )
    assert deployments(town, "production") == []


async def test_two_pushes_at_once_are_deployed_one_after_the_other(
    town: Town, front: Storefront
) -> None:
    await opened(town, front)
    one = await town.push({"shop/cart.py": CART + "# One.\n"}, "main")
    two = await town.push({"shop/cart.py": CART + "# Two.\n"}, "main")
    await town.settled()
    assert "# Two." in await front.cart()
    moments = [
        (status.created_at, status.id, d.sha, status.state)
        for d in deployments(town)[1:]
        for status in d.statuses
        if status.state != "inactive"
    ]
    order = [sha for _, _, sha, _ in sorted(moments)]
    assert order == sorted(order, key=[one, two].index), sorted(moments)
    assert {d.sha for d in deployments(town)} >= {two}
    assert town.step(two, "ship").conclusion == "success"


async def test_a_deployment_that_a_person_s_tool_created_is_carried_out(
    town: Town, front: Storefront
) -> None:
    sha = await opened(town, front)
    theirs = await town.github.deploy(town.repo, "main", "production", town.ada)
    await town.settled()
    assert deployments(town, "production") == [theirs]
    assert (theirs.sha, history(theirs)) == (sha, ["in_progress", "success"])
    assert all(status.creator is town.app.app.bot for status in theirs.statuses)


async def test_a_pull_request_s_own_workflow_does_not_deploy_it(
    town: Town, front: Storefront
) -> None:
    await opened(town, front)
    everything = config(front).replace(
        "workflows:\n",
        "workflows:\n  eager:\n    on: { pull_request: {} }\n"
        "    steps: { ship: { agent: deploy, environment: production } }\n",
    )
    await town.configure(everything)
    pull = await town.reviewed_pull_request({"shop/cart.py": CART + "# New.\n"})
    check = town.step(pull.head_sha, "ship")
    assert "Only commits of the default branch are deployed automatically" in (check.title or "")
    assert deployments(town, "production") == []
