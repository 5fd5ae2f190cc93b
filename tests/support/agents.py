"""Scripted agents: what a test's AgentRunner does when it is given a task."""

import asyncio
from collections.abc import Awaitable, Callable

from pipelines.model import Conclusion, Coverage, Finding, Severity, SubmitReview, Task, TaskResult
from pipelines.model import Usage as Spent
from pipelines.ports import Notes, Tally, Workplace
from tests.support.forge import Faults

Script = Callable[[Task], TaskResult]
Act = Callable[[Task, Workplace], Awaitable[TaskResult]]


def finding(fingerprint: str = "f" * 16, severity: Severity = Severity.HIGH) -> Finding:
    return Finding(
        fingerprint=fingerprint,
        path="src/app.py",
        start_line=1,
        line=1,
        severity=severity,
        category="bug",
        title="It prints",
        explanation="Printing is not what was asked for.",
        quote="print('hi')",
    )


def review(task: Task) -> TaskResult:
    """What a reviewer hands back: one finding, one review pinned to the head."""
    assert task.change.number is not None
    coverage = Coverage(seen=task.change.paths)
    effect = SubmitReview(
        number=task.change.number,
        head_sha=task.change.head_sha,
        findings=(finding(),),
        summary="One thing.",
        coverage=coverage,
    )
    return TaskResult(
        task_id=task.id,
        status="completed",
        conclusion=Conclusion.NEUTRAL,
        title="1 finding",
        findings=(finding(),),
        effects=(effect,),
        coverage=coverage,
        usage=Spent(calls=1, input_tokens=100, output_tokens=10, cost_usd=0.01),
        outputs={"findings": 1},
    )


def quiet(task: Task) -> TaskResult:
    """A result without effects."""
    return TaskResult(
        task_id=task.id, status="completed", conclusion=Conclusion.SUCCESS, title="Nothing to say"
    )


class ScriptedAgents:
    """Implements ``AgentRunner``; ``hold`` keeps tasks running until it is set."""

    def __init__(self, faults: Faults, script: Script = review) -> None:
        self._faults = faults
        self.script = script
        self.acts: dict[str, Act] = {}
        """By agent: what it does instead, with its workplace at hand."""
        self.tasks: list[Task] = []
        self.cancelled: list[str] = []
        self.running: set[str] = set()
        self.hold: asyncio.Event | None = None
        self.started = asyncio.Event()
        self.under_way = Spent()
        """What the model call of a task costs at its worst, while it goes on."""

    async def run(
        self,
        task: Task,
        workplace: Workplace,
        *,
        tally: Tally | None = None,
        notes: Notes | None = None,
    ) -> TaskResult:
        self.tasks.append(task)
        if tally:
            tally(self.under_way)
        self.running.add(task.id)
        try:
            self._faults.point("agent")
            await workplace.changed_files()
            self.started.set()
            if self.hold is not None:
                await self.hold.wait()
            act = self.acts.get(task.agent)
            result = await act(task, workplace) if act else self.script(task)
            self._faults.point("agent done")
        except asyncio.CancelledError:
            self.cancelled.append(task.id)
            raise
        else:
            return result
        finally:
            self.running.discard(task.id)

    async def close(self) -> None:
        assert not self.running
