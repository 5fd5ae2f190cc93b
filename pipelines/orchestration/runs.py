"""Runs at their beginning: whether one is needed; planned, checked, and nothing done yet."""

from collections.abc import Collection, Sequence
from datetime import datetime

from pipelines.config.conditions import parse
from pipelines.model import (
    Change,
    Conclusion,
    PullRequestTrigger,
    Step,
    Trigger,
    WorkflowRun,
)
from pipelines.orchestration.graph import graph_of


def new_run(
    *,
    run_id: str,
    workflow: str,
    trigger: Trigger,
    change: Change,
    config_sha: str,
    group: str,
    generation: int,
    steps: Sequence[Step],
    budget_usd: float,
    now: datetime,
    ignore: tuple[str, ...] = (),
    cancel_superseded: bool = True,
    rerun_of: str | None = None,
) -> WorkflowRun:
    """Return a run that ``Started`` can set going.

    Raises ``GraphError`` for needs without an order, ``ConditionError`` for an unreadable `if`.
    """
    graph_of(steps)
    for step in steps:
        parse(step.condition)
    return WorkflowRun(
        id=run_id,
        workflow=workflow,
        trigger=trigger,
        change=change,
        config_sha=config_sha,
        group=group,
        generation=generation,
        steps=tuple(steps),
        budget_usd=budget_usd,
        ignore=ignore,
        cancel_superseded=cancel_superseded,
        rerun_of=rerun_of,
        created_at=now,
        updated_at=now,
    )


def needless(
    trigger: Trigger,
    change: Change,
    older: WorkflowRun | None,
    *,
    agents: Collection[str],
    again: bool,
) -> str | None:
    """Return why no run of these agents is needed, or None; ``again``: somebody asked for it."""
    if older is not None and older.trigger.delivery_id == trigger.delivery_id:
        return "This delivery has started it already."
    if again:
        return None
    if older is None:
        known = set(agents) == {"review"} and change.head_sha in change.reviewed_shas
        return "This commit was reviewed before." if known else None
    bound_to_commit = trigger.kind in ("pull_request", "push")
    if not bound_to_commit or older.change.head_sha != change.head_sha:
        return None
    reopened = isinstance(trigger, PullRequestTrigger) and trigger.action == "reopened"
    if reopened and older.conclusion is Conclusion.CANCELLED:
        return None
    return "A run for this commit is under way." if older.live else "This commit was run before."
