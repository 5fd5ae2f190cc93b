"""The repository of runs, over memory and over a file."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from pipelines.errors import Conflict, LeaseLost, Retryable
from pipelines.model import (
    AgentStatus,
    Conclusion,
    RunState,
    Step,
    TaskResult,
    Usage,
    WorkflowRun,
)
from pipelines.orchestration import keys
from pipelines.orchestration.bus.local import LocalBus
from pipelines.orchestration.records import AgentRecord, EffectRecord
from pipelines.orchestration.state import (
    AGENTS_KEPT,
    DAY,
    RETENTION,
    BusJournal,
    RunChange,
    StateManager,
)
from pipelines.ports import Batch, CheckState, Lease, Message, Receipt, Write
from pipelines.stores.backend import StorageBackend
from pipelines.stores.open import open_backend
from tests.support.clock import VirtualClock
from tests.support.samples import a_change, a_finding, a_trigger

CHANGE = a_change()
TENANT = CHANGE.repository.tenant


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture(params=["memory", "sqlite"])
async def backend(
    request: pytest.FixtureRequest, tmp_path: Path, clock: VirtualClock
) -> AsyncIterator[StorageBackend]:
    url = {"memory": "memory://", "sqlite": f"sqlite:///{tmp_path}/conductor.db"}[request.param]
    backend = open_backend(url, clock)
    yield backend
    await backend.close()


@pytest.fixture
async def bus(backend: StorageBackend, clock: VirtualClock) -> AsyncIterator[LocalBus]:
    bus = LocalBus(backend, clock)
    await bus.start()
    yield bus
    await bus.close()


@pytest.fixture
def state(backend: StorageBackend, bus: LocalBus, clock: VirtualClock) -> StateManager:
    return StateManager(backend, bus, clock)


def a_run(clock: VirtualClock, identity: str = "r1", **changes: object) -> WorkflowRun:
    run = WorkflowRun(
        id=identity,
        workflow="pull-request",
        trigger=a_trigger(),
        change=CHANGE,
        config_sha="c" * 40,
        group="pull-request:pr/7",
        generation=1,
        steps=(
            Step(name="review", agent="review", has_result=True),
            Step(name="t/é", agent="test"),
        ),
        budget_usd=1.5,
        created_at=clock.now(),
        updated_at=clock.now(),
    )
    return run.model_copy(update=changes)


def completed(run: WorkflowRun) -> WorkflowRun:
    done = {"state": RunState.COMPLETED, "conclusion": Conclusion.SUCCESS}
    return run.model_copy(update=done)


def a_result(title: str = "fine", **changes: object) -> TaskResult:
    return TaskResult(
        task_id="r1/review/1",
        status="completed",
        conclusion=Conclusion.NEUTRAL,
        title=title,
        findings=(a_finding(),),
    ).model_copy(update=changes)


def a_message(clock: VirtualClock, identity: str) -> Message:
    return Message(id=identity, queue="agent.review", tenant=TENANT, enqueued_at=clock.now())


async def claim(bus: LocalBus) -> list[Lease]:
    return list(await bus.claim(["agent.review"], limit=10, wait=0, lease=60))


# --- runs ----------------------------------------------------------------------------------------


async def test_a_run_comes_back_as_it_was_stored(state: StateManager, clock: VirtualClock) -> None:
    stored = await state.create(a_run(clock))
    assert stored.version == 1
    assert await state.get(TENANT, "r1") == stored
    assert await state.get(TENANT, "r2") is None


async def test_half_a_surrogate_pair_in_a_title_is_kept(
    state: StateManager, clock: VirtualClock
) -> None:
    run = a_run(clock, change=a_change(title="half \ud800 a pair"))
    await state.create(run)
    found = await state.get(TENANT, "r1")
    assert found is not None
    assert found.change.title == "half \ud800 a pair"


async def test_a_run_of_one_tenant_is_not_found_by_another(
    state: StateManager, clock: VirtualClock
) -> None:
    await state.create(a_run(clock))
    assert await state.get("999/999", "r1") is None
    assert await state.get("999/999", f"../{TENANT}/r1") is None


async def test_each_stored_transition_adds_one_to_the_version(
    state: StateManager, clock: VirtualClock
) -> None:
    first = await state.create(a_run(clock, version=3))
    second = await state.commit(first.model_copy(update={"version": 9}), before=first)
    assert (first.version, second.version) == (1, 2)
    assert await state.get(TENANT, "r1") == second


async def test_a_transition_of_an_old_version_conflicts_and_stores_nothing(
    state: StateManager, bus: LocalBus, clock: VirtualClock
) -> None:
    first = await state.create(a_run(clock))
    await state.commit(first, before=first)
    with pytest.raises(Conflict):
        await state.commit(
            first, before=first, messages=[a_message(clock, "m")], results={"review": a_result()}
        )
    assert await claim(bus) == []
    assert await state.result(TENANT, "r1", "review") is None


async def test_a_transition_its_messages_and_the_settled_lease_are_one_step(
    state: StateManager, bus: LocalBus, backend: StorageBackend, clock: VirtualClock
) -> None:
    run = await state.create(a_run(clock), messages=[a_message(clock, "one")])
    (lease,) = await claim(bus)
    await state.commit(
        run,
        before=run,
        messages=[a_message(clock, "two")],
        settled=[lease],
        writes=[Write("other", b"x")],
    )
    assert [lease.message.id for lease in await claim(bus)] == ["two"]
    assert await backend.get("other") is not None
    again = await state.get(TENANT, "r1")
    assert again is not None
    with pytest.raises(LeaseLost):
        await state.commit(again, before=again, settled=[lease])
    assert await state.get(TENANT, "r1") == again


async def test_results_are_found_by_step(state: StateManager, clock: VirtualClock) -> None:
    run = await state.create(a_run(clock))
    run = await state.commit(run, before=run, results={"review": a_result("1"), "t/é": a_result()})
    await state.commit(run, before=run, results={"review": a_result("2")})
    assert await state.result(TENANT, "r1", "review") == a_result("2")
    assert await state.result(TENANT, "r1", "t/é") == a_result()
    assert await state.result(TENANT, "r1", "none") is None
    assert await state.results(run) == {"review": a_result("2")}


async def test_live_runs_are_listed_until_they_complete(
    state: StateManager, clock: VirtualClock
) -> None:
    one = await state.create(a_run(clock, "one", group="g1"))
    await state.create(a_run(clock, "two", group="g2"))
    await state.create(completed(a_run(clock, "three", group="g3")))
    assert [run.id async for run in state.live()] == ["one", "two"]
    await state.commit(completed(one), before=one)
    assert [run.id async for run in state.live()] == ["two"]


async def test_live_runs_of_one_tenant_are_not_those_of_a_neighbour(
    state: StateManager, clock: VirtualClock
) -> None:
    for installation, repository in ((7, 4), (7, 42), (71, 4)):
        numbers = {"installation_id": installation, "id": repository}
        repo = CHANGE.repository.model_copy(update=numbers)
        here = CHANGE.model_copy(update={"repository": repo})
        name = f"{installation}-{repository}"
        await state.create(a_run(clock, name, group=name, change=here))
    assert [run.id async for run in state.live("7/4/")] == ["7-4"]
    assert [run.id async for run in state.live("7/")] == ["7-4", "7-42"]


# --- groups --------------------------------------------------------------------------------------


async def test_a_group_points_at_its_newest_run(state: StateManager, clock: VirtualClock) -> None:
    run = a_run(clock)
    assert await state.group(TENANT, run.group) is None
    run = await state.create(run)
    group = await state.group(TENANT, run.group)
    assert group is not None
    assert (group.run_id, group.generation, group.live) == ("r1", 1, True)
    assert group.head_sha == run.change.head_sha
    await state.commit(completed(run), before=run)
    group = await state.group(TENANT, run.group)
    assert group is not None
    assert not group.live


async def test_of_two_new_runs_of_a_generation_one_wins(
    state: StateManager, clock: VirtualClock
) -> None:
    await state.create(a_run(clock, "r1"))
    with pytest.raises(Conflict):
        await state.create(a_run(clock, "r2"))
    assert await state.get(TENANT, "r2") is None
    await state.create(a_run(clock, "r3", generation=2))


async def test_two_new_runs_gathered_at_the_same_time_conflict(
    state: StateManager, bus: LocalBus, clock: VirtualClock
) -> None:
    one = await state.writes(RunChange(None, a_run(clock, "r1")))
    two = await state.writes(RunChange(None, a_run(clock, "r2")))
    await bus.commit(Batch(writes=one))
    with pytest.raises(Conflict):
        await bus.commit(Batch(writes=two))


async def test_a_superseded_run_and_its_successor_are_stored_in_one_batch(
    state: StateManager, bus: LocalBus, clock: VirtualClock
) -> None:
    old = await state.create(a_run(clock, "old"))
    successor = RunChange(None, a_run(clock, "new", generation=2))
    ended = RunChange(old, completed(old))
    await bus.commit(Batch(writes=await state.writes(successor, ended)))
    group = await state.group(TENANT, old.group)
    assert group is not None
    assert (group.run_id, group.generation, group.live) == ("new", 2, True)
    found = await state.get(TENANT, "old")
    assert found is not None
    assert not found.live


async def test_an_old_run_that_ends_late_leaves_the_group_to_the_new_one(
    state: StateManager, clock: VirtualClock
) -> None:
    old = await state.create(a_run(clock, "old"))
    await state.create(a_run(clock, "new", generation=2))
    await state.commit(completed(old), before=old)
    group = await state.group(TENANT, old.group)
    assert group is not None
    assert (group.run_id, group.live) == ("new", True)


# --- lists, money, checks, effects, agents -------------------------------------------------------


async def test_recent_runs_come_newest_first_and_page_by_page(
    state: StateManager, clock: VirtualClock
) -> None:
    for n in range(5):
        await state.create(a_run(clock, f"r{n}", group=f"g{n}"))
        await clock.advance(60)
    first = await state.recent(limit=3)
    rest = await state.recent(limit=3, after=first.after)
    assert [run.run_id for run in first.runs] == ["r4", "r3", "r2"]
    assert [run.run_id for run in rest.runs] == ["r1", "r0"]
    assert rest.after == ""


async def test_the_line_of_a_run_follows_the_run(state: StateManager, clock: VirtualClock) -> None:
    run = await state.create(a_run(clock))
    await clock.advance(5)
    await state.commit(completed(run).model_copy(update={"usage": usage(0.25)}), before=run)
    (line,) = (await state.recent()).runs
    assert (line.state, line.conclusion) == (RunState.COMPLETED, Conclusion.SUCCESS)
    assert (line.tenant, line.subject, line.cost_usd) == (TENANT, run.trigger.subject, 0.25)


def usage(cost: float, calls: int = 1) -> Usage:
    return Usage(calls=calls, input_tokens=100 * calls, cost_usd=cost, models=("mock:m",))


async def test_what_transitions_cost_adds_up_by_tenant_and_day(
    state: StateManager, clock: VirtualClock
) -> None:
    today = keys.day_of(clock.now())
    run = await state.create(a_run(clock))
    assert await state.spent(TENANT, today) == Usage()
    spent = run.model_copy(update={"usage": usage(0.25)})
    run = await state.commit(spent, before=run)
    with pytest.raises(Conflict):
        await state.commit(spent, before=run.model_copy(update={"version": 1}))
    run = await state.commit(run, before=run)
    spent = run.model_copy(update={"usage": usage(0.75, calls=3)})
    run = await state.commit(spent, before=run)
    await state.create(a_run(clock, "r2", group="other", usage=usage(1.0)))
    assert await state.spent(TENANT, today) == usage(1.75, calls=4)
    assert await state.spending(today) == {TENANT: usage(1.75, calls=4)}
    assert await state.spent("999/999", today) == Usage()

    await clock.advance(DAY)
    await state.commit(run.model_copy(update={"usage": usage(0.8, calls=4)}), before=run)
    later = await state.spent(TENANT, keys.day_of(clock.now()))
    assert later.cost_usd == pytest.approx(0.05)
    assert (await state.spent(TENANT, today)).cost_usd == 1.75


async def test_the_sum_of_a_day_is_right_whenever_it_is_asked_for(
    backend: StorageBackend, bus: LocalBus, state: StateManager, clock: VirtualClock
) -> None:
    today = keys.day_of(clock.now())
    for n in range(1, 13):
        await state.create(a_run(clock, f"r{n}", group=f"g{n}", usage=usage(0.25)))
        if n % 4 != 3:
            assert (await state.spent(TENANT, today)).calls == n
        await clock.advance(100)
    await clock.advance(3600)
    assert await state.spent(TENANT, today) == usage(3.0, calls=12)
    restarted = StateManager(backend, bus, clock)
    assert await restarted.spending(today) == await state.spending(today)


async def test_what_users_see_of_a_run_is_remembered(
    state: StateManager, backend: StorageBackend, clock: VirtualClock
) -> None:
    run = await state.create(a_run(clock))
    assert await state.check_states(run) == {}
    states = {"review": CheckState(check_run_id=4, digest="d", completed=False)}
    await backend.commit(Batch(writes=[state.checks_write(run, states)]))
    assert await state.check_states(run) == states


async def test_an_effect_is_begun_once_and_ends_with_a_receipt(
    state: StateManager, backend: StorageBackend, clock: VirtualClock
) -> None:
    name = f"review/7/{CHANGE.head_sha}"
    assert await state.effect(TENANT, name) is None
    intent = EffectRecord(run_id="r1", at=clock.now())
    begin = Batch(writes=[state.effect_write(TENANT, name, intent)])
    await backend.commit(begin)
    with pytest.raises(Conflict):
        await backend.commit(begin)
    begun = await state.effect(TENANT, name)
    assert begun is not None
    assert (begun.receipt, begun.version) == (None, 1)
    receipt = Receipt(key=name, status="done", url="https://example.org/1")
    done = begun.model_copy(update={"receipt": receipt})
    await backend.commit(Batch(writes=[state.effect_write(TENANT, name, done)]))
    found = await state.effect(TENANT, name)
    assert found is not None
    assert (found.receipt, found.run_id, found.version) == (receipt, "r1", 2)
    assert await state.effect("999/999", name) is None


async def test_the_lifecycle_of_agents_is_listed_while_it_is_fresh(
    state: StateManager, backend: StorageBackend, clock: VirtualClock
) -> None:
    record = AgentRecord(
        worker="w1", agent="review", status=AgentStatus.RUNNING, task_id="t", since=clock.now()
    )
    await backend.commit(Batch(writes=[state.agent_write(record)]))
    assert await state.agents() == [record]
    await clock.advance(AGENTS_KEPT)
    assert await state.agents() == []


# --- retention, versions, journal ----------------------------------------------------------------


async def test_a_live_run_stays_and_a_completed_one_expires_with_all_it_left(
    state: StateManager, backend: StorageBackend, clock: VirtualClock
) -> None:
    run = await state.create(a_run(clock), writes=[Write("unrelated", b"")])
    await clock.advance(3 * RETENTION)
    assert await state.get(TENANT, "r1") is not None
    run = await state.commit(completed(run), before=run, results={"review": a_result()})
    await clock.advance(RETENTION - 1)
    assert await state.get(TENANT, "r1") is not None
    assert len((await state.recent()).runs) == 1
    await clock.advance(1)
    assert await state.get(TENANT, "r1") is None
    assert await state.group(TENANT, run.group) is None
    assert (await state.recent()).runs == []
    await clock.advance(RETENTION)
    await backend.sweep()
    assert [key async for key, _ in backend.scan("")] == ["unrelated"]


async def test_a_record_of_a_later_version_makes_its_reader_wait(
    state: StateManager, backend: StorageBackend, clock: VirtualClock
) -> None:
    run = await state.create(a_run(clock))
    key = keys.run_key(TENANT, "r1")
    stored = await backend.get(key)
    assert stored is not None
    later = stored.value.replace(b'"schema_version":1', b'"schema_version":2,"new":true')
    assert later != stored.value
    await backend.commit(Batch(writes=[Write(key, later)]))
    with pytest.raises(Retryable, match="has form 2, which this version of Conductor does not"):
        await state.get(TENANT, "r1")
    with pytest.raises(Conflict):
        await state.commit(run, before=run)


async def test_a_damaged_record_is_our_fault_and_not_waited_for(
    state: StateManager, backend: StorageBackend
) -> None:
    for value in (b"{}", b"not json", b'{"schema_version":1}', b"\xff"):
        await backend.commit(Batch(writes=[Write(keys.run_key(TENANT, "r1"), value)]))
        with pytest.raises(ValueError, match="WorkflowRun"):
            await state.get(TENANT, "r1")


async def test_the_journal_stores_and_lets_messages_be_claimed(
    backend: StorageBackend, bus: LocalBus, clock: VirtualClock
) -> None:
    journal = BusJournal(backend, bus)
    await journal.commit(Batch(writes=[Write("a", b"1")], messages=[a_message(clock, "m")]))
    record = await journal.get("a")
    assert record is not None
    assert record.value == b"1"
    assert [lease.message.id for lease in await claim(bus)] == ["m"]
