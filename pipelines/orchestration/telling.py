"""What is said in the conversation that a run came from, where nothing else shows how it stands."""

from collections.abc import Iterator

from pipelines.model import (
    CommandTrigger,
    Conclusion,
    FeedbackTrigger,
    IssueTrigger,
    PostComment,
    Step,
    StepState,
    WorkflowRun,
)

SEEN = frozenset(
    {"submit_review", "answer_finding", "post_comment", "push_commit", "open_pull_request"}
)
"""Kinds of effect that whoever follows the conversation sees in it."""
_QUIET = (Conclusion.CANCELLED, Conclusion.SKIPPED)
"""Ends that say nothing new: of a cancelled run its canceller was told."""


def asked_in(run: WorkflowRun) -> int | None:
    """Return the issue or pull request where somebody asked for this run; None if nobody did."""
    match run.trigger:
        case CommandTrigger() | IssueTrigger() | FeedbackTrigger():
            return run.trigger.number
        case _:
            return None


def waits(before: WorkflowRun, after: WorkflowRun) -> bool:
    """Whether a step has begun to wait for an approval where no check can show it: on an issue."""
    known = {_reason(step) for step in _waiting(before)}
    return on_issue(after) and any(_reason(step) not in known for step in _waiting(after))


def on_issue(run: WorkflowRun) -> bool:
    """Whether the run belongs to an issue, which has no checks."""
    return run.change.number is None


def waiting(run: WorkflowRun) -> Iterator[PostComment]:
    """Yield a comment for each step of an issue's run that waits for an approval."""
    number = asked_in(run)
    if number is None or not on_issue(run):
        return
    for step in _waiting(run):
        body = f"`{step.name}` waits: {step.title}\n\n`/conductor approve` here lets it go on."
        yield PostComment(number=number, body=body, reason=f"waits/{run.id}/{_reason(step)}")


def ending(run: WorkflowRun, *, seen: bool) -> PostComment | None:
    """Return what to say of a run that has ended, unless that shows already.

    ``seen`` is whether anything of it was written into the conversation. On a pull request a check
    tells of a success.
    """
    number = asked_in(run)
    untold = on_issue(run) or run.conclusion is not Conclusion.SUCCESS
    if number is None or seen or run.conclusion in _QUIET or not untold:
        return None
    rows = [
        f"- `{step.name}` ended as {step.conclusion}: {step.title or 'it says no more'}"
        for step in run.steps
        if step.conclusion is not Conclusion.SKIPPED
    ]
    body = "\n".join([f"What came of `{run.workflow}`:", "", *rows])
    return PostComment(number=number, body=body, reason=f"ended/{run.id}")


def _waiting(run: WorkflowRun) -> list[Step]:
    return [step for step in run.steps if step.state is StepState.WAITING]


def _reason(step: Step) -> str:
    return f"{step.name}/{step.attempt}{'/held' if step.held else ''}"
