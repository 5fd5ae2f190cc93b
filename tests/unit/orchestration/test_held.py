"""Results whose effects wait for consent, and what a monitor sends back: the engine's side."""

from datetime import timedelta
from typing import Any

from pipelines.model import Breach, Conclusion, FeedbackPayload, RunState, Severity
from pipelines.orchestration.transitions import (
    CancelRequested,
    EffectsHeld,
    EffectsPublished,
    Feedback,
    Publish,
    StepApproved,
    Ticked,
)
from tests.simulation.plans import OTHER, a_step
from tests.support.clock import EPOCH
from tests.unit.orchestration.test_engine import Story, approval_needed, consent, finished

HELD = EffectsHeld(step="ship", attempt=1, level="write", title="A writer must agree.")


def held(**fields: Any) -> Story:
    story = Story(a_step("ship", agent="devops"), a_step("after", "ship"), **fields)
    story.finish("ship", effects=1)
    story.happens(HELD)
    return story


def test_effects_that_need_consent_wait_with_their_result() -> None:
    story = held()
    step = story.run.step("ship")
    assert (story.states(), story.run.state) == (
        {"ship": "waiting", "after": "pending"},
        RunState.WAITING,
    )
    assert (step.held, step.has_result, step.title) == (True, True, "A writer must agree.")


def test_consent_publishes_exactly_what_is_stored_and_runs_nothing_again() -> None:
    story = held()
    assert Publish(step="ship", attempt=1) in story.happens(consent("ship"))
    assert not story.dispatched()
    step = story.run.step("ship")
    assert (step.state.value, step.attempt, step.conclusion) == (
        "publishing",
        1,
        Conclusion.SUCCESS,
    )
    assert [approval.level for approval in step.approvals] == ["write"]
    story.happens(EffectsPublished(step="ship", attempt=1, title="Done."))
    assert story.dispatched() == ["after"]


def test_a_consent_from_before_the_result_is_none_to_its_effects() -> None:
    story = Story(a_step("ship", agent="devops"))
    story.happens(approval_needed("ship"))
    story.happens(consent("ship"))
    story.claim("ship")
    story.happens(finished("ship", 2, effects=1))
    story.happens(HELD.model_copy(update={"attempt": 2}))
    assert story.run.step("ship").approvals == ()


def test_effects_are_held_once_and_by_nobody_who_is_late() -> None:
    story = held()
    story.nothing_happens(HELD)
    story.happens(consent("ship"))
    story.nothing_happens(HELD)
    story.nothing_happens(EffectsPublished(step="ship", attempt=7))
    other = Story("ship")
    other.nothing_happens(HELD)


def test_consent_to_another_commit_publishes_nothing() -> None:
    story = held()
    wrong: StepApproved = consent("ship").model_copy(update={"head_sha": OTHER})
    story.nothing_happens(wrong)


def test_effects_nobody_consents_to_are_never_carried_out() -> None:
    story = held()
    assert story.run.step("ship").deadline == EPOCH + timedelta(seconds=7200)
    story.later(7200)
    story.happens(Ticked())
    assert story.run.step("ship").conclusion is Conclusion.TIMED_OUT
    story.nothing_happens(consent("ship"))
    cancelled = held()
    cancelled.happens(CancelRequested(reason="No."))
    cancelled.nothing_happens(consent("ship"))


def feedback(fingerprint: str = "abcdef01") -> FeedbackPayload:
    return FeedbackPayload(
        fingerprint=fingerprint,
        environment="staging",
        severity=Severity.HIGH,
        title="Errors",
        breaches=(Breach(rule="errors", observed=1.0),),
        findings=("It fails.",),
        observed_at=EPOCH,
    )


def test_what_a_monitor_sends_back_is_kept_once_a_fingerprint_and_passed_on() -> None:
    story = Story("one", "two", "three")
    story.finish("one", feedback=feedback())
    assert Feedback(step="one", payload=feedback()) in story.commands
    story.finish("two", feedback=feedback())
    assert not [command for command in story.commands if isinstance(command, Feedback)]
    story.finish("three", feedback=feedback("ffffffff"))
    assert [known.fingerprint for known in story.run.feedback] == ["abcdef01", "ffffffff"]


def test_what_a_stale_attempt_sends_back_is_nobodys_news() -> None:
    story = Story("one")
    story.claim("one")
    story.happens(finished("one", 9, feedback=feedback()))
    assert story.run.feedback == ()
