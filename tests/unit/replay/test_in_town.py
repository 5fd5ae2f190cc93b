"""A run of the whole system, from a signed webhook to a review, gone through again offline."""

from pathlib import Path

from pipelines.agents.registry import AGENTS
from pipelines.replay.judgement import Judgement
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

        judgement = Judgement(town.services.orchestration.state, frozenset(AGENTS))
        reports = {
            run.id: await replay_run(tape, run, judge=judgement.now, verdicts=judgement.then)
            for run in runs
        }
        stranger = runs[-1].model_copy(
            update={"change": runs[-1].change.model_copy(update={"head_sha": "9" * 40})}
        )
        moved = await replay_run(tape, stranger, judge=judgement.now, verdicts=judgement.then)

    told = {step.step: step for report in reports.values() for step in report.steps}
    assert told, "an agent was recorded"
    for report in reports.values():
        assert report.note == ""
        assert report.engine is None, str(report.engine)
        assert [(step.difference, step.drift) for step in report.steps] == [
            (None, ()) for _ in report.steps
        ]
        assert report.ok()
    effects = [effect for step in told.values() for effect in step.effects]
    assert {(effect.recorded, effect.now) for effect in effects} == {("allow", "allow")}
    now = [effect for step in moved.steps for effect in step.effects if not effect.same]
    assert all(effect.now.startswith("deny: ") for effect in now)
    assert now
