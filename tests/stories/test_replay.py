"""A run of the loop, gone through again from the database alone while the server uses it."""

from bot.cli.runs_desk import Desk
from pipelines.agents.registry import AGENTS
from pipelines.orchestration.bus.local import LocalBus
from pipelines.replay.judgement import Judgement
from pipelines.replay.replay import RunReplay, replay_run
from pipelines.stores.open import open_backend
from tests.support.town import Town
from tests.support.town_model import BROKEN_CART, GUARD, answers, codes, finding

CONFIG = """\
version: 1
workflows:
  pull-request:
    on: { pull_request: {} }
    steps: { review: { agent: review } }
  ask:
    on: { issues: { labels: [conductor] } }
    steps: { fix: { agent: coding } }
"""


async def replayed(town: Town) -> dict[str, RunReplay]:
    """Go through every run again, over a second connection that can only read."""
    store = open_backend(f"sqlite:///{town.database}", town.clock, read_only=True)
    try:
        desk = Desk(store, LocalBus(store, town.clock))
        judgement = Judgement(desk.state, frozenset(AGENTS))
        return {
            run.id: await replay_run(
                desk.tape,
                await desk.run(run.id[:20]),
                judge=judgement.now,
                verdicts=judgement.then,
            )
            for run in await town.runs()
        }
    finally:
        await store.close()


async def test_every_run_comes_out_as_it_did(town: Town) -> None:
    await town.push({".conductor.yml": CONFIG, "shop/cart.py": BROKEN_CART}, "main")
    town.model.script(*codes(GUARD), answers(finding()))
    town.github.open_issue(town.repo, town.ada, "Empty carts crash", "", ["conductor"])
    await town.settled()
    (pull,) = town.pull_requests()
    await town.say(pull, "/conductor status")
    reports = await replayed(town)
    assert len(reports) == 3
    assert all(report.ok(allow_drift=False) for report in reports.values()), reports
