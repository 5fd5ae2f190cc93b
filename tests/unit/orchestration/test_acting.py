"""Environments have one live deployment, and every deed for them happens once."""

import asyncio
from collections import Counter

import pytest

from pipelines.errors import Parked, Retryable, UserError
from pipelines.model import (
    Coverage,
    DeploymentTrigger,
    Effect,
    Notify,
    StepState,
    SubmitReview,
    WorkflowRun,
)
from pipelines.orchestration.acting import Refused
from pipelines.orchestration.keys import environment_key
from pipelines.orchestration.records import EffectRecord
from pipelines.ports import Batch, Write
from tests.simulation.plans import AUTHOR, HEAD, OTHER, REPOSITORY, a_change, a_step
from tests.support.clock import EPOCH
from tests.support.forge import Crash
from tests.unit.orchestration.yard import TENANT, Yard, created, deploying, released, told

THIRD = "d" * 40
FIRST = int(EPOCH.timestamp())
"""The first revision of an environment that nothing is known of."""


async def refused(yard: Yard, run: WorkflowRun, effect: Effect) -> str:
    with pytest.raises(Refused) as caught:
        await yard.act(run, effect)
    return str(caught.value)


async def test_a_deployment_takes_its_environment_and_lets_go_of_it(yard: Yard) -> None:
    run = await yard.begun(deploying("a"))
    number = (await yard.act(run, created(run))).number
    assert number
    held = await yard.environment()
    assert held.holder
    assert (held.holder.run_id, held.holder.deployment_id, held.revision) == ("a", number, FIRST)
    await yard.act(run, released(run, number))
    assert [(each.sha, each.revision) for each in yard.harbor.begun] == [(HEAD, FIRST)]
    await yard.act(run, told(run, number, "success"))
    free = await yard.environment()
    assert free.holder is None
    assert (free.current_sha, free.deployed_at) == (HEAD, yard.clock.now())
    assert free.last_good
    assert (free.last_good.sha, free.last_good.deployment_id, free.before) == (HEAD, number, None)


async def test_after_the_store_was_lost_an_environment_can_be_deployed_to_again(
    yard: Yard,
) -> None:
    for name in ("a", "b", "c"):
        await yard.deploy(await yard.begun(deploying(name)))
    before = yard.harbor.begun[-1].revision
    await yard.inner.commit(Batch(writes=[Write(environment_key(TENANT, "staging"), None)]))
    await yard.clock.advance(60.0)
    await yard.deploy(await yard.begun(deploying("d")))
    assert yard.harbor.begun[-1].revision > before, "or its target would refuse it as older"


async def test_of_a_hundred_runs_at_once_one_deploys_and_the_others_wait(yard: Yard) -> None:
    runs = [await yard.begun(deploying(f"r{n}")) for n in range(100)]
    outcomes = await asyncio.gather(
        *(yard.act(run, created(run)) for run in runs), return_exceptions=True
    )
    kinds = Counter(type(outcome).__name__ for outcome in outcomes)
    assert kinds == {"Receipt": 1, "Parked": 99}
    assert len(yard.forge.done) == 1
    assert (await yard.environment()).revision == FIRST
    waiting = next(outcome for outcome in outcomes if isinstance(outcome, Parked))
    assert str(waiting) == f"Waiting for `staging`: {HEAD[:12]} is being deployed there."
    assert 0 < (waiting.until - yard.clock.now()).total_seconds() <= 60


async def test_whoever_waited_deploys_once_the_environment_is_free(yard: Yard) -> None:
    first = await yard.begun(deploying("a"))
    second = await yard.begun(deploying("b", OTHER))
    number = (await yard.act(first, created(first))).number
    assert number
    with pytest.raises(Parked):
        await yard.act(second, created(second))
    await yard.act(first, told(first, number, "failure"))
    await yard.deploy(second)
    record = await yard.environment()
    assert record.revision == FIRST + 1
    assert record.last_good
    assert record.last_good.sha == OTHER


