"""Results with one artifact of each kind, and a canary in every text, for tests of the stores."""

from datetime import datetime
from typing import Any

from pipelines.model import (
    Artifact,
    CaseResult,
    CodeVersion,
    ExecutionRecord,
    Fixture,
    Learned,
    LogLine,
    Measurement,
    Outcome,
    Point,
    Series,
    Task,
    TaskResult,
    TestReport,
)
from tests.support.clock import EPOCH
from tests.support.samples import HEAD, a_change, a_finding, a_result, a_trigger


def a_task(tenant: str = "7/42", **changes: Any) -> Task:
    installation, repository = (int(part) for part in tenant.split("/"))
    trigger, change = a_trigger(), a_change(title="Show the average", paths=("shop/cart.py",))
    place = trigger.repository.model_copy(
        update={"installation_id": installation, "id": repository}
    )
    return Task.model_validate(
        {
            "run_id": "run-1",
            "step": "fix",
            "agent": "coding",
            "attempt": 1,
            "trigger": trigger.model_copy(update={"repository": place}),
            "change": change.model_copy(update={"repository": place}),
            "budget_usd": 1.0,
            "deadline": EPOCH,
        }
        | changes
    )


def an_outcome(**changes: Any) -> Outcome:
    return Outcome.model_validate(
        {
            "kind": "finding_dismissed",
            "agent": "review",
            "subject": "An empty cart divides by zero",
            "why": "Carts are never empty here",
            "paths": ("shop/cart.py",),
            "category": "correctness",
            "source": "pr/12/finding/ab12",
            "at": EPOCH,
        }
        | changes
    )


def artifacts(canary: str = "", at: datetime = EPOCH) -> tuple[Artifact, ...]:
    """One of each kind."""
    points = (Point(at=at.timestamp(), value=0.5),)
    return (
        CodeVersion(
            path="shop/cart.py",
            base_sha=HEAD,
            content=f"# {canary}\nTOTAL = 1\n",
            diff=f"@@ -1 +1,2 @@\n+# {canary}\n TOTAL = 1\n",
        ),
        ExecutionRecord(subject="pipeline", data={"dockerfile": f"FROM python  # {canary}"}),
        Fixture(
            path="tests/fixtures/carts.json",
            schema_name="Cart",
            schema_sha="d" * 40,
            seed=7,
            records=1,
            content=f'[{{"name": "{canary}"}}]',
        ),
        TestReport(
            sha=HEAD,
            command="pytest -q",
            sandbox="bubblewrap",
            exit_code=1,
            cases=(CaseResult(name=f"test {canary}", outcome="failed"),),
        ),
        Measurement(
            environment="staging",
            series=Series(name="error rate", unit=canary, points=points),
            at=at,
        ),
        LogLine(text=f"edited {canary}", at=at),
        Learned(outcome=an_outcome(kind="test_kept", agent="test", why=canary, source="run-1/t")),
    )


def a_full_result(canary: str = "", at: datetime = EPOCH, **changes: Any) -> TaskResult:
    findings = (a_finding(explanation=f"It is {canary}"),)
    return a_result(
        title=f"Done {canary}", findings=findings, artifacts=artifacts(canary, at), **changes
    )
