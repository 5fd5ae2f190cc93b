"""One deployment, from the environment to what people and later steps are told."""

from datetime import timedelta

import pytest

from pipelines.errors import Parked, Retryable
from pipelines.model import (
    Conclusion,
    CreateDeployment,
    Effect,
    ExecutionRecord,
    Learned,
    Notify,
    Probe,
    ReleaseState,
    TaskResult,
)
from pipelines.ports import Receipt
from tests.support.clock import EPOCH
from tests.support.samples import HEAD
from tests.support.workplace import MemoryWorkplace
from tests.unit.agents.deploying.estate import (
    GOOD,
    OLDER,
    PLAN,
    Estate,
    Temper,
    a_task,
    carry_out,
    command,
    deployment,
)


def told(result: TaskResult) -> list[tuple[str, str]]:
    return [(one.level, one.title) for one in result.effects if isinstance(one, Notify)]


def lessons(result: TaskResult) -> list[Learned]:
    return [one for one in result.artifacts if isinstance(one, Learned)]


async def test_a_commit_is_released_watched_and_found_well() -> None:
    estate = Estate().has_good(GOOD)
    result = await carry_out(estate)
    assert result.conclusion is Conclusion.SUCCESS
    assert result.title == f"Deployed {HEAD[:12]} to staging"
    assert estate.statuses == [(HEAD, False, ["in_progress", "success"])]
    assert result.outputs == {
        "environment": "staging",
        "sha": HEAD,
        "deployment_id": estate.deployments[0].id,
        "url": "http://127.0.0.1:8123",
        "deployed_at": estate.clock.now().isoformat(),
        "rolled_back_to": None,
    }
    assert "/healthz answered 3 times in a row" in result.summary
    assert result.effects == ()
    (record,) = result.artifacts
    assert isinstance(record, ExecutionRecord)
    assert (record.subject, record.data["ok"]) == ("deployment", True)


async def test_the_agent_works_on_the_plain_workplace_too() -> None:
    workplace = MemoryWorkplace({})
    workplace.deploys_to()
    workplace.releases = [ReleaseState(phase="absent"), ReleaseState(phase="ready", sha=HEAD)]
    result = await carry_out(workplace)
    assert result.conclusion is Conclusion.SUCCESS


async def test_a_deployment_that_somebody_else_created_is_used_and_none_is_added() -> None:
    estate = Estate()
    estate.adopt(901, HEAD)
    result = await carry_out(estate, a_task(deployment(901)))
    assert result.outputs["deployment_id"] == 901
    assert estate.statuses == [(HEAD, False, ["in_progress", "success"])]
    assert not [one for one in estate.effects if isinstance(one, CreateDeployment)]


async def test_a_deployment_of_another_environment_is_not_mistaken_for_ours() -> None:
    estate = Estate()
    await carry_out(estate, a_task(deployment(901, environment="production")))
    assert [one.id for one in estate.deployments] != [901]
    assert estate.statuses == [(HEAD, False, ["in_progress", "success"])]


@pytest.mark.parametrize(
    "temper",
    [
        Temper(phase="failed", message="exit code 1"),
        Temper(phase="progressing"),
        Temper(healthy=False),
        Temper(phase="unknown"),
    ],
    ids=["target gives up", "never ready", "never healthy", "nobody knows"],
)
async def test_a_bad_release_is_rolled_back_as_a_deployment_of_its_own(temper: Temper) -> None:
    estate = Estate().has_good(GOOD)
    estate.tempers[HEAD] = temper
    result = await carry_out(estate)
    assert result.conclusion is Conclusion.FAILURE
    assert result.title == f"{HEAD[:12]} failed in staging; rolled back to {GOOD[:12]}"
    assert estate.running == GOOD
    assert estate.statuses == [
        (HEAD, False, ["in_progress", "failure"]),
        (GOOD, True, ["in_progress", "success"]),
    ]
    assert estate.deployments[0].descriptions[-1]
    assert result.outputs["rolled_back_to"] == GOOD
    assert result.outputs["sha"] == HEAD
    assert told(result) == [("warning", result.title)]
    (lesson,) = lessons(result)
    assert lesson.outcome.kind == "deployment_rolled_back"
    assert HEAD in lesson.outcome.subject
    assert lesson.outcome.paths == ("shop/cart.py",)


