"""Two people deploy to one environment at the same time."""

import asyncio

from pipelines.model import CreateDeployment, Task, TaskResult
from pipelines.ports import Workplace
from tests.support.forge import sha
from tests.unit.flow.test_crashes import a_forge, a_world, deployed, ship


async def test_the_second_deployment_waits_visibly_and_without_using_up_a_retry() -> None:
    forge = a_forge(deployed)
    world = a_world(forge)
    await world.start()
    taken, go_on = asyncio.Event(), asyncio.Event()

    async def slowly(task: Task, workplace: Workplace) -> TaskResult:
        head = task.change.head_sha
        occasion = f"{task.change.repository.tenant}/{task.step}"
        effect = CreateDeployment(head_sha=head, sha=head, environment="staging", occasion=occasion)
        await workplace.perform(effect)
        taken.set()
        await go_on.wait()
        return await ship(task, workplace)

    world.agents.acts["deploy"] = slowly
    for number in (5, 6):
        await world.comment(number, "/conductor deploy staging")
    await world.work("deliveries", "effects")
    lease = await world.claim("agent.deploy")
    assert lease
    first = asyncio.create_task(world.dispatcher.handle(lease))
    await asyncio.wait_for(taken.wait(), 5)
    await world.work("agent.deploy")

    waiting = next(run for run in await world.runs() if run.steps[0].not_before)
    (step,) = waiting.steps
    assert step.title.startswith("Waiting for `staging`: ")
    assert step.attempt - step.uncounted == 1, "the next attempt is still the first that counts"
    go_on.set()
    await first
    await world.settle()
    assert {release.sha for release in world.harbor.begun} == {sha("one"), sha("six")}
    first, second = (release.revision for release in world.harbor.begun)
    assert second == first + 1
    await world.check_accounts()
    await world.close()
