"""Tasks under leases: aborted, overtaken, failing, over budget; and how they are published."""

import asyncio
from datetime import timedelta

import pytest

from pipelines.errors import (
    Ambiguous,
    ModelUnavailable,
    Parked,
    Retryable,
)
from pipelines.model import Conclusion, Failure, StepState, Task, TaskResult, Usage
from pipelines.orchestration.bus.dead import DeadLetters
from pipelines.orchestration.keys import day_of
from pipelines.orchestration.leases import LEASE_SECONDS
from pipelines.orchestration.records import EffectRecord
from pipelines.orchestration.tasks import tainted
from pipelines.ports import Batch, Lease
from tests.support.agents import review
from tests.support.forge import Forge, Pull, sha
from tests.support.world import World


@pytest.fixture
def forge() -> Forge:
    return Forge(pulls={5: Pull(5, "one")})


async def reviewing(world: World) -> asyncio.Task[None]:
    """Bring a pull request to where its agent works and does not come to an end."""
    return (await under_review(world))[1]


async def under_review(world: World) -> tuple[Lease, asyncio.Task[None]]:
    """As ``reviewing``, with the lease that its worker holds."""
    world.agents.hold = asyncio.Event()
    await world.pull_request("opened", 5, "one")
    await world.work("deliveries", "reports")
    lease = await world.claim("agent.review")
    assert lease is not None
    task = asyncio.create_task(world.dispatcher.handle(lease))
    await asyncio.wait_for(world.agents.started.wait(), 5)
    return lease, task


async def test_superseding_a_run_aborts_its_agent_at_once(world: World, forge: Forge) -> None:
    async with world.execution.listening():
        old = await reviewing(world)
        forge.pulls[5].head = "two"
        await world.pull_request("synchronize", 5, "two")
        await world.work("deliveries")
        await asyncio.wait_for(old, 5)

        assert len(world.agents.cancelled) == 1
        assert not world.agents.running
        world.agents.hold = None
        await world.settle()
    assert set(forge.written()) == {f"review/5/{sha('two')}"}


async def test_an_abort_that_was_missed_is_noticed_at_the_next_renewal(
    world: World, forge: Forge
) -> None:
    old = await reviewing(world)
    forge.pulls[5].open = False
    await world.pull_request("closed", 5, "one")
    await world.work("deliveries")
    await pass_time(world, 25, until=old)

    assert len(world.agents.cancelled) == 1


async def test_a_lease_is_kept_for_as_long_as_the_agent_works(world: World, forge: Forge) -> None:
    task = await reviewing(world)
    await pass_time(world, 300)
    assert await world.claim("agent.review") is None
    assert world.agents.hold is not None
    world.agents.hold.set()
    await asyncio.wait_for(task, 5)
    await world.settle()

    assert len(world.agents.tasks) == 1
    assert forge.conclusions("one") == {"pull-request / review": "neutral: 1 finding"}


async def test_a_worker_that_lost_its_lease_stores_nothing(world: World, forge: Forge) -> None:
    await world.pull_request("opened", 5, "one")
    await world.work("deliveries")
    frozen = await world.claim("agent.review")
    assert frozen is not None
    await world.clock.advance(61)
    await world.settle()
    before = (await world.runs())[0]
    await world.dispatcher.handle(frozen)

    assert (await world.runs())[0] == before
    assert sum(forge.written().values()) == 1


async def test_a_step_without_end_times_out_and_says_so(world: World, forge: Forge) -> None:
    async with world.execution.listening():
        task = await reviewing(world)
        await pass_time(world, 905, until=task, work=True)
    world.agents.hold = None

    assert forge.conclusions("one") == {
        "pull-request / review": "timed_out: Timed out after 15 min."
    }


async def test_a_passing_fault_of_an_agent_is_tried_again(world: World, forge: Forge) -> None:
    forge.faults.plan("agent", Retryable("Anthropic is overloaded.", dependency="anthropic"))
    await world.pull_request("opened", 5, "one")
    await world.settle()

    assert [task.attempt for task in world.agents.tasks] == [1, 2]
    assert forge.conclusions("one") == {"pull-request / review": "neutral: 1 finding"}


