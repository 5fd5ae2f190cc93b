"""What a task is to watch: which environment, which commit runs there, and over which span."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from pydantic import AwareDatetime, JsonValue, TypeAdapter, ValidationError

from pipelines.errors import UserError
from pipelines.model import (
    AlertTrigger,
    DeploymentStatusTrigger,
    DeploymentTrigger,
    EnvironmentState,
    ScheduleTrigger,
    Task,
)

_MOMENT = TypeAdapter(AwareDatetime)
DAYS_BACK = (1, 2, 7)
"""Days before on which the same time is compared with: yesterday, and the same day of a week."""


@dataclass(frozen=True, slots=True)
class Span:
    """A length of time."""

    start: datetime
    end: datetime

    @property
    def seconds(self) -> float:
        """How long it is."""
        return (self.end - self.start).total_seconds()

    def before(self) -> "Span":
        """Return the span of equal length that ends where this one starts."""
        return Span(self.start - (self.end - self.start), self.start)

    def days_ago(self, days: int) -> "Span":
        """Return the same time so many days earlier."""
        back = timedelta(days=days)
        return Span(self.start - back, self.end - back)


@dataclass(frozen=True, slots=True)
class Subject:
    """What is watched; ``fresh`` means that the commit was just deployed and is under suspicion."""

    environment: str
    occasion: Literal["deployment", "alert", "schedule", "request"]
    span: Span
    sha: str | None
    """What runs there, as far as is known."""
    deployment_id: int | None = None
    fresh: bool = False


def subject_of(task: Task, state: EnvironmentState, *, seconds: float, now: datetime) -> Subject:
    """Return what the task is about.

    The span starts with the deployment and not with this attempt, so that a repeated attempt goes
    on where the first one was. An alert is about what was before it as well.
    """
    outputs = _deployed(task, state.plan.name)
    if outputs is not None:
        return _after_step(outputs, state, seconds)
    trigger, length = task.trigger, timedelta(seconds=seconds)
    at = trigger.occurred_at or now
    runs = state.current_sha
    match trigger:
        case DeploymentTrigger() | DeploymentStatusTrigger():
            start = state.deployed_at if runs == trigger.sha and state.deployed_at else at
            return Subject(
                state.plan.name,
                "deployment",
                Span(start, start + length),
                trigger.sha,
                trigger.deployment_id,
                fresh=True,
            )
        case AlertTrigger():
            span = Span(at - length if trigger.firing else at, at + length)
            return Subject(state.plan.name, "alert", span, runs)
        case ScheduleTrigger():
            span = Span(trigger.due_at, trigger.due_at + length)
            return Subject(state.plan.name, "schedule", span, runs)
        case _:
            return Subject(state.plan.name, "request", Span(at, at + length), runs)


def _deployed(task: Task, environment: str) -> dict[str, JsonValue] | None:
    """Return the outputs of the latest deploy step that this one needs, None if there is none."""
    found = [
        outputs
        for outputs in task.inputs.values()
        if isinstance(outputs, dict)
        and outputs.get("environment") == environment
        and outputs.get("deployed_at") is not None
    ]
    return max(found, key=lambda outputs: _moment(outputs["deployed_at"]), default=None)


def _after_step(outputs: dict[str, JsonValue], state: EnvironmentState, seconds: float) -> Subject:
    start = _moment(outputs["deployed_at"])
    back, number = outputs.get("rolled_back_to"), outputs.get("deployment_id")
    sha = back or outputs.get("sha")
    return Subject(
        state.plan.name,
        "deployment",
        Span(start, start + timedelta(seconds=seconds)),
        sha if isinstance(sha, str) else state.current_sha,
        number if isinstance(number, int) and not back else None,
        fresh=back is None,
    )


def _moment(value: JsonValue) -> datetime:
    try:
        return _MOMENT.validate_python(value)
    except ValidationError as error:
        raise UserError("The step before does not say when it deployed.") from error
