import random
from datetime import timedelta

import pytest

from pipelines.errors import (
    Ambiguous,
    BudgetExceeded,
    ConductorError,
    Conflict,
    Dropped,
    Ignorable,
    LeaseLost,
    ModelUnavailable,
    NotStored,
    Parked,
    Retryable,
    UserError,
)
from pipelines.model import Conclusion, Failure
from pipelines.orchestration.breaker import BreakerState
from pipelines.orchestration.error_handler import (
    GITHUB,
    HERD_SECONDS,
    LONGEST_WAIT,
    MODEL,
    OUR_FAULT,
    Action,
    Decision,
    ErrorHandler,
)
from tests.support.clock import EPOCH, VirtualClock


def handler(seed: int = 1, clock: VirtualClock | None = None) -> ErrorHandler:
    return ErrorHandler(clock=clock or VirtualClock(), rng=random.Random(seed))


def decide(error: Exception, attempts: int = 1, seed: int = 1) -> Decision:
    return handler(seed).decide(error, attempts=attempts, now=EPOCH)


def wait(decision: Decision) -> float:
    assert decision.at is not None
    return (decision.at - EPOCH).total_seconds()


@pytest.mark.parametrize(
    ("error", "action", "conclusion"),
    [
        (Ignorable("The pull request is closed."), Action.IGNORE, Conclusion.SKIPPED),
        (LeaseLost("m1"), Action.ABANDON, Conclusion.CANCELLED),
        (Dropped("The installation is gone."), Action.DROP, Conclusion.CANCELLED),
        (BudgetExceeded(needed_usd=1, left_usd=0), Action.TELL_USER, Conclusion.NEUTRAL),
        (ModelUnavailable("No model answered."), Action.TELL_USER, Conclusion.NEUTRAL),
        (UserError("Mend it."), Action.TELL_USER, Conclusion.FAILURE),
    ],
)
def test_what_no_waiting_changes_ends_at_once(
    error: ConductorError, action: Action, conclusion: Conclusion
) -> None:
    decision = decide(error)
    assert (decision.action, decision.conclusion) == (action, conclusion)
    assert decision.at is None
    assert decision.message == str(error)


def test_waits_grow_with_the_attempts_and_are_spread_over_their_whole_range() -> None:
    error = Retryable("It broke.")
    for attempts, bound in ((1, 2.0), (2, 4.0)):
        waits = [wait(decide(error, attempts, seed)) for seed in range(300)]
        assert all(0 <= w <= bound for w in waits)
        assert min(waits) < bound * 0.1
        assert max(waits) > bound * 0.9


def test_waits_are_capped_however_many_attempts_there_were() -> None:
    cap = GITHUB.cap_seconds
    error = Conflict("run/1", expected=1, actual=2)
    assert wait(decide(error, attempts=10**9)) <= cap
    assert wait(decide(NotStored("The disk is full."), attempts=10**9)) <= cap


def test_the_same_seed_gives_the_same_wait() -> None:
    assert decide(Retryable("It broke."), 1, seed=7) == decide(Retryable("It broke."), 1, seed=7)


def test_nothing_is_tried_again_before_the_time_that_the_server_named() -> None:
    for seed in range(100):
        seconds = wait(decide(Retryable("Slow down.", retry_after=40), seed=seed))
        assert 40 <= seconds <= 40 + HERD_SECONDS


def test_an_absurd_retry_after_waits_a_day_at_most() -> None:
    assert wait(decide(Retryable("Slow down.", retry_after=float("inf")))) == LONGEST_WAIT


def test_a_fault_that_does_not_pass_becomes_a_dead_letter() -> None:
    assert decide(Retryable("It broke."), MODEL.attempts - 1).action is Action.RETRY
    last = decide(Retryable("It broke."), MODEL.attempts)
    assert (last.action, last.conclusion) == (Action.DEAD_LETTER, Conclusion.FAILURE)
    assert last.at is None


def test_somebody_elses_outage_never_turns_a_check_red() -> None:
    last = decide(Retryable("Overloaded.", dependency="anthropic"), MODEL.attempts)
    assert (last.action, last.conclusion) == (Action.DEAD_LETTER, Conclusion.NEUTRAL)


def test_neither_does_one_that_a_step_has_no_retries_left_for() -> None:
    assert decide(Retryable("Overloaded.", dependency="openai")).conclusion is Conclusion.NEUTRAL
    limit = Parked("Rate limit.", until=EPOCH, scope="installation/7")
    assert decide(limit).conclusion is Conclusion.NEUTRAL
    assert decide(Retryable("Something broke.")).conclusion is Conclusion.FAILURE


def test_an_ambiguous_write_is_looked_up_before_it_is_repeated() -> None:
    assert decide(Ambiguous("Cut off.", dependency="github")).look_first
    assert not decide(Retryable("Cut off.", dependency="github")).look_first


def test_a_lost_race_is_run_again_at_once_and_uses_up_no_attempt() -> None:
    decision = decide(Conflict("run/1", expected=3, actual=4), attempts=99)
    assert decision.action is Action.RETRY
    assert not decision.counted
    assert wait(decision) <= 0.1


def test_a_limit_parks_its_scope_until_it_ends_and_uses_up_no_attempt() -> None:
    until = EPOCH + timedelta(minutes=30)
    decision = decide(Parked("Rate limit.", until=until, scope="installation/7"), attempts=99)
    assert (decision.action, decision.scope) == (Action.PARK, "installation/7")
    assert not decision.counted
    assert 1800 <= wait(decision) <= 1800 + HERD_SECONDS