async def test_a_fault_that_does_not_pass_ends_the_step_and_leaves_a_dead_letter(
    world: World, forge: Forge
) -> None:
    forge.faults.plan("agent", *[ValueError("secret detail")] * 5)
    await world.pull_request("opened", 5, "one")
    await world.settle()

    verdict = forge.conclusions("one")["pull-request / review"]
    assert verdict.startswith("failure: Conductor failed on its own account")
    assert "secret detail" not in verdict
    letters = await DeadLetters(world.store, world.bus, world.clock).list()
    assert [letter.message.queue for letter in letters] == ["agent.review"]


async def test_an_agent_that_kills_its_worker_is_given_up_visibly(
    world: World, forge: Forge
) -> None:
    await world.pull_request("opened", 5, "one")
    await world.work("deliveries", "reports")
    for _ in range(3):
        assert await world.claim("agent.review") is not None
        await world.clock.advance(61)
    await world.settle()

    assert "Given up" in forge.conclusions("one")["pull-request / review"]


async def test_no_model_is_neutral_never_red(world: World, forge: Forge) -> None:
    forge.faults.plan("agent", ModelUnavailable("No model answered."))
    await world.pull_request("opened", 5, "one")
    await world.settle()

    assert forge.conclusions("one") == {"pull-request / review": "neutral: No model answered."}


async def test_an_agent_that_answers_another_task_fails(world: World, forge: Forge) -> None:
    world.agents.script = lambda task: review(task).model_copy(update={"task_id": "other"})
    await world.pull_request("opened", 5, "one")
    await world.settle()

    assert forge.conclusions("one")["pull-request / review"].startswith("failure: ")
    assert not forge.done


async def test_a_failed_result_ends_as_it_says_and_its_cost_is_counted(
    world: World, forge: Forge
) -> None:
    def broke(task: Task) -> TaskResult:
        return TaskResult(
            task_id=task.id,
            status="failed",
            conclusion=Conclusion.NEUTRAL,
            title="Budget spent",
            usage=review(task).usage,
            failure=Failure(kind="user", message="The budget is spent."),
        )

    world.agents.script = broke
    await world.pull_request("opened", 5, "one")
    await world.settle()

    (run,) = await world.runs()
    assert run.usage.cost_usd == pytest.approx(0.01)
    assert forge.conclusions("one") == {"pull-request / review": "neutral: The budget is spent."}


async def test_a_spent_day_denies_the_next_run(forge: Forge) -> None:
    forge.config = """\
version: 1
budget: { per_day: 0.01 }
workflows: { pr: { on: { pull_request: {} }, steps: { review: { agent: review } } } }
"""
    world = await World.started(forge)
    await world.pull_request("opened", 5, "one")
    await world.settle()
    forge.pulls[5].head = "two"
    await world.pull_request("synchronize", 5, "two")
    await world.settle()

    assert len(world.agents.tasks) == 1
    assert forge.conclusions("two")["pr / review"].startswith("neutral: Today has spent 0.01")
    await world.close()


# --- what is spent on work that is thrown away ---------------------------------------------------

UNDER_WAY = Usage(calls=1, cost_usd=0.25)


async def spent(world: World) -> float:
    """US dollars of all runs; those of the day must say the same."""
    runs = sum(run.usage.cost_usd for run in await world.runs())
    days = await world.state.spending(day_of(world.clock.now()))
    assert sum(usage.cost_usd for usage in days.values()) == pytest.approx(runs)
    return runs


