"""Environments: one live deployment at a time, each fenced by a revision that only grows.

Everything here is a function from a record to the record after; what it follows from, and the
comparison with what is stored, is one batch with the note about the effect.
"""

from datetime import datetime

from pipelines.model import (
    CreateDeployment,
    DeploymentTrigger,
    EnvironmentPlan,
    EnvironmentState,
    LastGood,
    ReleaseService,
    SetDeploymentStatus,
    Step,
    WorkflowRun,
)
from pipelines.orchestration.records import EnvironmentRecord, Tenure

TENURES_KEPT = 20
ENDED = frozenset({"success", "failure", "error", "inactive"})
"""Deployment statuses with which a deployment lets go of its environment."""

Deploying = CreateDeployment | ReleaseService | SetDeploymentStatus


def seen_by(run: WorkflowRun, plan: EnvironmentPlan, record: EnvironmentRecord) -> EnvironmentState:
    """Return the environment as the run sees it, with its own latest deployment."""
    own = [tenure for tenure in record.tenures if tenure.run_id == run.id]
    latest = own[-1] if own else None
    return EnvironmentState(
        plan=plan,
        deployment_id=latest.deployment_id if latest else None,
        deployment_sha=latest.sha if latest else None,
        rolling_back=latest.rollback if latest else False,
        revision=latest.revision if latest else record.revision,
        current_sha=record.current_sha,
        last_good=record.last_good,
        before=record.before,
        deployed_at=record.deployed_at,
    )


def deployments_of(run: WorkflowRun, record: EnvironmentRecord) -> frozenset[int]:
    """Return the deployments that a run may speak for: those it made, and the one it is about."""
    own = {t.deployment_id for t in record.tenures if t.run_id == run.id}
    if isinstance(run.trigger, DeploymentTrigger):
        own.add(run.trigger.deployment_id)
    return frozenset(number for number in own if number is not None)


def takes(run: WorkflowRun, effect: Deploying, record: EnvironmentRecord) -> bool:
    """Whether the effect needs the environment and does not have it yet.

    A new deployment takes it, and so does the first deed for the one that a person created.
    """
    if isinstance(effect, CreateDeployment):
        known = [t for t in record.tenures if t.run_id == run.id and t.occasion == effect.occasion]
        return not known
    if isinstance(effect, SetDeploymentStatus) and effect.state in ENDED:
        return False
    known = [tenure for tenure in record.tenures if tenure.deployment_id == effect.deployment_id]
    return not known


def taken(
    record: EnvironmentRecord, run: WorkflowRun, step: Step, effect: Deploying, now: datetime
) -> EnvironmentRecord:
    """Return the record after the effect's deployment took the environment."""
    created = isinstance(effect, CreateDeployment)
    tenure = Tenure(
        run_id=run.id,
        step=step.name,
        occasion=effect.occasion if created else f"deployment/{effect.deployment_id}",
        sha=run.change.head_sha if isinstance(effect, SetDeploymentStatus) else effect.sha,
        rollback=not isinstance(effect, SetDeploymentStatus) and effect.rollback,
        revision=_next_revision(record, now),
        deployment_id=None if created else effect.deployment_id,
        at=now,
    )
    tenures = (*record.tenures, tenure)[-TENURES_KEPT:]
    return record.model_copy(update={"tenures": tenures, "free": False})


def _next_revision(record: EnvironmentRecord, now: datetime) -> int:
    """Return a higher revision than any before.

    Targets remember the highest one they were given. Where nothing is on record, the store may have
    been lost and not the target's memory, so the first one is the time, in seconds since 1970.
    """
    return record.revision + 1 if record.tenures else int(now.timestamp())


def holds(record: EnvironmentRecord, run: WorkflowRun, effect: ReleaseService) -> bool:
    """Whether the environment is this very deployment's, for this very commit."""
    holder = record.holder
    return holder is not None and (holder.run_id, holder.deployment_id, holder.sha) == (
        run.id,
        effect.deployment_id,
        effect.sha,
    )


def after(
    record: EnvironmentRecord,
    run: WorkflowRun,
    effect: Deploying,
    number: int | None,
    now: datetime,
) -> EnvironmentRecord:
    """Return the record after the effect was carried out; unchanged if it is no longer its."""
    match effect:
        case CreateDeployment():
            return _created(record, run, effect, number)
        case ReleaseService():
            held = holds(record, run, effect)
            return record.model_copy(update={"current_sha": effect.sha}) if held else record
        case SetDeploymentStatus():
            return _told(record, run, effect, now)


def let_go(
    record: EnvironmentRecord, run: WorkflowRun, effect: CreateDeployment
) -> EnvironmentRecord:
    """Return the record after the deployment could not be created; its revision was never used."""
    holder = record.holder
    ours = holder is not None and (holder.run_id, holder.occasion) == (run.id, effect.occasion)
    if not ours:
        return record
    return record.model_copy(update={"tenures": record.tenures[:-1], "free": True})


def ended(record: EnvironmentRecord, run_id: str, deployment_id: int) -> EnvironmentRecord:
    """Return the record with the run's deployment ended, whoever has the environment now."""
    tenures = tuple(
        tenure.model_copy(update={"ended": True})
        if (tenure.run_id, tenure.deployment_id) == (run_id, deployment_id)
        else tenure
        for tenure in record.tenures
    )
    return record.model_copy(update={"tenures": tenures})


def over(run: WorkflowRun | None, tenure: Tenure) -> bool:
    """Whether nobody is at work on the deployment any more; ``run`` is the one that it names."""
    return run is None or not run.live or run.step(tenure.step).done


def _created(
    record: EnvironmentRecord, run: WorkflowRun, effect: CreateDeployment, number: int | None
) -> EnvironmentRecord:
    tenures = tuple(
        tenure.model_copy(update={"deployment_id": number})
        if (tenure.run_id, tenure.occasion) == (run.id, effect.occasion)
        else tenure
        for tenure in record.tenures
    )
    return record.model_copy(update={"tenures": tenures})


def _told(
    record: EnvironmentRecord, run: WorkflowRun, effect: SetDeploymentStatus, now: datetime
) -> EnvironmentRecord:
    if effect.state not in ENDED:
        return record
    holder, record = record.holder, ended(record, run.id, effect.deployment_id)
    if holder is None:
        return record
    if (holder.run_id, holder.deployment_id) != (run.id, effect.deployment_id):
        return record
    update: dict[str, object] = {"free": True}
    if effect.state == "success":
        update |= {"deployed_at": now, "current_sha": holder.sha, **_good(record, holder, now)}
    return record.model_copy(update=update)


def _good(record: EnvironmentRecord, holder: Tenure, now: datetime) -> dict[str, LastGood | None]:
    """Move the last good release; what a rollback led away from is not one to go back to."""
    last = record.last_good
    good = LastGood(sha=holder.sha, deployment_id=holder.deployment_id, at=now)
    if last is None or last.sha == holder.sha:
        return {"last_good": good}
    if holder.rollback:
        return {"last_good": good, "before": None}
    return {"last_good": good, "before": last}
