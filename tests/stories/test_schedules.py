"""A schedule, as its repository sees it: one run each time, whoever of many workers looks."""

import asyncio
from pathlib import Path

from bot.intake.schedules import Schedules
from pipelines.model import ScheduleTrigger, WorkflowRun
from tests.support.town import Town, running_town

CONFIG = """\
version: 1
workflows:
  nightly:
    on: { schedule: { cron: "30 10 * * *" } }
    steps: { look: { agent: review } }
"""


def workers(town: Town) -> list[Schedules]:
    """What three workers of an installation have to look at schedules with."""
    parts = town.services
    return [Schedules(parts.store, parts.bus, town.clock) for _ in range(3)]


async def look(town: Town) -> None:
    """Let the three workers look at the same time."""
    await asyncio.gather(*(worker.sweep() for worker in workers(town)))
    await town.settled()


async def nightly(town: Town) -> list[WorkflowRun]:
    return [run for run in await town.runs() if run.workflow == "nightly"]


async def test_one_of_three_workers_fires_a_schedule_once_on_the_newest_commit(
    tmp_path: Path,
) -> None:
    async with running_town(tmp_path) as town:
        await town.configure(CONFIG)
        await look(town)
        assert await nightly(town) == []

        head = await town.push({"README.md": "# Shop, newer\n"}, "main")
        await town.settled()
        await town.clock.advance(90 * 60 + 30)
        await look(town)
        (run,) = await nightly(town)
        assert isinstance(run.trigger, ScheduleTrigger)
        assert run.trigger.due_at.isoformat() == "2026-01-05T10:30:00+00:00"
        assert run.change.head_sha == head
        assert not run.live

        await look(town)
        assert len(await nightly(town)) == 1, "the same minute fires once"