@pytest.mark.parametrize("how", ["the run ended", "its step ended"])
async def test_an_environment_whose_holder_died_is_free(yard: Yard, how: str) -> None:
    first = await yard.begun(deploying("a"))
    second = await yard.begun(deploying("b", OTHER))
    await yard.act(first, created(first))
    if how == "the run ended":
        await yard.ended(first)
    else:
        over = first.steps[0].model_copy(update={"state": StepState.COMPLETED})
        await yard.state.commit(first.model_copy(update={"steps": (over,)}), before=first)
    await yard.deploy(second)
    assert [each.sha for each in yard.harbor.begun] == [OTHER]


async def test_a_holder_that_wakes_up_too_late_releases_nothing(yard: Yard) -> None:
    late = await yard.begun(deploying("a"))
    number = (await yard.act(late, created(late))).number
    assert number
    await yard.ended(late)
    new = await yard.begun(deploying("b", OTHER))
    await yard.deploy(new)
    assert "belongs to another deployment" in await refused(yard, late, released(late, number))
    await yard.act(late, told(late, number, "success"))
    record = await yard.environment()
    assert record.last_good
    assert record.last_good.sha == record.current_sha == OTHER
    assert [each.sha for each in yard.harbor.asked] == [OTHER]


async def test_a_release_that_was_on_its_way_is_refused_by_its_revision(yard: Yard) -> None:
    """Even whoever passed every check here is stopped where it matters."""
    late = await yard.begun(deploying("a"))
    number = (await yard.act(late, created(late))).number
    assert number
    old = await yard.environment()
    await yard.ended(late)
    new = await yard.begun(deploying("b", OTHER))
    await yard.deploy(new)
    plan = late.environment("staging")
    assert plan
    with pytest.raises(UserError, match="newer"):
        await yard.outlets.release(late, plan, released(late, number), old.revision)
    assert [each.sha for each in yard.harbor.begun] == [OTHER]


async def test_a_rollback_takes_the_environment_over_from_its_own_step(yard: Yard) -> None:
    good = await yard.begun(deploying("a", OTHER))
    await yard.deploy(good)
    await yard.ended(good)
    bad = await yard.begun(deploying("b"))
    first = (await yard.act(bad, created(bad))).number
    assert first
    await yard.act(bad, released(bad, first))
    back = created(bad, sha=OTHER, rollback=True, occasion="b/ship/rollback")
    second = (await yard.act(bad, back)).number
    assert second
    await yard.act(bad, told(bad, first, "failure"))
    held = await yard.environment()
    assert held.holder
    assert (held.holder.deployment_id, held.revision) == (second, FIRST + 2)
    await yard.act(bad, released(bad, second, sha=OTHER, rollback=True))
    await yard.act(bad, told(bad, second, "success"))
    record = await yard.environment()
    assert record.current_sha == OTHER
    assert record.last_good
    assert record.last_good.sha == OTHER
    assert [each.revision for each in yard.harbor.begun] == [FIRST, FIRST + 1, FIRST + 2]


async def test_what_a_rollback_led_away_from_is_never_gone_back_to(yard: Yard) -> None:
    for name, sha in (("a", OTHER), ("b", THIRD), ("c", HEAD)):
        run = await yard.begun(deploying(name, sha))
        await yard.deploy(run)
        await yard.ended(run)
    record = await yard.environment()
    assert record.last_good
    assert record.before
    assert (record.last_good.sha, record.before.sha) == (HEAD, THIRD)
    run = await yard.begun(deploying("d", HEAD))
    back = created(run, sha=THIRD, rollback=True, occasion="d/ship/rollback")
    number = (await yard.act(run, back)).number
    assert number
    await yard.act(run, told(run, number, "success"))
    record = await yard.environment()
    assert record.last_good
    assert (record.last_good.sha, record.before) == (THIRD, None)


