"""What becomes of a delivery that is given up: its record, and what its pull request shows."""

from bot.deliveries.delivery import DeliveryStatus
from pipelines.config.plan import group_of
from pipelines.model import Change, PullRequestTrigger, Step, TaskResult
from pipelines.orchestration.changes import DESK, Changes, Plan
from pipelines.orchestration.error_handler import Action, Decision

WORKFLOW = "(intake)"
"""The name of the run that carries it; no workflow can be called that."""


def status_of(decision: Decision) -> DeliveryStatus:
    """Return how a delivery ends on which that was decided."""
    match decision.action:
        case Action.DEAD_LETTER | Action.OUR_FAULT:
            return DeliveryStatus.DEAD
        case Action.IGNORE | Action.DROP:
            return DeliveryStatus.IGNORED
        case _:
            return DeliveryStatus.FAILED


async def lost(changes: Changes, trigger: PullRequestTrigger, decision: Decision) -> str:
    """Gather a run that ended at once with the reason, and return its id.

    The subject could not be read, so that the run knows only what the event itself said.
    """
    change = Change(
        repository=trigger.repository,
        number=trigger.number,
        head_sha=trigger.head_sha,
        base_sha=trigger.base_sha,
        head_ref=trigger.head_ref,
        base_ref=trigger.base_ref,
        head_repository_id=trigger.head_repository_id,
        author=trigger.author,
    )
    plan = Plan(
        workflow=WORKFLOW,
        group=group_of(WORKFLOW, trigger),
        steps=(Step(name="event", agent=DESK),),
        budget_usd=0.0,
        again=True,
    )
    result = TaskResult(
        task_id="",
        status="completed",
        conclusion=decision.conclusion,
        title="This event could not be handled",
        summary=f"{decision.message}\n\nThe operator can requeue it; `/conductor review` starts "
        "everything anew.",
    )
    return (await changes.conclude(plan, trigger, change, "", result)).run_id
