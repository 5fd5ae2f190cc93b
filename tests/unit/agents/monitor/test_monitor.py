"""The monitor agent over a service whose signals are drawn as curves."""

from datetime import timedelta
from typing import Any

import pytest

from pipelines.agents.monitor.verification import fingerprint
from pipelines.errors import Retryable
from pipelines.model import (
    CloseIssue,
    Conclusion,
    Learned,
    Measurement,
    Notify,
    OpenIssue,
    Severity,
    TaskResult,
)
from tests.support.clock import EPOCH
from tests.support.samples import BASE, HEAD, REPOSITORY
from tests.unit.agents.monitor.plant import (
    RULE,
    STEP,
    Curve,
    Plant,
    a_task,
    an_issue,
    flat,
    step,
    was_broken,
    watched,
)

WELL: dict[str, Curve] = {
    "error_rate": flat(0.001),
    "latency_p95": flat(0.1),
    "request_rate": flat(20.0),
    "up": flat(1.0),
}


def opened(result: TaskResult) -> list[OpenIssue]:
    return [effect for effect in result.effects if isinstance(effect, OpenIssue)]


def closed(result: TaskResult) -> list[CloseIssue]:
    return [effect for effect in result.effects if isinstance(effect, CloseIssue)]


# --- well ----------------------------------------------------------------------------------------


async def test_a_healthy_service_is_watched_to_the_end() -> None:
    plant = Plant(WELL)
    result = await watched(plant)
    assert result.status == "completed"
    assert result.conclusion is Conclusion.SUCCESS
    assert result.title == "staging is healthy: 3 signals within bounds"
    assert "error_rate: 0.1 %, before 0.1 %" in result.summary
    assert result.effects == ()
    assert result.feedback is None
    assert plant.clock.now() >= EPOCH + timedelta(seconds=600)
    assert result.outputs["healthy"] is True


async def test_what_was_measured_is_kept_while_the_task_goes_on() -> None:
    plant = Plant(WELL)
    result = await watched(plant)
    kept = [m for m in plant.kept if m.series.name == "latency_p95"]
    assert sum(len(m.series.points) for m in kept) == 41
    assert len({point.at for m in kept for point in m.series.points}) == 41
    stored = [a for a in result.artifacts if isinstance(a, Measurement)]
    assert {m.series.name for m in stored} == set(WELL)


async def test_each_sample_is_asked_for_once() -> None:
    plant = Plant(WELL)
    await watched(plant)
    asked = [r for r in plant.requests if r.name == "up" and r.start >= EPOCH]
    assert len({r.start for r in asked}) == len(asked) == 41


# --- breaches ------------------------------------------------------------------------------------


async def test_a_rule_that_is_broken_for_long_enough_ends_the_watch() -> None:
    plant = Plant({**WELL, "error rate": step(0.001, 0.3, at=120.0)})
    result = await watched(plant, a_task(plant, {"rules": [RULE]}))
    assert result.conclusion is Conclusion.FAILURE
    assert result.title == "error rate out of bounds in staging"
    assert plant.clock.now() < EPOCH + timedelta(seconds=200)
    [issue] = opened(result)
    assert result.feedback == issue.payload
    assert issue.occasion == "run-1/watch"
    payload = issue.payload
    assert payload.fingerprint == fingerprint(REPOSITORY.id, "staging", ["error rate"])
    [breach] = payload.breaches
    assert (breach.observed, breach.baseline, breach.above) == (0.3, 0.001, 0.02)
    assert breach.samples == 3
    assert len(breach.points) <= 60
    assert payload.suspected_sha == HEAD
    assert payload.suspected_paths == ("app.py",)
    assert payload.deployment_id == 42
    assert payload.findings == (
        "error rate was at 0.3, above 0.02, in 3 samples in a row; before it was at 0.001.",
    )
    assert payload.recommendations == ("Look at the retry loop in app.py.",)
    [notice] = [effect for effect in result.effects if isinstance(effect, Notify)]
    assert notice.level == "warning"