async def test_the_reason_is_in_the_status_the_summary_and_the_lesson() -> None:
    estate = Estate().has_good(GOOD)
    estate.tempers[HEAD] = Temper(phase="failed", message="exit code 1,\nsee the log")
    result = await carry_out(estate)
    reason = "exit code 1, see the log"
    assert estate.deployments[0].descriptions[-1] == reason
    assert reason in result.summary
    assert lessons(result)[0].outcome.why == reason


async def test_the_first_release_has_nothing_to_go_back_to_and_says_so() -> None:
    estate = Estate()
    estate.tempers[HEAD] = Temper(phase="failed", message="exit code 1")
    result = await carry_out(estate)
    assert result.conclusion is Conclusion.FAILURE
    assert "no good release to go back to" in result.title
    assert estate.statuses == [(HEAD, False, ["in_progress", "failure"])]
    assert told(result) == [("critical", result.title)]
    assert lessons(result) == []


async def test_a_commit_that_was_good_once_goes_back_to_the_one_before_it() -> None:
    estate = Estate().has_good(HEAD, before=GOOD)
    estate.tempers[HEAD] = Temper(phase="failed")
    result = await carry_out(estate)
    assert result.outputs["rolled_back_to"] == GOOD


async def test_a_rollback_that_fails_too_is_told_as_critical() -> None:
    estate = Estate().has_good(GOOD)
    estate.tempers |= {HEAD: Temper(phase="failed"), GOOD: Temper(phase="failed")}
    result = await carry_out(estate)
    assert result.title.endswith(f"and the rollback to {GOOD[:12]} failed")
    assert [one[2][-1] for one in estate.statuses] == ["failure", "failure"]
    assert told(result) == [("critical", result.title)]
    assert result.outputs["rolled_back_to"] is None


async def test_a_deployment_that_is_not_allowed_ends_neutral_with_the_reason() -> None:
    estate = Estate().has_good(GOOD)
    estate.denials["create_deployment"] = "Frozen until Monday 08:00."
    result = await carry_out(estate)
    assert result.conclusion is Conclusion.NEUTRAL
    assert "Frozen until Monday 08:00." in result.title
    assert estate.carried_out == []
    assert result.effects == ()


@pytest.mark.parametrize("by", ["policy", "target"])
async def test_a_release_that_is_refused_fails_and_leaves_what_ran_alone(by: str) -> None:
    estate = Estate().has_good(GOOD)
    if by == "policy":
        estate.denials["release_service"] = "Not now."
    else:
        estate.refusal = "Not now."
    result = await carry_out(estate)
    assert result.conclusion is Conclusion.FAILURE
    assert estate.running == GOOD
    assert estate.statuses == [(HEAD, False, ["in_progress", "failure"])]
    assert estate.deployments[0].descriptions[-1] == "Not now."
    assert "left alone" in result.summary


async def test_a_rollback_that_is_not_allowed_still_ends_the_failed_deployment() -> None:
    class OneWay(Estate):
        def _carry_out(self, effect: Effect) -> Receipt:
            if isinstance(effect, CreateDeployment) and effect.rollback:
                return Receipt(key=effect.key, status="denied", message="Frozen.")
            return super()._carry_out(effect)

    estate = OneWay().has_good(GOOD)
    estate.tempers[HEAD] = Temper(phase="failed")
    result = await carry_out(estate)
    assert result.title.endswith(f"the rollback to {GOOD[:12]} was not allowed")
    assert estate.statuses == [(HEAD, False, ["in_progress", "failure"])]


async def test_a_newer_release_is_left_alone() -> None:
    class Overtaken(Estate):
        async def release_state(self) -> ReleaseState:
            state = await super().release_state()
            return state.model_copy(update={"revision": self.revision + 1, "sha": OLDER})

    estate = Overtaken().has_good(GOOD)
    result = await carry_out(estate)
    assert result.conclusion is Conclusion.NEUTRAL
    assert "superseded" in result.title
    assert len(estate.deployments) == 1
    assert estate.statuses[0][2] == ["in_progress", "inactive"]


