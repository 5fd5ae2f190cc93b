"""What orchestration asks of the stores that agents learn from and leave their work in."""

from collections.abc import Sequence
from typing import Protocol

from pipelines.model import Lesson, Measurement, Outcome, Step, Task, TaskResult, WorkflowRun
from pipelines.ports import Write


class Memory(Protocol):
    """The five stores: what a task is told of earlier work, and what is kept of this one.

    Writes are stored by the caller, in one step with what they follow from.
    """

    async def lessons(self, run: WorkflowRun, step: Step) -> tuple[Lesson, ...]:
        """Return what earlier work taught about this step, the most relevant first."""
        ...

    async def records(
        self, run: WorkflowRun, step: Step, task: Task, result: TaskResult
    ) -> Sequence[Write]:
        """Return what is stored of a result: artifacts, outcomes, metadata of the execution."""
        ...

    async def measured(self, task: Task, measurements: Sequence[Measurement]) -> Sequence[Write]:
        """Return what stores measurements of a task that goes on."""
        ...

    def learned(self, tenant: str, outcomes: Sequence[Outcome]) -> Sequence[Write]:
        """Return what stores outcomes that people or production brought about."""
        ...