async def test_a_model_call_that_a_push_cut_off_is_billed_to_its_run_and_to_the_day(
    world: World, forge: Forge
) -> None:
    world.agents.under_way = UNDER_WAY
    async with world.execution.listening():
        old = await reviewing(world)
        forge.pulls[5].head = "two"
        await world.pull_request("synchronize", 5, "two")
        await world.work("deliveries")
        await asyncio.wait_for(old, 5)
        world.agents.hold = None
        assert await spent(world) == pytest.approx(0.25)
        await world.settle()

    costs = {run.change.head_sha: run.usage.cost_usd for run in await world.runs()}
    assert costs == pytest.approx({sha("one"): 0.25, sha("two"): 0.01})
    assert await spent(world) == pytest.approx(0.26)


async def test_an_abort_that_was_missed_is_billed_too(world: World, forge: Forge) -> None:
    world.agents.under_way = UNDER_WAY
    old = await reviewing(world)
    forge.pulls[5].open = False
    await world.pull_request("closed", 5, "one")
    await world.work("deliveries")
    await pass_time(world, 25, until=old)
    await asyncio.wait_for(old, 5)

    assert await spent(world) == pytest.approx(0.25)


async def test_an_agent_that_crashed_is_billed_what_it_had_told_and_its_retry_on_top(
    world: World, forge: Forge
) -> None:
    world.agents.under_way = UNDER_WAY
    forge.faults.plan("agent", Retryable("The agent process ended with code -9."))
    await world.pull_request("opened", 5, "one")
    await world.settle()

    assert [task.attempt for task in world.agents.tasks] == [1, 2]
    assert await spent(world) == pytest.approx(0.26)


async def test_a_worker_that_lost_its_lease_bills_its_part_and_the_next_one_its_own(
    world: World, forge: Forge
) -> None:
    world.agents.under_way = UNDER_WAY
    lease, frozen = await under_review(world)
    await world.bus.release(lease)
    later = await world.claim("agent.review")
    assert later is not None
    await pass_time(world, 21, until=frozen)
    await asyncio.wait_for(frozen, 5)
    assert await spent(world) == pytest.approx(0.25)
    (run,) = await world.runs()
    assert run.steps[0].state is StepState.RUNNING

    world.agents.hold = None
    await world.dispatcher.handle(later)
    assert await spent(world) == pytest.approx(0.26)
    assert len(world.agents.tasks) == 2


async def test_a_worker_that_is_stopped_bills_what_its_agent_spent(
    world: World, forge: Forge
) -> None:
    world.agents.under_way = UNDER_WAY
    task = await reviewing(world)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)

    world.agents.hold = None
    assert task.cancelled()
    assert await spent(world) == pytest.approx(0.25)


async def test_an_agent_that_is_not_here_is_named(world: World, forge: Forge) -> None:
    forge.config = """\
version: 1
workflows: { pr: { on: { pull_request: {} }, steps: { tests: { agent: test } } } }
"""
    await world.pull_request("opened", 5, "one")
    await world.settle()

    assert "has no agent `test`" in forge.conclusions("one")["pr / tests"]


# --- publishing ----------------------------------------------------------------------------------


async def test_a_push_just_before_the_review_keeps_it_from_being_posted(
    world: World, forge: Forge
) -> None:
    await world.pull_request("opened", 5, "one")
    await world.work("deliveries", "agent.review")
    forge.pulls[5].head = "two"
    await world.settle()

    assert not forge.done
    verdict = forge.conclusions("one")["pull-request / review"]
    assert "Not published: The commit is no longer the head." in verdict


async def test_an_effect_for_another_commit_is_denied_and_never_called_success(
    world: World, forge: Forge
) -> None:
    def confused(task: Task) -> TaskResult:
        result = review(task)
        effect = result.effects[0].model_copy(update={"head_sha": sha("other")})
        return result.model_copy(update={"effects": (effect,), "conclusion": Conclusion.SUCCESS})

    world.agents.script = confused
    await world.pull_request("opened", 5, "one")
    await world.settle()

    assert not forge.done
    assert forge.conclusions("one")["pull-request / review"].startswith("failure: ")


