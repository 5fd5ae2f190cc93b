"""A run keeps to the plan with which it began, whenever its configuration changes."""

from tests.support.agents import quiet
from tests.support.forge import Forge, Pull, sha
from tests.support.world import World

BEFORE = """\
version: 1
workflows:
  check:
    on: { pull_request: { types: [opened] } }
    steps:
      first: { agent: review }
      second: { agent: review, needs: [first] }
      third: { agent: review, needs: [second] }
"""
AFTER = BEFORE.replace("second]", "first]").replace("second:", "other:", 1)
LANES = ("deliveries", "effects", "reports", "timers", "agent.review")


async def run_until_flipped(point: int | None) -> tuple[int, tuple[str, ...], list[str], str]:
    """Change the file after so many messages; return the messages, the plan and what was done."""
    forge = Forge(config=BEFORE, pulls={5: Pull(5, "one")})
    world = await World.started(forge, script=quiet)
    await world.pull_request("opened", 5, "one")
    messages = 0
    while True:
        if messages == point:
            forge.config = AFTER
        lease = await world.claim(*LANES)
        if lease is None:
            break
        await world.dispatcher.handle(lease)
        messages += 1
    await world.settle()
    (run,) = await world.runs()
    await world.check_accounts()
    steps = [task.step for task in world.agents.tasks]
    await world.close()
    return messages, tuple(step.name for step in run.steps), steps, run.config_sha


async def test_a_file_that_changes_at_any_moment_changes_no_run_that_began() -> None:
    messages, plan, steps, config = await run_until_flipped(None)
    assert config == sha(BEFORE)
    began = 1
    for point in range(began, messages):
        assert await run_until_flipped(point) == (messages, plan, steps, config), point
    print(f"R26: changed after each of {messages} messages: {messages - began} equal plans {plan}")
    assert plan == tuple(steps) == ("first", "second", "third")