def test_a_limit_that_has_passed_already_parks_for_a_moment_only() -> None:
    past = EPOCH - timedelta(hours=1)
    assert 0 <= wait(decide(Parked("Rate limit.", until=past, scope="x"))) <= HERD_SECONDS


def test_work_with_a_turn_of_its_own_comes_back_exactly_then() -> None:
    turn = EPOCH + timedelta(seconds=7)
    assert wait(decide(Parked("In line.", until=turn, scope="x", own=True))) == 7


def test_a_store_out_of_reach_is_waited_for() -> None:
    decision = decide(NotStored("The disk is full."), attempts=99)
    assert (decision.action, decision.counted) == (Action.PARK, False)


def test_an_unforeseen_exception_is_tried_again_and_then_our_fault() -> None:
    assert decide(ValueError("secret"), 1).action is Action.RETRY
    last = decide(ValueError("secret"), MODEL.attempts)
    assert (last.action, last.conclusion) == (Action.OUR_FAULT, Conclusion.FAILURE)
    assert last.message == OUR_FAULT


# --- circuit breakers ----------------------------------------------------------------------------


def broken(dependency: str, clock: VirtualClock) -> ErrorHandler:
    """A handler that has seen the dependency fail until its breaker opened."""
    chosen = handler(clock=clock)
    for _ in range(5):
        chosen.decide(Retryable("Down.", dependency=dependency), attempts=1, now=clock.now())
    assert chosen.states()[dependency] is BreakerState.OPEN
    return chosen


def test_an_open_breaker_parks_work_until_it_is_half_open() -> None:
    clock = VirtualClock()
    error = Retryable("Down.", dependency="github")
    decision = broken("github", clock).decide(error, attempts=1, now=EPOCH)
    assert (decision.action, decision.scope) == (Action.PARK, "github")
    assert wait(decision) >= 30


def test_an_outage_of_github_is_sat_out() -> None:
    clock = VirtualClock()
    error = Retryable("Down.", dependency="github")
    decision = broken("github", clock).decide(error, attempts=99, now=EPOCH)
    assert (decision.action, decision.counted) == (Action.PARK, False)


def test_an_outage_of_a_model_ends_the_work_after_its_attempts() -> None:
    clock = VirtualClock()
    chosen = broken("anthropic", clock)
    error = Retryable("Down.", dependency="anthropic")
    assert chosen.decide(error, attempts=1, now=EPOCH).counted
    last = chosen.decide(error, attempts=MODEL.attempts, now=EPOCH)
    assert (last.action, last.conclusion) == (Action.DEAD_LETTER, Conclusion.NEUTRAL)


async def test_a_model_that_stays_away_ends_its_step_within_a_quarter_of_an_hour() -> None:
    for seed in range(50):
        clock = VirtualClock()
        chosen = handler(seed, clock)
        for attempts in range(1, MODEL.attempts + 1):
            for _ in range(10):  # others meet the same outage
                chosen.decide(Retryable("Down.", dependency="openai"), attempts=1, now=clock.now())
            error = Retryable("Down.", dependency="openai")
            decision = chosen.decide(error, attempts=attempts, now=clock.now())
            assert (decision.at is None) == (attempts == MODEL.attempts)
            if decision.at:
                await clock.advance((decision.at - clock.now()).total_seconds())
        assert clock.now() - EPOCH <= timedelta(minutes=15)


def test_one_dependencys_outage_does_not_touch_another() -> None:
    clock = VirtualClock()
    chosen = broken("anthropic", clock)
    decision = chosen.decide(Retryable("Cut.", dependency="openai"), attempts=1, now=EPOCH)
    assert decision.action is Action.RETRY


def test_an_answer_closes_the_breaker() -> None:
    clock = VirtualClock()
    chosen = broken("github", clock)
    chosen.succeeded("github")
    chosen.succeeded("never heard of")
    assert chosen.states() == {"github": BreakerState.CLOSED}


# --- failures in task results --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("failure", "action", "conclusion"),
    [
        (Failure(kind="drop", message="Closed."), Action.DROP, Conclusion.SKIPPED),
        (Failure(kind="user", message="No budget."), Action.TELL_USER, Conclusion.NEUTRAL),
        (Failure(kind="user", message="Mend it."), Action.TELL_USER, Conclusion.FAILURE),
    ],
)
def test_a_tasks_final_failure_keeps_the_agents_conclusion(
    failure: Failure, action: Action, conclusion: Conclusion
) -> None:
    decision = handler().decide_failure(failure, conclusion, attempts=1, now=EPOCH)
    assert (decision.action, decision.conclusion) == (action, conclusion)
    assert decision.message == failure.message


def test_a_tasks_passing_failure_is_tried_again_and_counts_for_its_dependency() -> None:
    chosen = handler()
    failure = Failure(kind="retry", message="Slow.", retry_after=40, dependency="openai")
    decision = chosen.decide_failure(failure, Conclusion.FAILURE, attempts=1, now=EPOCH)
    assert decision.action is Action.RETRY
    assert wait(decision) >= 40
    assert "openai" in chosen.states()


def test_a_task_that_met_a_limit_is_parked_until_it_ends() -> None:
    failure = Failure(kind="park", message="Limit.", retry_after=600)
    decision = handler().decide_failure(failure, Conclusion.NEUTRAL, attempts=9, now=EPOCH)
    assert (decision.action, decision.counted) == (Action.PARK, False)
    assert wait(decision) >= 600


def test_an_agents_own_fault_is_shown_in_its_words() -> None:
    failure = Failure(kind="ours", message="Conductor itself failed (KeyError).")
    decision = handler().decide_failure(failure, Conclusion.FAILURE, attempts=3, now=EPOCH)
    assert decision.action is Action.OUR_FAULT
    assert decision.message == failure.message
