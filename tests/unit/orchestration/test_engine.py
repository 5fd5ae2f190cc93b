from datetime import datetime, timedelta
from typing import Any

import pytest

from pipelines.config.conditions import ConditionError
from pipelines.model import (
    Approval,
    Conclusion,
    RunState,
    Step,
    StepState,
    Usage,
    WorkflowRun,
)
from pipelines.orchestration.engine import WorkflowEngine
from pipelines.orchestration.graph import Cycle
from pipelines.orchestration.outcome import Limits
from pipelines.orchestration.transitions import (
    Abort,
    ApprovalNeeded,
    CancelRequested,
    Command,
    Dispatch,
    EffectsPublished,
    Publish,
    Report,
    RunEvent,
    Started,
    StepApproved,
    StepClaimed,
    StepFailed,
    StepFinished,
    StepSpent,
    Superseded,
    Ticked,
    Wake,
)
from tests.simulation.plans import HEAD, OTHER, a_change, a_run, a_step
from tests.support.clock import EPOCH

LIMITS = Limits(queue_seconds=3600, publish_seconds=600, approval_seconds=7200)


class Story:
    """A run, told event by event at a time that the test moves."""

    def __init__(self, *steps: Step | str, **fields: Any) -> None:
        self.engine = WorkflowEngine(LIMITS)
        self.run: WorkflowRun = a_run(*steps, **fields)
        self.now: datetime = EPOCH
        self.commands: tuple[Command, ...] = ()
        self.happens(Started())

    def happens(self, event: RunEvent) -> tuple[Command, ...]:
        before = self.run
        result = self.engine.advance(before, event, self.now)
        self.run, self.commands = result.run, result.commands
        if self.run != before:
            assert self.run.version == before.version + 1
            assert self.run.updated_at == self.now
        return self.commands

    def nothing_happens(self, event: RunEvent) -> None:
        before = self.run
        assert self.happens(event) == ()
        assert self.run is before

    def later(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    def claim(self, step: str) -> tuple[Command, ...]:
        return self.happens(StepClaimed(step=step, attempt=self.run.step(step).attempt))

    def finish(self, step: str, how: Conclusion = Conclusion.SUCCESS, **fields: Any) -> None:
        self.claim(step)
        self.happens(finished(step, self.run.step(step).attempt, how, **fields))

    def fail(self, step: str, *, retry_in: float | None = None, **fields: Any) -> None:
        self.claim(step)
        retry_at = None if retry_in is None else self.now + timedelta(seconds=retry_in)
        attempt = self.run.step(step).attempt
        self.happens(
            StepFailed(
                step=step,
                attempt=attempt,
                conclusion=Conclusion.FAILURE,
                title="The model broke.",
                retry_at=retry_at,
                **fields,
            )
        )

    def states(self) -> dict[str, str]:
        return {step.name: step.state.value for step in self.run.steps}

    def dispatched(self) -> list[str]:
        return [c.step for c in self.commands if isinstance(c, Dispatch)]

    def wakes(self) -> list[datetime]:
        return [c.at for c in self.commands if isinstance(c, Wake)]


def finished(
    step: str, attempt: int, how: Conclusion = Conclusion.SUCCESS, **fields: Any
) -> StepFinished:
    return StepFinished(step=step, attempt=attempt, conclusion=how, title="Done.", **fields)


def consent(step: str, **fields: Any) -> StepApproved:
    approval = Approval(by_id=9, by_login="grace", level="write", at=EPOCH)
    return StepApproved(step=step, approval=approval, **fields)


def approval_needed(step: str, attempt: int = 1) -> ApprovalNeeded:
    return ApprovalNeeded(step=step, attempt=attempt, level="write", title="A writer must agree.")


# --- order ---------------------------------------------------------------------------------------


def test_steps_with_no_path_between_them_are_dispatched_at_the_same_time() -> None:
    story = Story("review", "fixtures", a_step("tests", "fixtures"))
    assert story.dispatched() == ["review", "fixtures"]
    assert story.states() == {"review": "queued", "fixtures": "queued", "tests": "pending"}


def test_a_step_waits_for_all_its_needs() -> None:
    story = Story("a", "b", a_step("c", "a", "b"))
    story.finish("a")
    assert story.dispatched() == []
    story.finish("b")
    assert story.dispatched() == ["c"]


def test_a_plan_without_an_order_or_with_a_bad_condition_makes_no_run() -> None:
    with pytest.raises(Cycle):
        a_run(a_step("a", "b"), a_step("b", "a"))
    with pytest.raises(ConditionError):
        a_run(a_step("a", condition="sometimes()"))


def test_starting_twice_dispatches_once() -> None:
    story = Story("a")
    story.nothing_happens(Started())


def test_a_failure_skips_what_builds_on_it_and_says_why() -> None:
    story = Story("a", a_step("b", "a"), a_step("c", "b"))
    story.fail("a")
    assert story.run.step("b").conclusion is Conclusion.SKIPPED
    assert "`a` ended as failure" in story.run.step("b").title
    assert "`b` ended as skipped" in story.run.step("c").title
    assert story.run.conclusion is Conclusion.FAILURE


@pytest.mark.parametrize("condition", ["failure()", "always()"])
def test_a_step_that_asks_for_it_runs_after_a_failure(condition: str) -> None:
    story = Story("a", a_step("clean", "a", condition=condition))
    story.fail("a")
    assert story.dispatched() == ["clean"]
    story.finish("clean")
    assert story.run.conclusion is Conclusion.FAILURE


def test_a_step_whose_condition_is_about_other_paths_is_skipped() -> None:
    story = Story("a", a_step("docs", condition="changed('docs/**')"))
    assert story.dispatched() == ["a"]
    assert "changed('docs/**')" in story.run.step("docs").title


def test_a_skip_by_paths_admits_that_not_all_paths_are_known() -> None:
    story = Story(
        "a",
        a_step("docs", condition="changed('docs/**')"),
        change=a_change(paths_complete=False),
    )
    assert "not all changed files could be listed" in story.run.step("docs").title


def test_a_run_of_which_everything_is_skipped_is_skipped_at_once() -> None:
    story = Story(a_step("docs", condition="changed('docs/**')"), a_step("more", "docs"))
    assert story.run.state is RunState.COMPLETED
    assert story.run.conclusion is Conclusion.SKIPPED
    assert story.commands == (Report(),)


# --- claims, attempts and stale events -----------------------------------------------------------


def test_a_claim_starts_the_deadline_and_asks_to_be_woken_for_it() -> None:
    story = Story(a_step("a", timeout_seconds=90))
    story.later(30)
    story.claim("a")
    step = story.run.step("a")
    assert step.state is StepState.RUNNING
    assert step.started_at == story.now
    assert step.deadline == story.now + timedelta(seconds=90)
    assert story.wakes() == [step.deadline]


def test_a_second_claim_of_a_crashed_workers_task_keeps_the_deadline() -> None:
    story = Story("a")
    story.claim("a")
    story.later(60)
    story.nothing_happens(StepClaimed(step="a", attempt=1))


def test_events_of_another_attempt_change_nothing() -> None:
    story = Story("a")
    story.fail("a", retry_in=10)
    assert story.run.step("a").attempt == 2
    story.nothing_happens(StepClaimed(step="a", attempt=1))
    story.nothing_happens(StepClaimed(step="a", attempt=3))
    story.claim("a")
    story.nothing_happens(finished("a", 1))
    story.nothing_happens(finished("a", 3))
    story.nothing_happens(approval_needed("a", 1))
    story.nothing_happens(EffectsPublished(step="a", attempt=2))


def test_events_about_unknown_steps_change_nothing() -> None:
    story = Story("a")
    story.nothing_happens(StepClaimed(step="b", attempt=1))
    story.nothing_happens(finished("b", 1))
    story.nothing_happens(consent("b"))


def test_a_completed_run_never_changes_again() -> None:
    story = Story("a")
    story.finish("a")
    assert not story.run.live
    story.nothing_happens(Started())
    story.nothing_happens(finished("a", 1))
    story.nothing_happens(CancelRequested(reason="Too late."))
    story.nothing_happens(Superseded(generation=2, reason="Too late."))
    story.later(10**6)
    story.nothing_happens(Ticked())


# --- retries -------------------------------------------------------------------------------------


def test_a_passing_fault_is_tried_again_when_the_error_handler_says() -> None:
    story = Story("a")
    story.fail("a", retry_in=10)
    assert story.commands[0] == Dispatch(
        step="a", attempt=2, not_before=EPOCH + timedelta(seconds=10)
    )
    assert story.run.step("a").title == "The model broke."
    story.claim("a")
    assert story.run.step("a").not_before is None
    assert story.run.step("a").title == ""


def test_a_step_ends_when_its_retries_are_used_up() -> None:
    story = Story(a_step("a", retries=2))
    story.fail("a", retry_in=10)
    story.fail("a", retry_in=10)
    assert story.dispatched() == ["a"]
    story.fail("a", retry_in=10)
    assert story.dispatched() == []
    assert story.run.step("a").title == "The model broke. (3 attempts)"
    assert story.run.conclusion is Conclusion.FAILURE


def test_a_rate_limit_uses_up_no_retry() -> None:
    story = Story(a_step("a", retries=0))
    for _ in range(5):
        story.fail("a", retry_in=10, counted=False)
        assert story.dispatched() == ["a"]
    story.fail("a", retry_in=10)
    assert story.run.conclusion is Conclusion.FAILURE


def test_parks_end_when_the_time_in_the_queue_is_used_up() -> None:
    story = Story("a")
    for _ in range(3):
        story.fail("a", retry_in=1000, counted=False)
        story.later(1000)
    story.fail("a", retry_in=1000, counted=False)
    assert story.run.conclusion is Conclusion.FAILURE
    assert story.run.step("a").finished_at == story.now


def test_a_fault_that_will_not_pass_ends_the_step_at_once() -> None:
    story = Story("a")
    story.fail("a")
    assert story.run.step("a").title == "The model broke."
    assert story.run.state is RunState.COMPLETED


def test_policy_may_refuse_a_step_before_it_was_claimed() -> None:
    story = Story("a")
    story.happens(
        StepFailed(step="a", attempt=1, conclusion=Conclusion.NEUTRAL, title="No budget.")
    )
    assert story.run.conclusion is Conclusion.NEUTRAL


# --- time ----------------------------------------------------------------------------------------


def test_a_running_step_beyond_its_deadline_is_aborted_as_timed_out() -> None:
    story = Story(a_step("a", timeout_seconds=90))
    story.claim("a")
    story.later(90)
    story.happens(Ticked())
    assert story.commands == (Abort(step="a", attempt=1), Report())
    assert story.run.conclusion is Conclusion.TIMED_OUT
    assert story.run.step("a").title == "Timed out after 90 s."


def test_a_step_that_nobody_takes_ends_and_needs_no_abort() -> None:
    story = Story("a", a_step("b", "a"))
    story.later(LIMITS.queue_seconds)
    story.happens(Ticked())
    assert story.commands == (Report(),)
    assert story.run.conclusion is Conclusion.TIMED_OUT
    assert "1 h" in story.run.step("a").title


def test_publishing_has_a_deadline_too() -> None:
    story = Story("a")
    story.finish("a", effects=1)
    story.later(LIMITS.publish_seconds)
    assert Abort(step="a", attempt=1) in story.happens(Ticked())
    assert story.run.conclusion is Conclusion.TIMED_OUT


def test_a_tick_before_its_time_only_asks_for_its_wake_again() -> None:
    story = Story("a")
    deadline = story.run.step("a").deadline
    assert deadline
    story.now = deadline - timedelta(milliseconds=50)
    before = story.run
    assert story.happens(Ticked()) == (Wake(at=deadline),)
    assert story.run is before


def test_wakes_follow_the_earliest_deadline_and_are_asked_for_once() -> None:
    story = Story(a_step("a", timeout_seconds=60), a_step("b", timeout_seconds=60))
    assert story.wakes() == [EPOCH + timedelta(seconds=LIMITS.queue_seconds)]
    story.claim("a")
    assert story.wakes() == [EPOCH + timedelta(seconds=60)]
    story.later(10)
    story.claim("b")
    assert story.wakes() == []
    story.later(50)
    story.happens(Ticked())
    assert story.states() == {"a": "completed", "b": "running"}
    assert story.wakes() == [EPOCH + timedelta(seconds=70)]


def test_a_run_has_one_wake_up_ahead_of_it_however_many_steps_come_and_go() -> None:
    story = Story(*(a_step(name, timeout_seconds=60) for name in "abc"))
    story.claim("a")
    assert story.run.wake_at == EPOCH + timedelta(seconds=60)
    for name in "bc":
        story.later(10)
        story.finish(name)
        assert story.wakes() == []
    assert story.run.wake_at == EPOCH + timedelta(seconds=60)


def test_a_wake_up_that_is_past_is_asked_for_anew_with_the_next_change() -> None:
    story = Story(a_step("a", timeout_seconds=60), a_step("b", timeout_seconds=600))
    story.finish("a")
    story.later(61)
    story.claim("b")
    assert story.wakes() == [EPOCH + timedelta(seconds=661)]


def test_the_retry_of_a_step_counts_from_when_it_was_first_ready() -> None:
    story = Story("a")
    story.later(600)
    story.fail("a", retry_in=10)
    assert story.run.step("a").deadline == EPOCH + timedelta(seconds=LIMITS.queue_seconds)


# --- effects -------------------------------------------------------------------------------------


def test_a_result_with_effects_is_published_before_the_step_is_done() -> None:
    story = Story("a", a_step("b", "a"))
    story.finish("a", effects=2)
    assert Publish(step="a", attempt=1) in story.commands
    assert story.run.step("a").state is StepState.PUBLISHING
    assert story.run.step("a").has_result
    assert story.dispatched() == []
    story.happens(EffectsPublished(step="a", attempt=1))
    assert story.run.step("a").conclusion is Conclusion.SUCCESS
    assert story.dispatched() == ["b"]


def test_what_became_of_the_effects_replaces_the_agents_own_conclusion() -> None:
    story = Story("a")
    story.finish("a", effects=1)
    story.happens(
        EffectsPublished(step="a", attempt=1, conclusion=Conclusion.NEUTRAL, title="Denied.")
    )
    assert story.run.conclusion is Conclusion.NEUTRAL
    assert story.run.step("a").title == "Denied."


def test_a_failure_report_of_a_zombie_does_not_undo_a_result_that_is_being_published() -> None:
    story = Story("a")
    story.finish("a", effects=1)
    story.nothing_happens(
        StepFailed(
            step="a", attempt=1, conclusion=Conclusion.FAILURE, title="x", retry_at=story.now
        )
    )


def test_outputs_of_a_step_are_kept() -> None:
    story = Story("a")
    story.finish("a", outputs={"image": "shop:1"})
    assert story.run.step("a").outputs == {"image": "shop:1"}


# --- approvals -----------------------------------------------------------------------------------


def test_a_run_waits_when_only_an_approval_can_move_it_on() -> None:
    story = Story("a", "b")
    story.happens(approval_needed("a"))
    assert story.run.state is RunState.RUNNING
    story.finish("b")
    assert story.run.state is RunState.WAITING
    assert story.run.step("a").approval_level == "write"
    assert story.run.step("a").title == "A writer must agree."


def test_consent_dispatches_the_step_again_and_uses_up_no_retry() -> None:
    story = Story(a_step("a", retries=0))
    story.claim("a")
    story.happens(approval_needed("a"))
    story.later(5000)
    story.happens(consent("a", head_sha=HEAD))
    assert story.commands[0] == Dispatch(step="a", attempt=2)
    step = story.run.step("a")
    assert [approval.by_login for approval in step.approvals] == ["grace"]
    assert step.deadline == story.now + timedelta(seconds=LIMITS.queue_seconds)
    assert step.attempt - step.uncounted == 1
    assert story.run.state is RunState.RUNNING


def test_consent_to_another_commit_is_no_consent() -> None:
    story = Story("a")
    story.happens(approval_needed("a"))
    story.nothing_happens(consent("a", head_sha=OTHER))


def test_consent_that_nobody_asked_for_changes_nothing() -> None:
    story = Story("a")
    story.nothing_happens(consent("a"))


def test_an_approval_that_never_comes_ends_the_step() -> None:
    story = Story("a")
    story.happens(approval_needed("a"))
    story.later(LIMITS.approval_seconds)
    story.happens(Ticked())
    assert story.run.conclusion is Conclusion.TIMED_OUT
    assert story.run.step("a").title == "Nobody approved it within 2 h."


# --- cancel and supersession ---------------------------------------------------------------------


def busy_story() -> Story:
    """One step in every state."""
    story = Story("done", "waits", "queued", "runs", "publishes", a_step("pending", "runs"))
    story.finish("done")
    story.happens(approval_needed("waits"))
    story.claim("runs")
    story.finish("publishes", effects=1)
    return story


def test_a_cancelled_run_stops_everything_that_is_not_done() -> None:
    story = busy_story()
    story.happens(CancelRequested(reason="Cancelled by ada."))
    assert story.commands == (
        Abort(step="runs", attempt=1),
        Abort(step="publishes", attempt=1),
        Report(),
    )
    assert (story.run.state, story.run.conclusion) == (RunState.COMPLETED, Conclusion.CANCELLED)
    assert story.run.reason == "Cancelled by ada."
    conclusions = {step.name: step.conclusion for step in story.run.steps}
    assert conclusions.pop("done") is Conclusion.SUCCESS
    assert set(conclusions.values()) == {Conclusion.CANCELLED}
    assert all(step.title == "Cancelled by ada." for step in story.run.steps[1:])


def test_a_run_that_is_cancelled_without_a_reason_is_cancelled_all_the_same() -> None:
    story = Story("a")
    story.happens(CancelRequested(reason=""))
    assert (story.run.conclusion, story.run.reason) == (Conclusion.CANCELLED, "Cancelled.")


def test_a_newer_generation_ends_the_run_and_an_older_one_does_not() -> None:
    story = Story("a", generation=3)
    story.nothing_happens(Superseded(generation=2, reason="Old."))
    story.nothing_happens(Superseded(generation=3, reason="Itself."))
    story.happens(Superseded(generation=4, reason="A newer push replaced it."))
    assert story.run.conclusion is Conclusion.CANCELLED
    assert story.run.reason == "A newer push replaced it."


def test_a_workflow_may_keep_its_superseded_runs() -> None:
    story = Story("a", cancel_superseded=False)
    story.nothing_happens(Superseded(generation=2, reason="A newer push."))


def test_effects_of_a_superseded_step_are_no_longer_its_business() -> None:
    story = Story("a", "b")
    story.finish("a", effects=1)
    story.happens(Superseded(generation=2, reason="A newer push replaced it."))
    story.nothing_happens(EffectsPublished(step="a", attempt=1))


# --- money ---------------------------------------------------------------------------------------


def test_usage_adds_up_over_attempts_and_steps() -> None:
    story = Story("a", "b")
    story.fail("a", retry_in=1, usage=Usage(calls=1, cost_usd=0.1))
    story.finish("a", usage=Usage(calls=2, cost_usd=0.2))
    story.finish("b", usage=Usage(calls=3, cost_usd=0.3))
    assert story.run.usage.calls == 6
    assert story.run.usage.cost_usd == pytest.approx(0.6)


def test_what_an_aborted_step_spent_is_still_counted_and_only_once() -> None:
    story = Story("a")
    story.claim("a")
    story.happens(CancelRequested(reason="Cancelled by ada."))
    story.happens(finished("a", 1, usage=Usage(calls=1, cost_usd=0.4)))
    assert story.commands == ()
    assert story.run.conclusion is Conclusion.CANCELLED
    assert story.run.usage.cost_usd == 0.4
    story.nothing_happens(finished("a", 1, usage=Usage(calls=1, cost_usd=0.4)))


def test_steps_that_are_queued_together_share_what_is_left() -> None:
    story = Story("a", "b", a_step("c", "a", "b"), budget_usd=1.0)
    story.claim("a")
    assert story.run.step("a").budget_usd == 0.5
    story.claim("b")
    assert story.run.step("b").budget_usd == 0.5
    story.happens(finished("a", 1, usage=Usage(cost_usd=0.1)))
    story.happens(finished("b", 1, usage=Usage(cost_usd=0.2)))
    story.claim("c")
    assert story.run.step("c").budget_usd == pytest.approx(0.7)


def test_the_share_of_an_aborted_step_stays_set_aside_until_its_bill_is_known() -> None:
    story = Story(
        a_step("a", timeout_seconds=10), a_step("b", "a", condition="always()"), budget_usd=1.0
    )
    story.claim("a")
    story.later(10)
    story.happens(Ticked())
    story.claim("b")
    assert story.run.step("b").budget_usd == 0
    story.happens(finished("a", 1, usage=Usage(cost_usd=0.9)))
    assert story.run.usage.cost_usd <= 1.0


# --- conclusions and reports ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("steps", "run"),
    [
        (["success", "success"], "success"),
        (["success", "neutral"], "neutral"),
        (["neutral", "failure"], "failure"),
        (["success", "cancelled"], "cancelled"),
        (["cancelled", "action_required"], "action_required"),
        (["action_required", "timed_out"], "timed_out"),
        (["timed_out", "failure"], "failure"),
        (["success", "skipped"], "success"),
    ],
)
def test_a_run_ends_as_its_worst_step(steps: list[str], run: str) -> None:
    story = Story("a", "b")
    story.finish("a", Conclusion(steps[0]))
    story.finish("b", Conclusion(steps[1]))
    assert story.run.conclusion == run