async def test_a_signal_without_a_rule_is_compared_with_what_was_usual() -> None:
    plant = Plant({**WELL, "latency_p95": step(0.1, 0.4)})
    result = await watched(plant)
    assert result.feedback
    [breach] = result.feedback.breaches
    assert (breach.rule, breach.observed, breach.baseline) == ("latency_p95", 0.4, 0.1)
    assert breach.above == pytest.approx(0.15)
    assert breach.severity is Severity.HIGH


async def test_what_is_the_same_every_day_is_no_breach() -> None:
    day = 86_400.0
    plant = Plant({**WELL, "latency_p95": lambda s: 0.4 if s % day < 7200 else 0.1})
    assert (await watched(plant)).conclusion is Conclusion.SUCCESS


async def test_what_was_as_bad_before_is_not_this_deployments_fault() -> None:
    plant = Plant({**WELL, "latency_p95": lambda s: 0.4 if s > -3600 else 0.1})
    assert (await watched(plant)).conclusion is Conclusion.SUCCESS


@pytest.mark.parametrize(
    ("name", "curve"),
    [
        ("latency_p95", step(0.4, 0.1)),
        ("error_rate", step(0.2, 0.0)),
        ("request_rate", step(20.0, 0.1)),
        ("request_rate", step(20.0, 900.0)),
        ("latency_p95", lambda s: 0.9 if s == 300.0 else 0.1),
        ("latency_p95", lambda s: 0.9 if 300.0 <= s < 300.0 + 4 * STEP else 0.1),
        ("latency_p95", lambda s: 0.9 if 0.0 <= s < 60.0 else 0.1),
        ("latency_p95", lambda s: 0.9 if s % 60 < 30 and s > 0 else 0.1),
        ("up", lambda s: 0.0 if 100.0 <= s < 130.0 else 1.0),
        ("error_rate", step(0.001, 0.004)),
    ],
    ids=[
        "faster",
        "fewer errors",
        "less traffic",
        "more traffic",
        "one spike",
        "a spike as long as a rate shows it",
        "what the old release left in the rates",
        "flapping",
        "one missed beat",
        "a change that does not matter",
    ],
)
async def test_what_is_no_breach(name: str, curve: Curve) -> None:
    result = await watched(Plant({**WELL, name: curve}))
    assert result.conclusion is Conclusion.SUCCESS, result.summary


@pytest.mark.parametrize(
    ("curves", "rules"),
    [
        ({"error_rate": step(0.001, 0.2)}, ["error_rate"]),
        ({"error_rate": step(0.001, 0.2), "latency_p95": step(0.1, 2.0)}, 2),
        ({"up": step(1.0, 0.0)}, ["up"]),
        ({"restarts": step(0.0, 2.0)}, ["restarts"]),
        ({"error_rate": lambda s: 0.5 if s >= 0 else None}, ["error_rate"]),
        ({"up": lambda s: None if s < 0 else float(s < 60)}, ["up"]),
        ({"latency_p95": lambda s: 0.1 if s < 0 else 0.1 + s / 1000}, ["latency_p95"]),
    ],
    ids=[
        "errors",
        "errors and latency",
        "gone",
        "crash loop",
        "first deployment that fails half of all",
        "first deployment that dies",
        "a leak",
    ],
)
async def test_what_is_a_breach(curves: dict[str, Curve], rules: Any) -> None:
    result = await watched(Plant({**WELL, **curves}))
    assert result.conclusion is Conclusion.FAILURE
    assert result.feedback
    found = [breach.rule for breach in result.feedback.breaches]
    assert len(found) == rules if isinstance(rules, int) else found == rules


