"""Runs of made-up plans, as small as a test can use them."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from pipelines.model import Actor, Change, PullRequestTrigger, Repository, Step, WorkflowRun
from pipelines.orchestration.runs import new_run
from tests.support.clock import EPOCH

HEAD = "a" * 40
BASE = "b" * 40
OTHER = "c" * 40
REPOSITORY = Repository(installation_id=7, id=42, owner="octo", name="shop")
AUTHOR = Actor(id=1001, login="ada")


def a_change(head: str = HEAD, **fields: Any) -> Change:
    known: dict[str, Any] = {
        "repository": REPOSITORY,
        "number": 5,
        "head_sha": head,
        "base_sha": BASE,
        "head_repository_id": REPOSITORY.id,
        "head_ref": "feature",
        "base_ref": "main",
        "author": AUTHOR,
        "author_can_write": True,
        "paths": ("src/shop.py",),
    }
    return Change(**(known | fields))


def a_trigger(head: str = HEAD, **fields: Any) -> PullRequestTrigger:
    known: dict[str, Any] = {
        "repository": REPOSITORY,
        "actor": AUTHOR,
        "delivery_id": "d-1",
        "action": "synchronize",
        "number": 5,
        "head_sha": head,
        "head_ref": "feature",
        "base_ref": "main",
        "base_sha": BASE,
        "head_repository_id": REPOSITORY.id,
        "author": AUTHOR,
    }
    return PullRequestTrigger(**(known | fields))


def a_step(name: str, *needs: str, **fields: Any) -> Step:
    known: dict[str, Any] = {"agent": "review"}
    return Step(name=name, needs=needs, **(known | fields))


def a_run(
    *steps: Step | str,
    change: Change | None = None,
    trigger: PullRequestTrigger | None = None,
    generation: int = 1,
    budget_usd: float = 1.0,
    now: datetime = EPOCH,
    **fields: Any,
) -> WorkflowRun:
    change = change or a_change()
    plan: Sequence[Step] = [a_step(s) if isinstance(s, str) else s for s in steps]
    return new_run(
        run_id=f"run-{generation}",
        workflow="pull-request",
        trigger=trigger or a_trigger(change.head_sha),
        change=change,
        config_sha="default",
        group="42/pr/5/pull-request",
        generation=generation,
        steps=plan,
        budget_usd=budget_usd,
        now=now,
        **fields,
    )
