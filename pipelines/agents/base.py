"""The lifecycle that every agent follows (template method): an agent writes only its own part."""

import asyncio
import traceback
from abc import ABC, abstractmethod
from datetime import datetime
from pathlib import Path
from typing import ClassVar

import structlog

from pipelines.agents.context import AgentContext
from pipelines.errors import (
    BudgetExceeded,
    ConductorError,
    Dropped,
    Ignorable,
    ModelRefused,
    ModelUnavailable,
    Parked,
    Retryable,
    UserError,
)
from pipelines.model import AgentStatus, Conclusion, Failure, Task, TaskResult

_MAX_FRAMES = 12
_MAX_WORDS = 2_000
log = structlog.get_logger(__name__)


class BaseAgent(ABC):
    """One agent, working on at most one task at a time.

    ``start`` makes it IDLE; ``execute_task`` validates, is RUNNING while it works, and ends
    COMPLETED or FAILED; ``stop`` makes it STOPPED.
    """

    name: ClassVar[str]
    """As ``agent:`` in the configuration."""

    def __init__(self) -> None:
        self._status = AgentStatus.STOPPED

    @property
    def status(self) -> AgentStatus:
        """Where the agent is in its lifecycle."""
        return self._status

    async def start(self) -> None:
        """Make the agent ready for tasks."""
        self._status = AgentStatus.IDLE

    async def stop(self) -> None:
        """Release what the agent holds; it can be started again."""
        self._status = AgentStatus.STOPPED

    async def execute_task(self, task: Task, context: AgentContext) -> TaskResult:
        """Carry the task out and return what came of it, with what it cost.

        Errors of the task are in the result; cancellation passes through. RuntimeError means that
        the agent was not started or is busy.
        """
        if self._status in (AgentStatus.STOPPED, AgentStatus.RUNNING):
            raise RuntimeError(f"The {self.name} agent is {self._status} and cannot take a task.")
        try:
            result = await self._attempt(task, context)
        except BaseException:
            self._status = AgentStatus.FAILED
            raise
        completed = result.status == "completed"
        self._status = AgentStatus.COMPLETED if completed else AgentStatus.FAILED
        return result.model_copy(update={"usage": context.model.usage})

    async def _attempt(self, task: Task, context: AgentContext) -> TaskResult:
        limit = asyncio.timeout((task.deadline - context.clock.now()).total_seconds())
        try:
            self._validate_task(task)
            self._status = AgentStatus.RUNNING
            async with limit:
                return await self._execute(task, context)
        except Exception as error:  # noqa: BLE001 - whatever happens to a task is in its result
            if limit.expired():
                return _out_of_time(task)
            if not isinstance(error, ConductorError):
                log_fault(task, error)
            return _failed(task, error, context.clock.now())

    def _validate_task(self, task: Task) -> None:
        """Raise UserError if the task is not for this agent or its options make no sense."""
        if task.agent != self.name:
            raise UserError(f"A task for the agent {task.agent!r} was given to {self.name!r}.")

    @abstractmethod
    async def _execute(self, task: Task, context: AgentContext) -> TaskResult:
        """Do the agent's own work."""


def log_fault(task: Task, error: Exception) -> None:
    """Log where an unforeseen exception came from; its text may quote a model, so only at DEBUG."""
    frames = traceback.extract_tb(error.__traceback__)[-_MAX_FRAMES:]
    places = [f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames]
    bound = log.bind(run_id=task.run_id, step=task.step, agent=task.agent, attempt=task.attempt)
    bound.error("agent failed", error=type(error).__name__, where=places)
    bound.debug("agent failed, in its own words", error=str(error)[:_MAX_WORDS])


def _failed(task: Task, error: Exception, now: datetime) -> TaskResult:
    failure, conclusion = _judge(error, now)
    return TaskResult(
        task_id=task.id,
        status="failed",
        conclusion=conclusion,
        title=failure.message,
        failure=failure,
    )


def _judge(error: Exception, now: datetime) -> tuple[Failure, Conclusion]:
    """Say what the caller may do about an exception, and what users see if nobody can."""
    message = str(error)
    conclusion = Conclusion.FAILURE
    match error:
        case Ignorable() | Dropped():
            failure, conclusion = Failure(kind="drop", message=message), Conclusion.SKIPPED
        case Parked():
            wait = max(0.0, (error.until - now).total_seconds())
            failure = Failure(
                kind="park", message=message, retry_after=wait, dependency=error.scope or None
            )
        case Retryable():
            failure = Failure(
                kind="retry",
                message=message,
                retry_after=error.retry_after,
                dependency=error.dependency,
            )
        case BudgetExceeded() | ModelUnavailable() | ModelRefused():
            failure, conclusion = Failure(kind="user", message=message), Conclusion.NEUTRAL
        case UserError():
            failure = Failure(kind="user", message=message)
        case _:
            # The text of an unforeseen exception may hold anything, so only its type is shown.
            message = f"Conductor itself failed ({type(error).__name__}); its log has the details."
            failure = Failure(kind="ours", message=message)
    return failure, conclusion


def _out_of_time(task: Task) -> TaskResult:
    message = "The time for this step ran out; raise its `timeout` or make the change smaller."
    return TaskResult(
        task_id=task.id,
        status="failed",
        conclusion=Conclusion.TIMED_OUT,
        title=message,
        failure=Failure(kind="user", message=message),
    )