@pytest.mark.parametrize(
    "error", [Retryable("held by another run"), Parked("held", until=EPOCH, scope="staging")]
)
async def test_an_environment_that_is_held_is_waited_for_by_whoever_gave_the_task(
    error: Exception,
) -> None:
    estate = Estate()
    estate.faults.plan("before deployment/staging/" + HEAD + "/run-1/ship", error)
    result = await carry_out(estate)
    assert result.failure is not None
    assert result.failure.kind in ("retry", "park")
    assert estate.carried_out == []


async def test_a_target_that_cannot_be_asked_for_a_while_is_asked_again() -> None:
    estate = Estate()
    estate.faults.plan("state", *(Retryable("connection reset") for _ in range(5)))
    estate.faults.plan("probe", Retryable("connection reset"))
    assert (await carry_out(estate)).conclusion is Conclusion.SUCCESS


async def test_a_health_check_must_succeed_several_times_in_a_row() -> None:
    class Flapping(Estate):
        answers = iter([True, True, False, True, True, True, False])

        async def probe(self) -> Probe:
            probe = await super().probe()
            return probe.model_copy(update={"ok": next(self.answers)})

    estate = Flapping()
    assert (await carry_out(estate)).conclusion is Conclusion.SUCCESS
    assert next(estate.answers) is False


async def test_without_a_health_check_that_is_said() -> None:
    plan = PLAN.model_copy(update={"health": None})
    result = await carry_out(Estate(plan), a_task(plan=plan))
    assert result.conclusion is Conclusion.SUCCESS
    assert "No health check is configured" in result.summary


async def test_the_rollout_leaves_time_for_the_way_back_within_the_step() -> None:
    plan = PLAN.model_copy(update={"rollout_seconds": 600.0})
    estate = Estate(plan).has_good(GOOD)
    estate.tempers[HEAD] = Temper(phase="progressing")
    result = await carry_out(estate, a_task(plan=plan, seconds=300))
    assert estate.running == GOOD
    assert result.outputs["rolled_back_to"] == GOOD
    assert estate.clock.now() < EPOCH + timedelta(seconds=300)
    assert "The step's `timeout` leaves" in result.summary


async def test_a_task_without_an_environment_says_what_to_write() -> None:
    result = await carry_out(Estate(), a_task(plan=None))
    assert result.failure is not None
    assert result.failure.kind == "user"
    assert "`environments`" in result.title


async def test_the_command_brings_the_release_before_back() -> None:
    estate = Estate().has_good(GOOD, before=OLDER)
    result = await carry_out(estate, a_task(command("rollback")))
    assert result.conclusion is Conclusion.SUCCESS
    assert result.title == f"Rolled staging back to {OLDER[:12]}"
    assert estate.statuses == [(OLDER, True, ["in_progress", "success"])]
    assert result.outputs["sha"] == OLDER
    assert result.outputs["rolled_back_to"] == OLDER
    assert told(result) == [("warning", result.title)]
    assert lessons(result)[0].outcome.source == f"deployment/staging/{GOOD}"


async def test_what_is_rolled_back_is_what_runs_even_if_it_was_never_good() -> None:
    estate = Estate().has_good(GOOD, before=OLDER)
    estate.running = HEAD
    await carry_out(estate, a_task(command("rollback")))
    assert estate.running == GOOD


async def test_a_rollback_with_nothing_before_changes_nothing_and_says_so() -> None:
    estate = Estate().has_good(GOOD)
    result = await carry_out(estate, a_task(command("rollback")))
    assert result.conclusion is Conclusion.NEUTRAL
    assert result.title == "Nothing to roll back to in staging"
    assert estate.carried_out == []


async def test_a_step_before_this_one_may_ask_for_the_rollback() -> None:
    estate = Estate().has_good(HEAD, before=GOOD)
    inputs = {"watch": {"rollback": True, "environment": "staging", "sha": HEAD}}
    result = await carry_out(estate, a_task(inputs=inputs))
    assert result.outputs["rolled_back_to"] == GOOD


async def test_what_a_step_says_of_another_environment_is_not_meant_for_this_one() -> None:
    estate = Estate().has_good(GOOD, before=OLDER)
    inputs = {"watch": {"rollback": True, "environment": "production", "sha": GOOD}}
    await carry_out(estate, a_task(inputs=inputs))
    assert estate.running == HEAD