async def test_a_deployment_that_a_person_created_takes_the_environment_too(yard: Yard) -> None:
    trigger = DeploymentTrigger(
        repository=REPOSITORY,
        actor=AUTHOR,
        delivery_id="d-9",
        deployment_id=55,
        environment="staging",
        sha=HEAD,
        ref="main",
    )
    run = await yard.begun(deploying("a", trigger=trigger))
    await yard.act(run, told(run, 55, "in_progress"))
    held = await yard.environment()
    assert held.holder
    assert (held.holder.deployment_id, held.holder.sha) == (55, HEAD)
    other = await yard.begun(deploying("b", OTHER))
    with pytest.raises(Parked):
        await yard.act(other, created(other))
    await yard.act(run, released(run, 55))
    await yard.act(run, told(run, 55, "success"))
    assert (await yard.environment()).holder is None


async def test_a_deed_that_is_asked_for_again_is_not_done_again(yard: Yard) -> None:
    run = await yard.begun(deploying("a"))
    number = await yard.deploy(run)
    assert await yard.deploy(run) == number
    assert len(yard.harbor.asked) == 1
    assert max(yard.forge.written().values()) == 1
    assert (await yard.environment()).revision == FIRST


async def test_dying_at_any_touch_of_a_deployment_loses_and_doubles_nothing(yard: Yard) -> None:
    faults, points = yard.forge.faults, 0
    while True:
        run = await yard.begun(deploying(f"run-{points}"))
        faults.crash_at = len(faults.passed) + points
        try:
            await yard.deploy(run)
        except Crash:
            faults.crash_at = None
            await yard.bus.close()
            await yard.start()
            await yard.deploy(run)
        else:
            faults.crash_at = None
            break
        await yard.ended(run)
        assert yard.forge.written()[created(run).key] == 1
        record = await yard.environment()
        assert record.holder is None
        assert record.last_good
        assert record.last_good.deployment_id == yard.forge.numbers[created(run).key]
        points += 1
    assert points > 20
    assert max(yard.forge.written().values()) == 1
    assert len(yard.harbor.begun) == len({each.key for each in yard.harbor.begun}) == points + 1


async def test_another_agents_deeds_wait_for_the_end_of_its_task(yard: Yard) -> None:
    run = await yard.begun(deploying("a", HEAD, a_step("fix", agent="coding", attempt=1)))
    with pytest.raises(Refused, match="coding agent may not"):
        await yard.act(run, Notify(title="Hi", occasion="o"), "fix")


async def test_without_a_channel_nobody_is_told_and_nothing_fails(yard: Yard) -> None:
    run = await yard.begun(deploying("a"))
    receipt = await yard.act(run, Notify(title="Hi", occasion="o"))
    assert (receipt.status, receipt.message) == ("done", "No channel is set up.")


async def test_a_refusal_of_the_forge_gives_the_environment_back(yard: Yard) -> None:
    yard.forge.denied.add("create_deployment")
    run = await yard.begun(deploying("a"))
    receipt = await yard.act(run, created(run))
    assert (receipt.status, receipt.message) == ("denied", "The forge says no.")
    assert (await yard.environment()).holder is None


async def test_two_steps_of_one_run_do_not_write_the_same_at_once(yard: Yard) -> None:
    """Looking first does not help while the other is still on its way."""
    first, second = (a_step(name, agent="review", attempt=1) for name in ("first", "second"))
    run = await yard.begun(deploying("a", HEAD, first, second, change=a_change(HEAD, number=5)))
    said = SubmitReview(number=5, head_sha=HEAD, findings=(), summary="Fine.", coverage=Coverage())
    begun = EffectRecord(run_id=run.id, holder="a/first", at=yard.clock.now())
    write = yard.state.effect_write(TENANT, said.key, begun)
    await yard.inner.commit(Batch(writes=[write]))
    with pytest.raises(Retryable, match="has just begun to publish the same"):
        await yard.acting.act(run, second, said)
    await yard.acting.act(run, first, said)
    assert [key for key, _ in yard.forge.done] == [said.key]
