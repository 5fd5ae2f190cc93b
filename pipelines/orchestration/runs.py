"""Runs at their beginning: planned, checked, and nothing done yet."""

from collections.abc import Sequence
from datetime import datetime

from pipelines.config.conditions import parse
from pipelines.model import Change, Step, Trigger, WorkflowRun
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
