"""A deployment that made things worse is taken back, if that is asked for and can be done."""

from datetime import timedelta
from typing import Any

import pytest

from pipelines.errors import Retryable, UserError
from pipelines.model import (
    Conclusion,
    CreateDeployment,
    Effect,
    Learned,
    Notify,
    OpenIssue,
    Probe,
    ReleaseService,
    ReleaseState,
    SetDeploymentStatus,
    TaskResult,
)
from pipelines.ports import Receipt
from tests.support.clock import EPOCH
from tests.support.samples import BASE, HEAD
from tests.unit.agents.monitor.plant import Plant, a_task, flat, outputs, step, watched

ROLLBACK = {"on_breach": "rollback"}


def broken(after: float = 0.3) -> Plant:
    plant = Plant(
        {
            "error_rate": step(0.001, after),
            "request_rate": flat(20.0),
        }
    )
    plant.good_before()
    plant.releases = [ReleaseState(phase="ready", sha=BASE, revision=1)]
    plant.probes = [Probe(ok=True, status=200)]
    return plant


async def rolled(plant: Plant, **changes: Any) -> TaskResult:
    result = await watched(plant, a_task(plant, ROLLBACK, **changes))
    assert result.conclusion is Conclusion.FAILURE
    assert isinstance(result.effects[0], OpenIssue)
    return result


async def test_a_breach_brings_the_last_good_commit_back() -> None:
    plant = broken()
    result = await rolled(plant)
    kinds = [effect.kind for effect in plant.effects]
    assert kinds[0] == "create_deployment"
    assert "release_service" in kinds
    [create] = [effect for effect in plant.effects if isinstance(effect, CreateDeployment)]
    assert (create.sha, create.head_sha, create.rollback) == (BASE, HEAD, True)
    assert create.occasion == "run-1/watch/rollback"
    [release] = [effect for effect in plant.effects if isinstance(effect, ReleaseService)]
    assert (release.sha, release.rollback) == (BASE, True)
    last = plant.effects[-1]
    assert isinstance(last, SetDeploymentStatus)
    assert last.state == "success"
    assert result.outputs["rolled_back_to"] == BASE
    assert result.feedback
    assert result.feedback.suspected_sha == HEAD
    assert f"staging was rolled back to {BASE[:12]}." in result.feedback.findings
    learned = [a.outcome for a in result.artifacts if isinstance(a, Learned)]
    assert [(one.kind, one.agent) for one in learned] == [("deployment_rolled_back", "deploy")]


async def test_nothing_is_taken_back_unless_asked() -> None:
    plant = broken()
    result = await watched(plant)
    assert result.conclusion is Conclusion.FAILURE
    assert plant.effects == []


async def test_nothing_is_taken_back_while_all_is_well() -> None:
    plant = broken(after=0.001)
    assert (await watched(plant, a_task(plant, ROLLBACK))).conclusion is Conclusion.SUCCESS
    assert plant.effects == []


async def test_an_alert_takes_nothing_back() -> None:
    plant = broken()
    await rolled(plant, inputs={})
    assert plant.effects == []


async def test_a_newer_deployment_is_not_taken_back() -> None:
    plant = broken()
    assert plant.state
    plant.state = plant.state.model_copy(update={"current_sha": "c" * 40})
    result = await rolled(plant)
    assert plant.effects == []
    assert "another commit was deployed meanwhile" in result.summary


async def test_a_first_deployment_has_nothing_to_go_back_to() -> None:
    plant = broken()
    assert plant.state
    plant.state = plant.state.model_copy(update={"before": None})
    result = await rolled(plant)
    assert plant.effects == []
    assert "there is no earlier good release" in result.summary
    assert result.outputs["rolled_back_to"] is None


async def test_a_refusal_is_said_and_the_breach_is_told() -> None:
    plant = broken()
    plant.on_perform = lambda effect: Receipt(
        key=effect.key, status="denied", message="The environment is frozen."
    )
    result = await rolled(plant)
    assert "was not allowed: The environment is frozen." in result.summary
    assert [e.level for e in result.effects if isinstance(e, Notify)] == ["warning"]


async def test_a_passing_fault_is_tried_again() -> None:
    plant, faults = broken(), [Retryable("GitHub is away."), Retryable("GitHub is away.")]
    done = plant.on_perform

    def flaky(effect: Effect) -> Receipt:
        if faults:
            raise faults.pop()
        return done(effect)

    plant.on_perform = flaky
    result = await rolled(plant)
    assert result.outputs["rolled_back_to"] == BASE


@pytest.mark.parametrize("error", [Retryable("GitHub is away."), UserError("No permission.")])
async def test_a_rollback_that_fails_does_not_hide_the_breach(error: Exception) -> None:
    plant = broken()

    def fail(_: Effect) -> Receipt:
        raise error

    plant.on_perform = fail
    result = await rolled(plant)
    assert f"The rollback failed: {error}" in result.summary
    assert plant.clock.now() < EPOCH + timedelta(seconds=300)


async def test_a_rollback_that_does_not_come_up_is_said() -> None:
    plant = broken()
    plant.releases = [ReleaseState(phase="failed", sha=BASE, revision=1, message="exit 1")]
    result = await rolled(plant)
    assert f"The rollback of staging to {BASE[:12]} failed: " in result.summary
    assert result.outputs["rolled_back_to"] is None


async def test_a_second_attempt_goes_on_with_the_rollback_that_was_begun() -> None:
    plant = broken()
    assert plant.state
    plant.state = plant.state.model_copy(
        update={"rolling_back": True, "deployment_sha": BASE, "deployment_id": 43}
    )
    await plant.clock.advance(120.0)
    result = await rolled(plant, attempt=2)
    assert [e for e in plant.effects if isinstance(e, CreateDeployment)] == []
    [release] = [effect for effect in plant.effects if isinstance(effect, ReleaseService)]
    assert (release.deployment_id, release.sha) == (43, BASE)
    assert result.outputs["rolled_back_to"] == BASE


async def test_a_deployment_that_was_taken_back_already_is_left_alone() -> None:
    plant = broken()
    await rolled(plant, inputs={"ship": outputs(rolled_back_to=BASE)})
    assert plant.effects == []
