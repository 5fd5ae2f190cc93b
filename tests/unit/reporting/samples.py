"""A run, its findings and effects, for tests to change."""

from typing import Any

from pipelines.model import (
    Actor,
    AnswerFinding,
    Change,
    Conclusion,
    Coverage,
    Finding,
    PullRequestTrigger,
    Severity,
    Step,
    StepState,
    SubmitReview,
    TaskResult,
    WorkflowRun,
)
from tests.support.clock import EPOCH
from tests.support.github_stub import BOT_ID, REPOSITORY

HEAD = "a" * 40
BASE = "b" * 40
ADA = Actor(id=7, login="ada")
BOT = {"__typename": "Bot", "login": "conductor", "databaseId": BOT_ID}
PERSON = {"__typename": "User", "login": "ada", "databaseId": 7}
TRIGGER = PullRequestTrigger(
    repository=REPOSITORY,
    actor=ADA,
    delivery_id="d-1",
    action="opened",
    number=5,
    head_sha=HEAD,
    head_ref="topic",
    base_ref="main",
    base_sha=BASE,
    head_repository_id=100,
    author=ADA,
)
CHANGE = Change(
    repository=REPOSITORY, number=5, head_sha=HEAD, base_sha=BASE, head_repository_id=100
)


def step(state: StepState = StepState.QUEUED, name: str = "review", **fields: Any) -> Step:
    return Step(name=name, agent="review", state=state, **fields)


def done(conclusion: Conclusion = Conclusion.SUCCESS, **fields: Any) -> Step:
    return step(StepState.COMPLETED, conclusion=conclusion, finished_at=EPOCH, **fields)


def run(*steps: Step, **fields: Any) -> WorkflowRun:
    return WorkflowRun(
        id="run1",
        workflow="pull-request",
        trigger=TRIGGER,
        change=CHANGE,
        config_sha="",
        group="g",
        generation=1,
        steps=steps or (step(),),
        budget_usd=1,
        created_at=EPOCH,
        updated_at=EPOCH,
        **fields,
    )


def finding(**fields: Any) -> Finding:
    values: dict[str, Any] = {
        "fingerprint": "f00dfeed",
        "anchor": "high.1a2b3c4d",
        "path": "src/a.py",
        "start_line": 3,
        "line": 3,
        "severity": Severity.HIGH,
        "category": "correctness",
        "title": "Off by one",
        "explanation": "The loop stops early.",
        "quote": "for i in range(n - 1):",
    }
    return Finding(**{**values, **fields})


def review(*findings: Finding, **fields: Any) -> SubmitReview:
    values: dict[str, Any] = {
        "number": 5,
        "head_sha": HEAD,
        "findings": findings,
        "summary": "One problem.",
        "coverage": Coverage(seen=("src/a.py",)),
    }
    return SubmitReview(**{**values, **fields})


def answer(**fields: Any) -> AnswerFinding:
    values: dict[str, Any] = {
        "number": 5,
        "head_sha": HEAD,
        "fingerprint": "f00dfeed",
        "thread_id": "PRRT_1",
        "comment_id": 900,
        "fixed_in": HEAD,
    }
    return AnswerFinding(**{**values, **fields})


def result(*findings: Finding, **fields: Any) -> TaskResult:
    values: dict[str, Any] = {
        "task_id": "run1/review/1",
        "status": "completed",
        "conclusion": Conclusion.SUCCESS,
        "title": "No problems",
        "findings": findings,
        "coverage": Coverage(seen=("src/a.py",)),
    }
    return TaskResult(**{**values, **fields})
