"""What is announced on the bus when something ended: for metrics and live pages, never for work."""

from collections.abc import Iterator
from uuid import uuid4

from pydantic import JsonValue

from pipelines.model import Conclusion, FeedbackPayload, Frozen, WorkflowRun
from pipelines.orchestration.transitions import Feedback

ENDINGS = "endings"
"""The topic that carries ``Ending`` as JSON; a listener may miss some, the store never does."""

THIS_PROCESS = uuid4().hex
"""Tells what ended here from what every listener hears of other processes."""

FEEDBACK = "feedback"
"""The topic that carries ``SentBack`` as JSON; what makes a fix happen is the issue, not this."""


class SentBack(Frozen):
    """A monitor sent something back to development."""

    tenant: str
    run_id: str
    step: str
    payload: FeedbackPayload


class Ending(Frozen):
    """A step, a run or a message came to its end."""

    tenant: str
    what: str
    """``step``, ``run`` or ``message``."""
    name: str
    """The agent, the workflow, or the queue."""
    conclusion: Conclusion | None = None
    """None for a message that was given up."""
    seconds: float | None = None
    """How long a step ran; None if it never did."""
    run_id: str = ""
    process: str = THIS_PROCESS
    """Where that was decided, and so where it is counted."""


def endings(before: WorkflowRun | None, after: WorkflowRun) -> Iterator[JsonValue]:
    """Yield what ended between two versions of a run."""
    tenant = after.change.repository.tenant
    done = {step.name for step in before.steps if step.done} if before else set[str]()
    for step in after.steps:
        if step.done and step.name not in done:
            ran = (step.started_at, step.finished_at)
            seconds = (ran[1] - ran[0]).total_seconds() if ran[0] and ran[1] else None
            yield Ending(
                tenant=tenant,
                what="step",
                name=step.agent,
                conclusion=step.conclusion,
                seconds=seconds,
                run_id=after.id,
            ).model_dump(mode="json")
    if not after.live and (before is None or before.live):
        yield Ending(
            tenant=tenant,
            what="run",
            name=after.workflow,
            conclusion=after.conclusion,
            run_id=after.id,
        ).model_dump(mode="json")


def sent_back(run: WorkflowRun, command: Feedback) -> JsonValue:
    """Return the news that a monitor sent something back."""
    return SentBack(
        tenant=run.change.repository.tenant,
        run_id=run.id,
        step=command.step,
        payload=command.payload,
    ).model_dump(mode="json")


def ended_here(item: JsonValue) -> Ending | None:
    """Return the ending if this process has announced it, None for those of others."""
    if not isinstance(item, dict) or item.get("process") != THIS_PROCESS:
        return None
    return Ending.model_validate(item)


def given_up(tenant: str, queue: str) -> JsonValue:
    """Return the news that a message became a dead letter."""
    return Ending(tenant=tenant, what="message", name=queue).model_dump(mode="json")
