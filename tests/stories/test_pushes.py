"""A push starts what its files call for, and one compare tells which they are."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.storefront import Storefront, open_storefront
from tests.support.town import Town, running_town
from tests.support.town_model import BROKEN_CART, CART, TRIAGED, answers

QUERY = 'sum(rate(http_requests_total{status="500"}[20s])) / sum(rate(http_requests_total[20s]))'


@pytest.fixture
async def town(tmp_path: Path) -> AsyncIterator[Town]:
    async with running_town(
        tmp_path, settings={"conductor_allowed_hosts": ("127.0.0.1",)}
    ) as running:
        yield running


@pytest.fixture
async def front(town: Town) -> AsyncIterator[Storefront]:
    async with open_storefront(town.repo, town.clock) as opened:
        yield opened


async def configured(town: Town, front: Storefront, on: str, more: str = "") -> None:
    text = f"""\
version: 1
environments: {{ staging: {{ {front.config} }} }}
workflows:
  deliver:
    on: {{ push: {{ {on} }} }}
    concurrency: run-all
    steps:
      ship: {{ agent: deploy, environment: staging }}
{more}"""
    town.model.script(TRIAGED, answers())
    await town.push({".conductor.yml": text}, "main", message="Configure")
    await town.settled()


def compared(town: Town) -> int:
    return sum("/compare/" in call.template for call in town.calls)


async def pushed(town: Town, files: dict[str, str], branch: str, **options: Any) -> tuple[str, str]:
    """Push; returns the commit and what is on record of the push."""
    known = set(await town.deliveries())
    sha = await town.push(files, branch, **options)
    await town.settled()
    after = (await town.deliveries()).items()
    (reason,) = [one.reason for guid, one in after if guid not in known and one.event == "push"]
    return sha, reason


async def test_a_push_outside_the_paths_starts_nothing_and_says_why(
    town: Town, front: Storefront
) -> None:
    await configured(town, front, 'branches: [main], paths: ["shop/**"]')
    assert await town.runs() == []
    _, reason = await pushed(town, {"README.md": "# A shop\n"}, "main")
    assert (await town.runs(), reason) == ([], "No changed file is in `shop/**`.")

    sha, reason = await pushed(town, {"shop/cart.py": CART + "\n"}, "main")
    (run,) = await town.runs()
    assert (run.change.head_sha, run.change.paths, reason) == (sha, ("shop/cart.py",), "")


async def test_a_new_branch_and_a_forced_push_may_have_changed_everything(
    town: Town, front: Storefront
) -> None:
    await configured(town, front, 'branches: ["main", "release"], paths: ["shop/**"]')
    asked = compared(town)
    first, reason = await pushed(town, {"README.md": "# One\n"}, "release")
    assert reason == (
        "All files may have changed, for the branch or tag is new; so `paths` let it run."
    )
    parent = await town.repo.git.resolve(f"{first}^")
    _, reason = await pushed(town, {"README.md": "# Two\n"}, "release", parent=parent)
    assert "for the push was forced" in reason
    assert len(await town.runs()) == 2
    assert compared(town) == asked


async def test_without_a_need_for_them_nobody_asks_for_the_files(
    town: Town, front: Storefront
) -> None:
    await configured(town, front, "branches: [main]")
    asked = compared(town)
    await town.push({"README.md": "# A shop\n"}, "main")
    await town.push({"README.md": "# Not delivered\n"}, "topic")
    await town.settled()
    assert compared(town) == asked


async def test_an_incident_names_the_files_of_the_push_that_it_suspects(
    town: Town, front: Storefront
) -> None:
    watch = "{ agent: monitor, needs: [ship], for: 2m, interval: 5s, signals: false, "
    watch += f"rules: [{{ name: error_rate, query: '{QUERY}', above: 0.05 }}] }}"
    await configured(town, front, "branches: [main]", f"      watch: {watch}\n")
    sha = await town.push({"shop/cart.py": BROKEN_CART}, "main", message="Show the average")
    await town.settled()
    (issue,) = town.issues()
    said = f"It began after the deployment of {sha}. It changed `shop/cart.py`."
    assert said in (issue.body or "")
