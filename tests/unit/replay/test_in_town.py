"""A run of the whole system, from a signed webhook to a review, gone through again offline."""

from pathlib import Path

from pipelines.replay.replay import replay_run
from pipelines.replay.tape import Tape
from tests.support.town import running_town
from tests.support.town_model import FIXED_CART, finding


async def test_what_happened_in_town_goes_the_same_way_again(tmp_path: Path) -> None:
    async with running_town(tmp_path) as town:
        town.model.finds(finding())
        await town.reviewed_pull_request()
        await town.push({"shop/cart.py": FIXED_CART})
        await town.settled()
        runs = await town.runs()
        tape = Tape(town.services.store)

        reports = {run.id: await replay_run(tape, run) for run in runs}

    told = {step.step: step for report in reports.values() for step in report.steps}
    assert told, "an agent was recorded"
    for report in reports.values():
        assert report.note == ""
        assert report.engine is None, str(report.engine)
        assert [(step.difference, step.drift) for step in report.steps] == [
            (None, ()) for _ in report.steps
        ]
        assert report.ok()