async def test_a_write_that_may_have_happened_is_looked_up(world: World, forge: Forge) -> None:
    forge.faults.plan("after submit_review", Ambiguous("Cut off.", dependency="github"))
    forge.faults.plan("after check", Ambiguous("Cut off.", dependency="github"))
    await world.pull_request("opened", 5, "one")
    await world.settle()

    assert forge.written() == {f"review/5/{sha('one')}": 1}
    assert len(forge.checks) == 1


async def begin(world: World, run_id: str) -> None:
    """Note down, as another worker would, that a run's review is about to be posted."""
    tenant, key = (await world.runs())[0].change.repository.tenant, f"review/5/{sha('one')}"
    begun = EffectRecord(run_id=run_id, holder=f"{run_id}/review", at=world.clock.now())
    write = world.state.effect_write(tenant, key, begun)
    await world.bus.commit(Batch(writes=[write]))


async def test_what_another_run_is_about_to_do_is_left_to_it_for_as_long_as_a_lease(
    world: World, forge: Forge
) -> None:
    await world.pull_request("opened", 5, "one")
    await world.work("deliveries", "agent.review")
    started = world.clock.monotonic()
    await begin(world, "another")
    await world.work("effects")
    assert not forge.done

    await world.settle()
    assert forge.written() == {f"review/5/{sha('one')}": 1}
    assert world.clock.monotonic() >= started + LEASE_SECONDS


async def test_what_a_step_began_itself_is_looked_up_at_once(world: World, forge: Forge) -> None:
    await world.pull_request("opened", 5, "one")
    await world.work("deliveries", "agent.review")
    (run,) = await world.runs()
    await begin(world, run.id)
    await world.work("effects")
    assert forge.written() == {f"review/5/{sha('one')}": 1}


async def test_an_intent_that_is_older_than_a_lease_is_taken_over(
    world: World, forge: Forge
) -> None:
    await world.pull_request("opened", 5, "one")
    await world.work("deliveries", "agent.review")
    await begin(world, "another")
    await world.clock.advance(LEASE_SECONDS)
    await world.work("effects")
    assert forge.written() == {f"review/5/{sha('one')}": 1}


async def test_a_limit_is_sat_out_without_using_up_attempts(world: World, forge: Forge) -> None:
    until = world.clock.now() + timedelta(minutes=40)
    limits = [Parked("Limit.", until=until, scope="7") for _ in range(9)]
    forge.faults.plan("before submit_review", *limits)
    await world.pull_request("opened", 5, "one")
    await world.settle(hours=2)

    assert forge.written() == {f"review/5/{sha('one')}": 1}
    assert world.clock.now() > until


async def test_what_cannot_be_published_is_a_visible_failure(world: World, forge: Forge) -> None:
    forge.faults.plan("before submit_review", *[KeyError("x")] * 3)
    await world.pull_request("opened", 5, "one")
    await world.settle()

    verdict = forge.conclusions("one")["pull-request / review"]
    assert verdict.startswith("failure: Not published: Conductor failed on its own account")


async def test_taint_flows_along_the_edges(world: World, forge: Forge) -> None:
    forge.config = """\
version: 1
workflows:
  pr:
    on: { pull_request: {} }
    steps:
      a: { agent: review }
      b: { agent: review, needs: [a], if: always() }
      c: { agent: review, needs: [b], if: always() }
      d: { agent: review }
"""
    world.agents.script = lambda task: review(task).model_copy(
        update={"effects": (), "outputs": {"tainted": task.step == "a"}}
    )
    await world.pull_request("opened", 5, "one")
    await world.settle()

    assert {task.step: task.tainted for task in world.agents.tasks} == {
        "a": False,
        "b": True,
        "c": True,
        "d": False,
    }
    (run,) = await world.runs()
    assert tainted(run, run.step("c"))


async def pass_time(
    world: World, seconds: int, *, until: asyncio.Task[None] | None = None, work: bool = False
) -> None:
    """Let so many seconds pass in small steps, in which stores with threads keep up."""
    for _ in range(seconds):
        if until is not None and until.done():
            return
        await world.clock.advance(1)
        await asyncio.sleep(0.001)
        if work:
            await world.work("timers", "reports")
