"""What can happen to a run, and what the engine wants done about it.

Events are facts from outside and are stored, so that a run can be gone through again; commands are
wishes of the engine, which follow from them.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Literal

from pydantic import AwareDatetime, Field, JsonValue

from pipelines.model import (
    Approval,
    Conclusion,
    FeedbackPayload,
    Frozen,
    Sha,
    Usage,
    WorkflowRun,
)


class Started(Frozen):
    """The run was created and may dispatch its first steps."""

    kind: Literal["started"] = "started"


class StepClaimed(Frozen):
    """A worker took the step's task."""

    kind: Literal["step_claimed"] = "step_claimed"
    step: str
    attempt: int


class StepFinished(Frozen):
    """The agent returned; with ``effects`` above 0 they are still to be carried out."""

    kind: Literal["step_finished"] = "step_finished"
    step: str
    attempt: int
    conclusion: Conclusion
    title: str
    outputs: dict[str, JsonValue] = Field(default_factory=dict)
    usage: Usage = Usage()
    effects: int = Field(default=0, ge=0)
    feedback: FeedbackPayload | None = None
    """What a monitor sends back to development."""


class StepFailed(Frozen):
    """The attempt failed and the error handler decided.

    With ``retry_at`` it is tried again then, if attempts are left; ``counted`` is False when the
    fault was not the step's own (a rate limit), so that no attempt is used up. Without ``retry_at``
    the step ends with ``conclusion``.
    """

    kind: Literal["step_failed"] = "step_failed"
    step: str
    attempt: int
    conclusion: Conclusion
    title: str
    retry_at: AwareDatetime | None = None
    counted: bool = True
    usage: Usage = Usage()


class StepSpent(Frozen):
    """An attempt that somebody else carries on has cost this much so far; nothing else changes."""

    kind: Literal["step_spent"] = "step_spent"
    step: str
    attempt: int
    usage: Usage


class EffectsPublished(Frozen):
    """All effects of the step were carried out, denied or found done; the step is complete."""

    kind: Literal["effects_published"] = "effects_published"
    step: str
    attempt: int
    conclusion: Conclusion | None = None
    """Replaces the agent's own conclusion, e.g. when policy denied an effect."""
    title: str | None = None


class EffectsHeld(Frozen):
    """Policy wants somebody's consent to the effects of the step's stored result."""

    kind: Literal["effects_held"] = "effects_held"
    step: str
    attempt: int
    level: str
    title: str


class ApprovalNeeded(Frozen):
    """Policy wants somebody's consent before the step's task may run."""

    kind: Literal["approval_needed"] = "approval_needed"
    step: str
    attempt: int
    level: str
    title: str


class StepApproved(Frozen):
    """Somebody with the right level consented."""

    kind: Literal["step_approved"] = "step_approved"
    step: str
    approval: Approval
    head_sha: Sha | None = None
    """The commit they were looking at; consent to another one than the run's is not consent."""


class CancelRequested(Frozen):
    """Somebody asked for the run to stop."""

    kind: Literal["cancel_requested"] = "cancel_requested"
    reason: str


class Superseded(Frozen):
    """A newer run of the same group replaces this one."""

    kind: Literal["superseded"] = "superseded"
    generation: int
    reason: str


class Ticked(Frozen):
    """Time passed: whatever is beyond its deadline ends."""

    kind: Literal["ticked"] = "ticked"


RunEvent = Annotated[
    Started
    | StepClaimed
    | StepFinished
    | StepFailed
    | StepSpent
    | EffectsPublished
    | EffectsHeld
    | ApprovalNeeded
    | StepApproved
    | CancelRequested
    | Superseded
    | Ticked,
    Field(discriminator="kind"),
]


@dataclass(frozen=True, slots=True)
class Dispatch:
    """Queue the step's task for its agent, not before ``not_before``."""

    step: str
    attempt: int
    not_before: datetime | None = None


@dataclass(frozen=True, slots=True)
class Abort:
    """Stop the agent that works on the step, if one does."""

    step: str
    attempt: int


@dataclass(frozen=True, slots=True)
class Publish:
    """Carry out the effects of the step's stored result."""

    step: str
    attempt: int


@dataclass(frozen=True, slots=True)
class Feedback:
    """Tell whoever listens that a monitor sent something back to development.

    It is news; what makes a fix happen is the issue, which is an effect of the same result.
    """

    step: str
    payload: FeedbackPayload


@dataclass(frozen=True, slots=True)
class Report:
    """Something users see has changed; one report that is still to come shows all of it."""


@dataclass(frozen=True, slots=True)
class Wake:
    """Send ``Ticked`` at this time."""

    at: datetime


Command = Dispatch | Abort | Publish | Feedback | Report | Wake


@dataclass(frozen=True, slots=True)
class Transition:
    """The run after an event, and what is to be done; equal runs mean that nothing happened."""

    run: WorkflowRun
    commands: tuple[Command, ...] = ()