async def test_a_service_that_is_gone_is_critical() -> None:
    result = await watched(Plant({**WELL, "up": step(1.0, 0.0)}))
    assert result.feedback
    assert result.feedback.severity is Severity.CRITICAL
    assert [e.level for e in result.effects if isinstance(e, Notify)] == ["critical"]


async def test_two_errors_of_a_hundred_requests_are_too_few_to_mean_something() -> None:
    few = {"request_rate": flat(0.1), "error_rate": step(0.0, 0.2)}
    assert (await watched(Plant({**WELL, **few}))).conclusion is Conclusion.FAILURE
    fewer = {"request_rate": flat(0.02), "error_rate": step(0.0, 0.2)}
    assert (await watched(Plant({**WELL, **fewer}))).conclusion is Conclusion.SUCCESS


async def test_rules_stand_alone_when_signals_are_off() -> None:
    plant = Plant({**WELL, "latency_p95": step(0.1, 9.0), "error rate": flat(0.0)})
    result = await watched(plant, a_task(plant, {"rules": [RULE], "signals": False}))
    assert result.conclusion is Conclusion.SUCCESS


async def test_a_rule_takes_the_place_of_the_signal_of_its_name() -> None:
    plant = Plant({**WELL, "latency_p95": step(0.1, 2.0)})
    rule = {**RULE, "name": "latency_p95", "above": 5.0}
    result = await watched(plant, a_task(plant, {"rules": [rule]}))
    assert result.conclusion is Conclusion.SUCCESS


async def test_the_old_release_in_a_rules_rate_is_not_held_against_the_new_one() -> None:
    """The rule's rate reaches a minute back; what it shows within that minute is a mixture."""
    plant = Plant({**WELL, "error rate": lambda s: 0.3 if s < 60 else 0.0})
    result = await watched(plant, a_task(plant, {"rules": [RULE]}))
    assert result.conclusion is Conclusion.SUCCESS


# --- no data -------------------------------------------------------------------------------------


async def test_no_data_is_said_and_is_no_breach() -> None:
    result = await watched(Plant({}))
    assert result.conclusion is Conclusion.NEUTRAL
    assert result.title == "Nothing could be measured in staging"
    assert "error_rate: no data (there is no such metric)" in result.summary
    assert result.effects == ()


async def test_a_rule_without_data_keeps_the_watch_from_being_a_success() -> None:
    plant = Plant({**WELL, "error rate": lambda _: None})
    result = await watched(plant, a_task(plant, {"rules": [RULE]}))
    assert result.conclusion is Conclusion.NEUTRAL
    assert result.title == "No breach seen in staging, but 3 of 4 signals had data"


async def test_a_signal_that_went_away_keeps_the_watch_from_being_a_success() -> None:
    plant = Plant({**WELL, "latency_p95": lambda s: 0.1 if s < 0 else None})
    assert (await watched(plant)).conclusion is Conclusion.NEUTRAL


async def test_a_page_that_never_answered_is_no_breach() -> None:
    result = await watched(Plant({"up": flat(0.0)}))
    assert result.conclusion is not Conclusion.FAILURE


async def test_a_source_that_comes_and_goes_changes_nothing() -> None:
    plant = Plant({**WELL, "latency_p95": step(0.1, 0.4, at=300.0)})
    plant.down = lambda now: (
        Retryable("Prometheus did not answer.") if now.second % 30 < 15 and now > EPOCH else None
    )
    result = await watched(plant)
    assert result.conclusion is Conclusion.FAILURE


async def test_a_source_that_is_gone_is_no_breach() -> None:
    plant = Plant({**WELL, "latency_p95": step(0.1, 0.4)})
    plant.down = lambda _: Retryable("Prometheus did not answer.")
    result = await watched(plant)
    assert result.conclusion is Conclusion.NEUTRAL
    assert "no data (Prometheus did not answer.)" in result.summary


# --- going on after a crash ----------------------------------------------------------------------