def test_every_visible_change_is_reported_and_nothing_else() -> None:
    story = Story("a")
    assert story.commands[-1] == Report()
    assert story.claim("a")[-1] == Report()
    story.happens(CancelRequested(reason="No."))
    assert story.commands[-1] == Report()
    story.happens(finished("a", 1, usage=Usage(calls=1)))
    assert Report() not in story.commands


def test_what_an_attempt_cost_a_worker_that_lost_it_is_added_to_what_its_end_reports() -> None:
    story = Story("a", budget_usd=1.0)
    story.happens(StepClaimed(step="a", attempt=1))
    part = StepSpent(step="a", attempt=1, usage=Usage(calls=1, cost_usd=0.25))
    story.happens(part)
    assert story.run.step("a").state is StepState.RUNNING
    assert story.run.step("a").budget_usd == pytest.approx(0.75)
    end = {"step": "a", "attempt": 1, "conclusion": Conclusion.SUCCESS, "title": "Done"}
    story.happens(StepFinished.model_validate({**end, "usage": Usage(calls=2, cost_usd=0.5)}))
    assert story.run.usage == Usage(calls=3, cost_usd=0.75)
    story.happens(part)
    assert story.run.usage.cost_usd == pytest.approx(1.0)
    assert not story.run.live
    assert story.happens(part.model_copy(update={"step": "b"})) == ()
