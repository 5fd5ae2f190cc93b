"""Messages about runs: their identity, their urgency, and what putting them off changes."""

from datetime import timedelta

from pipelines.model import CommandTrigger, ScheduleTrigger, Step, StepState, WorkflowRun
from pipelines.orchestration.transitions import Abort, Dispatch, Publish, Wake
from pipelines.orchestration.work import (
    UNAVAILABLE,
    Job,
    fresh,
    job_of,
    messages_of,
    postponed,
    priority_of,
    report_of,
)
from tests.support.clock import EPOCH
from tests.support.samples import ADA, REPOSITORY, a_change, a_trigger

LATER = EPOCH + timedelta(minutes=5)


def a_run(**changes: object) -> WorkflowRun:
    values: dict[str, object] = {
        "id": "run1",
        "workflow": "pull-request",
        "trigger": a_trigger(),
        "change": a_change(),
        "config_sha": "",
        "group": "pull-request/pr/12",
        "generation": 1,
        "steps": (Step(name="review", agent="review", state=StepState.QUEUED, attempt=2),),
        "budget_usd": 1.0,
        "created_at": EPOCH,
        "updated_at": EPOCH,
        "version": 4,
    }
    return WorkflowRun.model_validate(values | changes)


def test_each_command_becomes_a_message_whose_id_a_repeat_would_share() -> None:
    commands = (
        Dispatch(step="review", attempt=2, not_before=LATER),
        Publish(step="review", attempt=2),
        Wake(at=LATER),
        Abort(step="review", attempt=1),
    )
    made = messages_of(a_run(), commands, agents=frozenset({"review"}), now=EPOCH)

    assert [(m.id, m.queue, m.not_before) for m in made] == [
        ("task/run1/review/2", "agent.review", LATER),
        ("publish/run1/review/2", "effects", None),
        ("wake/run1", "timers", LATER),
    ]
    assert {m.tenant for m in made} == {"7/42"}
    assert job_of(made[0]) == Job(run="run1", step="review", attempt=2)


def test_a_step_whose_agent_is_not_here_goes_where_it_ends_at_once() -> None:
    (made,) = messages_of(
        a_run(), (Dispatch(step="review", attempt=2),), agents=frozenset(), now=EPOCH
    )

    assert made.queue == UNAVAILABLE


def test_what_people_wait_for_goes_before_pushes_and_those_before_the_clock() -> None:
    shared = {"repository": REPOSITORY, "actor": ADA, "delivery_id": "d"}
    command = CommandTrigger.model_validate(
        shared | {"number": 12, "on_pull_request": True, "comment_id": 1, "verb": "review"}
    )
    clock = ScheduleTrigger.model_validate(
        shared | {"workflow": "nightly", "cron": "0 0 * * *", "due_at": EPOCH}
    )
    runs = [a_run(trigger=clock), a_run(), a_run(trigger=command)]

    assert sorted(runs, key=priority_of) == [runs[2], runs[1], runs[0]]


def test_putting_off_counts_failures_and_forgets_claims() -> None:
    first = report_of(a_run(), EPOCH)
    claimed = first.model_copy(update={"attempts": 2})
    again = postponed(claimed, until=LATER, failed=True, now=EPOCH)
    parked = postponed(again, until=LATER, failed=False, now=EPOCH)

    assert (again.id, again.attempts, again.body["failures"]) == ("report/run1~1", 0, 1)
    assert (parked.id, parked.body["failures"]) == ("report/run1~2", 1)
    assert fresh(parked).id == first.id
    assert fresh(parked).body == first.body
