"""How long a step may take, how it and its run are judged, and the words for it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from pipelines.model import Change, Conclusion, Step, StepState, WorkflowRun

WORST_FIRST = (
    Conclusion.FAILURE,
    Conclusion.TIMED_OUT,
    Conclusion.ACTION_REQUIRED,
    Conclusion.CANCELLED,
    Conclusion.NEUTRAL,
    Conclusion.SUCCESS,
    Conclusion.SKIPPED,
)
"""A run ends as its worst step did. A skipped step says nothing about the others: a run is skipped
only if all of its steps were, and one neutral step keeps it from claiming success."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How long, in seconds, a step may stay in each state that has no timeout of its own."""

    queue_seconds: float = 6 * 3600.0
    """From ready to claimed, retries and parks included."""
    publish_seconds: float = 2 * 3600.0
    """Longer than GitHub's primary rate limit takes to reset."""
    approval_seconds: float = 7 * 86400.0


def worst(steps: Iterable[Step]) -> Conclusion:
    """Return how a run of these steps ended."""
    reached = {step.conclusion for step in steps}
    return next((c for c in WORST_FIRST if c in reached), Conclusion.SKIPPED)


def why_skipped(step: Step, needs: Sequence[tuple[str, Conclusion | None]], change: Change) -> str:
    """Return the reason for users: each need that did not succeed, and what could not be known."""
    blocking = [f"`{n}` ended as {c}" for n, c in needs if c is not Conclusion.SUCCESS]
    if "changed(" in step.condition and not change.paths_complete:
        blocking.append("not all changed files could be listed")
    because = f": {', '.join(blocking)}" if blocking else ""
    return f"Skipped, because `{step.condition}` does not hold{because}."


def overdue(step: Step, limits: Limits) -> str:
    """Return what a step did not manage in time, by the state it was in."""
    match step.state:
        case StepState.RUNNING:
            return f"Timed out after {_span(step.timeout_seconds)}."
        case StepState.PUBLISHING:
            return f"Publishing took longer than {_span(limits.publish_seconds)}."
        case StepState.WAITING:
            return f"Nobody approved it within {_span(limits.approval_seconds)}."
        case _:
            return f"It could not run within {_span(limits.queue_seconds)}. {step.title}".strip()


def _span(seconds: float) -> str:
    """Return a duration in the largest unit that leaves a whole number."""
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size and seconds % size == 0:
            return f"{seconds / size:g} {unit}"
    return f"{seconds:g} s"


def next_deadline(steps: Iterable[Step]) -> datetime | None:
    """Return the earliest time at which a step is overdue; None if no step has one."""
    return min((step.deadline for step in steps if step.deadline), default=None)


def looks_different(before: WorkflowRun, after: WorkflowRun) -> bool:
    """Whether users are to see something else of the run after than before."""
    steps = zip(before.steps, after.steps, strict=True)
    return (
        before.state is not after.state
        or before.reason != after.reason
        or any(old is not new and _shown(old) != _shown(new) for old, new in steps)
    )


def _shown(step: Step) -> tuple[object, ...]:
    return step.state, step.conclusion, step.title, step.not_before
