"""Small valid models for tests that need one and do not care which."""

from datetime import timedelta
from typing import Any

from pipelines.model import (
    Actor,
    Change,
    Conclusion,
    Coverage,
    Finding,
    PullRequestTrigger,
    Repository,
    RunState,
    Severity,
    Step,
    StepState,
    TaskResult,
    Unseen,
    Usage,
    WorkflowRun,
)
from tests.support.clock import EPOCH

BASE, HEAD = "b" * 40, "a" * 40
REPOSITORY = Repository(installation_id=7, id=42, owner="acme", name="shop")
ADA = Actor(id=1001, login="ada")


def a_finding(**changes: Any) -> Finding:
    return Finding.model_validate(
        {
            "fingerprint": "f" * 16,
            "path": "shop/cart.py",
            "start_line": 3,
            "line": 3,
            "severity": Severity.HIGH,
            "category": "correctness",
            "title": "An empty cart divides by zero",
            "explanation": "`len(prices)` is 0 for an empty cart.",
            "quote": "    return sum(prices) / len(prices)",
            "suggestion": "    return sum(prices) / len(prices) if prices else 0",
        }
        | changes
    )


def a_trigger(**changes: Any) -> PullRequestTrigger:
    return PullRequestTrigger.model_validate(
        {
            "repository": REPOSITORY,
            "actor": ADA,
            "delivery_id": "d-1",
            "action": "opened",
            "number": 12,
            "head_sha": HEAD,
            "head_ref": "feature",
            "base_ref": "main",
            "base_sha": BASE,
            "head_repository_id": 42,
            "author": ADA,
        }
        | changes
    )


def a_change(**changes: Any) -> Change:
    return Change.model_validate(
        {
            "repository": REPOSITORY,
            "number": 12,
            "head_sha": HEAD,
            "base_sha": BASE,
            "head_ref": "feature",
            "base_ref": "main",
            "head_repository_id": 42,
            "author": ADA,
            "author_can_write": True,
        }
        | changes
    )


def a_result(**changes: Any) -> TaskResult:
    return TaskResult.model_validate(
        {
            "task_id": "run-1/review/1",
            "status": "completed",
            "conclusion": Conclusion.FAILURE,
            "title": "1 finding blocks",
            "findings": (a_finding(),),
            "coverage": Coverage(
                seen=("shop/cart.py",), unseen=(Unseen(path="logo.png", reason="binary"),)
            ),
            "usage": Usage(calls=1, cost_usd=0.0123),
        }
        | changes
    )


def a_run(**changes: Any) -> WorkflowRun:
    step = Step(
        name="review",
        agent="review",
        state=StepState.COMPLETED,
        attempt=1,
        conclusion=Conclusion.FAILURE,
        title="1 finding blocks",
    )
    return WorkflowRun.model_validate(
        {
            "id": "run-1",
            "workflow": "pull-request",
            "trigger": a_trigger(),
            "change": a_change(),
            "config_sha": "c" * 40,
            "group": "pull-request/pr/12",
            "generation": 1,
            "steps": (step,),
            "state": RunState.COMPLETED,
            "conclusion": Conclusion.FAILURE,
            "budget_usd": 1.5,
            "created_at": EPOCH,
            "updated_at": EPOCH + timedelta(seconds=9),
        }
        | changes
    )
