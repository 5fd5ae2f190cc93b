"""What ended is announced on the bus, once, and counted."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator

import pytest
from pydantic import JsonValue

from bot.telemetry import Metrics
from pipelines.model import Conclusion
from pipelines.orchestration.news import ENDINGS, Ending, given_up
from tests.support.forge import Forge, Pull
from tests.support.world import World


@pytest.fixture
def forge() -> Forge:
    return Forge(pulls={5: Pull(5, "one")})


async def test_each_ended_step_and_run_is_announced_once(world: World) -> None:
    async with world.bus.subscribe(ENDINGS) as news:
        await world.pull_request("opened", 5, "one")
        await world.settle()
        await world.bus.publish(ENDINGS, None)
        heard = [Ending.model_validate(item) async for item in _until_none(news)]
    assert [(ending.what, ending.name) for ending in heard] == [
        ("step", "review"),
        ("run", "pull-request"),
    ]
    assert {str(ending.conclusion) for ending in heard} == {"neutral"}


async def _until_none(news: AsyncIterator[JsonValue]) -> AsyncIterator[JsonValue]:
    async for item in news:
        if item is None:
            return
        yield item


ELSEWHERE = """
import json
from pipelines.orchestration.news import Ending, given_up
run = Ending(tenant="7/42", what="run", name="pr", conclusion="neutral")
print(json.dumps([run.model_dump(mode="json"), given_up("7/42", "deliveries")]))
"""


async def test_what_ended_in_another_process_is_counted_there(world: World) -> None:
    other = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", ELSEWHERE), stdout=asyncio.subprocess.PIPE
    )
    told, _ = await other.communicate()
    heard: list[JsonValue] = [
        *json.loads(told),
        {"of": "a later version"},
        given_up("7/42", "tasks"),
    ]
    metrics = Metrics()
    async with world.bus.subscribe(ENDINGS) as news:
        counting = asyncio.create_task(metrics.follow(news))
        for item in heard:
            await world.bus.publish(ENDINGS, item)
        await world.clock.settle()
        counting.cancel()
        await asyncio.gather(counting, return_exceptions=True)
    counted = [line for line in metrics.render().decode().splitlines() if line[0] != "#"]
    assert [line for line in counted if line.startswith("conductor_runs")] == []
    letters = [line for line in counted if line.startswith("conductor_dead_letters")]
    assert letters == ['conductor_dead_letters_total{queue="tasks"} 1.0']


async def test_metrics_count_what_they_hear(world: World) -> None:
    metrics = Metrics()
    async with world.bus.subscribe(ENDINGS) as news:
        counting = asyncio.create_task(metrics.follow(news))
        for ending in (
            Ending(tenant="7/42", what="run", name="pr", conclusion=Conclusion.NEUTRAL),
            Ending(
                tenant="7/42",
                what="step",
                name="review",
                conclusion=Conclusion.SUCCESS,
                seconds=2.5,
            ),
            Ending(tenant="7/42", what="message", name="deliveries"),
        ):
            await world.bus.publish(ENDINGS, ending.model_dump(mode="json"))
        await world.clock.settle()
        counting.cancel()
        await asyncio.gather(counting, return_exceptions=True)
    text = metrics.render().decode()
    assert 'conductor_runs_total{conclusion="neutral"} 1.0' in text
    assert 'conductor_step_duration_seconds_sum{agent="review",conclusion="success"} 2.5' in text
    assert 'conductor_dead_letters_total{queue="deliveries"} 1.0' in text