async def test_a_second_attempt_ends_when_the_first_would_have() -> None:
    plant = Plant(WELL)
    await plant.clock.advance(500.0)
    result = await watched(plant, a_task(plant, attempt=2))
    assert result.conclusion is Conclusion.SUCCESS
    assert plant.clock.now() <= EPOCH + timedelta(seconds=602)


async def test_a_second_attempt_knows_what_the_first_saw() -> None:
    plant = Plant({**WELL, "latency_p95": lambda s: 0.9 if 100 <= s < 300 else 0.1})
    await plant.clock.advance(500.0)
    result = await watched(plant, a_task(plant, attempt=2))
    assert result.conclusion is Conclusion.FAILURE
    assert plant.clock.now() == EPOCH + timedelta(seconds=500)


async def test_too_short_a_timeout_is_said() -> None:
    plant = Plant(WELL)
    task = a_task(plant, deadline=EPOCH + timedelta(seconds=300))
    result = await watched(plant, task)
    assert result.conclusion is Conclusion.NEUTRAL
    assert "the time was too short to watch to the end" in result.title
    assert "09:10:00 was meant" in result.summary


# --- a day of flapping ---------------------------------------------------------------------------


async def test_a_day_of_flapping_has_one_fingerprint() -> None:
    """A service that is well and ill by turns of thirty seconds, watched 144 times."""
    seen: set[str] = set()
    for index in range(144):
        plant = Plant({**WELL, "error rate": lambda s: 0.5 if int(s // 30) % 2 else 0.0})
        await plant.clock.advance(7.0 * index)
        rule = {**RULE, "query": "errors"}
        task = a_task(plant, {"rules": [rule], "interval": 5.0}, run_id=f"run-{index}")
        result = await watched(plant, task)
        seen |= {issue.payload.fingerprint for issue in opened(result)}
    assert len(seen) == 1


# --- fixes ---------------------------------------------------------------------------------------


def after_a_fix(error_rate: Curve, **changes: Any) -> Plant:
    return Plant({**WELL, "error rate": error_rate, **changes})


async def test_a_fix_that_holds_closes_the_issue_with_numbers() -> None:
    plant = after_a_fix(step(0.4, 0.001))
    task = a_task(plant, {"rules": [RULE]}, feedback=(an_issue(was_broken()),))
    result = await watched(plant, task)
    assert result.conclusion is Conclusion.SUCCESS
    [close] = closed(result)
    assert (close.number, close.fingerprint, close.fixed_in) == (7, "ab" * 16, HEAD)
    assert close.occasion == "run-1/watch"
    assert close.evidence[0].startswith("error rate is at 0.001 (from 0.001 to 0.001 in ")
    assert close.evidence[0].endswith("; it had been at 0.4, usually 0.001.")
    [learned] = [a.outcome for a in result.artifacts if isinstance(a, Learned)]
    assert (learned.kind, learned.agent) == ("fix_verified", "coding")
    assert [e.level for e in result.effects if isinstance(e, Notify)] == ["info"]
    assert result.outputs["fixed"] == [7]


async def test_a_fix_that_does_not_hold_counts_the_issue_up() -> None:
    plant = after_a_fix(flat(0.4))
    task = a_task(plant, {"rules": [RULE]}, feedback=(an_issue(was_broken()),))
    result = await watched(plant, task)
    assert result.conclusion is Conclusion.FAILURE
    [issue] = opened(result)
    assert issue.payload.fingerprint == "ab" * 16
    assert issue.payload.breaches[0].baseline == 0.4 or issue.payload.breaches[0].observed == 0.4
    assert closed(result) == []


async def test_an_anomaly_is_measured_by_what_was_usual_before_it_began() -> None:
    """The window before the fix was the broken one; only the issue knows what was well."""
    plant = Plant({**WELL, "latency_p95": flat(0.5)})
    broken = was_broken(rule="latency_p95", observed=0.5, baseline=0.1, above=0.15, unit="s")
    result = await watched(plant, a_task(plant, feedback=(an_issue(broken),)))
    [issue] = opened(result)
    assert issue.payload.fingerprint == "ab" * 16
    [breach] = issue.payload.breaches
    assert (breach.baseline, breach.above) == (0.1, 0.15)


async def test_a_second_signal_joins_the_issue_that_is_open() -> None:
    plant = after_a_fix(flat(0.4), latency_p95=step(0.1, 0.9))
    task = a_task(plant, {"rules": [RULE]}, feedback=(an_issue(was_broken()),))
    result = await watched(plant, task)
    [issue] = opened(result)
    assert issue.payload.fingerprint == "ab" * 16


async def test_two_issues_are_told_apart() -> None:
    plant = after_a_fix(step(0.4, 0.001), latency_p95=flat(0.5))
    other = was_broken(rule="latency_p95", observed=0.5, baseline=0.1, above=0.15)
    issues = (
        an_issue(was_broken()),
        an_issue(other, number=8, fingerprint="cd" * 16),
    )
    result = await watched(plant, a_task(plant, {"rules": [RULE]}, feedback=issues))
    assert [issue.payload.fingerprint for issue in opened(result)] == ["cd" * 16]
    assert [close.number for close in closed(result)] == [7]


async def test_a_watch_that_ends_early_proves_nothing_about_other_issues() -> None:
    plant = after_a_fix(step(0.4, 0.001), latency_p95=step(0.1, 0.5))
    issues = (
        an_issue(was_broken()),
        an_issue(was_broken(rule="latency_p95", above=0.15), number=8, fingerprint="cd" * 16),
    )
    result = await watched(plant, a_task(plant, {"rules": [RULE]}, feedback=issues))
    assert [issue.payload.fingerprint for issue in opened(result)] == ["cd" * 16]
    assert closed(result) == []
    assert "Issue #7 stays open: the signals were not watched for the whole time." in result.summary


@pytest.mark.parametrize(
    ("curve", "changes", "reason"),
    [
        (lambda _: None, {}, "error rate has 0 of 36 samples"),
        (lambda s: 0.001 if s > 400 else None, {}, "samples, too few or not all well"),
        (lambda s: 0.5 if s % 120 == 0 else 0.001, {}, "not back within its bounds"),
        (flat(0.018), {}, "within its bounds but not back near what it was"),
        (flat(0.001), {"inputs": {}}, "but nothing new was deployed"),
        (flat(0.001), {"sha": BASE}, "but the suspected commit still runs"),
        (flat(0.001), {"rolled_back_to": BASE}, "but nothing new was deployed"),
    ],
    ids=["no data", "half", "now and then", "almost", "no deployment", "same commit", "rollback"],
)
async def test_what_cannot_be_told_leaves_the_issue_open(
    curve: Curve, changes: dict[str, Any], reason: str
) -> None:
    plant = after_a_fix(curve)
    task = a_task(plant, {"rules": [RULE]}, feedback=(an_issue(was_broken()),))
    inputs = changes.get("inputs", {"ship": {**task.inputs["ship"], **changes}})  # type: ignore[dict-item]
    result = await watched(plant, task.model_copy(update={"inputs": inputs}))
    assert closed(result) == []
    assert opened(result) == []
    assert reason in result.summary


async def test_another_environments_issue_is_left_alone() -> None:
    plant = after_a_fix(step(0.4, 0.001))
    issue = an_issue(was_broken(), environment="production")
    result = await watched(plant, a_task(plant, {"rules": [RULE]}, feedback=(issue,)))
    assert result.effects == ()


async def test_an_issue_of_a_rule_that_is_gone_stays_open() -> None:
    plant = Plant(WELL)
    result = await watched(plant, a_task(plant, feedback=(an_issue(was_broken()),)))
    assert "nothing is watched any more under the name error rate" in result.summary
    assert closed(result) == []
