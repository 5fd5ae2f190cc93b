"""The lifecycle that every agent has, whatever happens inside."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import ClassVar

import pytest
from structlog.testing import capture_logs

from pipelines.agents.base import BaseAgent
from pipelines.agents.context import AgentContext
from pipelines.errors import (
    BudgetExceeded,
    Dropped,
    Ignorable,
    ModelUnavailable,
    Parked,
    Retryable,
    UserError,
)
from pipelines.integrations.llm.base import ChatMessage, ModelRequest, Part
from pipelines.model import AgentStatus, Conclusion, Task, TaskResult
from pipelines.orchestration.error_handler import Action, ErrorHandler
from tests.support.clock import EPOCH, VirtualClock
from tests.support.models import HangingModel, ScriptedModel
from tests.unit.agents.material import TreeReader, context_for, review_task

Work = Callable[[AgentContext], Awaitable[None]]

ASK = ModelRequest(
    purpose="test",
    system=(),
    messages=(ChatMessage(role="user", parts=(Part(text="hello"),)),),
    max_output_tokens=1000,
)


async def ask(context: AgentContext) -> None:
    await context.model.complete(ASK)


class Worker(BaseAgent):
    """Does what the test says and records its own status meanwhile."""

    name: ClassVar[str] = "worker"

    def __init__(self, work: Work = ask) -> None:
        super().__init__()
        self.work = work
        self.observed: list[AgentStatus] = []

    def _validate_task(self, task: Task) -> None:
        super()._validate_task(task)
        self.observed.append(self.status)
        if task.options.get("wrong"):
            raise UserError("The option `wrong` is wrong.")

    async def _execute(self, task: Task, context: AgentContext) -> TaskResult:
        self.observed.append(self.status)
        await self.work(context)
        return TaskResult(
            task_id=task.id, status="completed", conclusion=Conclusion.SUCCESS, title="Done"
        )


def a_task(**changes: object) -> Task:
    return review_task(None, **{"agent": "worker", **changes})


def a_context(model: ScriptedModel | None = None, budget_usd: float = 1.0) -> AgentContext:
    return context_for(TreeReader({}, {}), model or ScriptedModel("hi"), budget_usd)


async def run(work: Work, task: Task | None = None, context: AgentContext | None = None):
    agent = Worker(work)
    await agent.start()
    return agent, await agent.execute_task(task or a_task(), context or a_context())


async def test_an_agent_is_stopped_idle_running_completed_stopped() -> None:
    agent = Worker()
    assert agent.status is AgentStatus.STOPPED
    await agent.start()
    assert agent.status is AgentStatus.IDLE
    result = await agent.execute_task(a_task(), a_context())
    assert agent.observed == [AgentStatus.IDLE, AgentStatus.RUNNING]
    assert agent.status is AgentStatus.COMPLETED
    assert result.status == "completed"
    await agent.stop()
    assert agent.status is AgentStatus.STOPPED


async def test_an_agent_takes_another_task_after_a_failed_one() -> None:
    agent = Worker()
    await agent.start()
    await agent.execute_task(a_task(options={"wrong": True}), a_context())
    assert agent.status is AgentStatus.FAILED
    assert (await agent.execute_task(a_task(), a_context())).status == "completed"


async def test_an_agent_that_was_not_started_takes_no_task() -> None:
    with pytest.raises(RuntimeError, match="stopped"):
        await Worker().execute_task(a_task(), a_context())


async def test_a_busy_agent_takes_no_second_task() -> None:
    agent = Worker()

    async def nested(context: AgentContext) -> None:
        with pytest.raises(RuntimeError, match="running"):
            await agent.execute_task(a_task(), context)

    agent.work = nested
    await agent.start()
    assert (await agent.execute_task(a_task(), a_context())).status == "completed"


async def test_a_task_for_another_agent_fails_without_running() -> None:
    agent = Worker()
    await agent.start()
    result = await agent.execute_task(a_task(agent="review"), a_context())
    assert result.failure
    assert result.failure.kind == "user"
    assert agent.observed == []


@pytest.mark.parametrize(
    ("error", "kind", "conclusion", "retry_after"),
    [
        (Ignorable("It is closed."), "drop", Conclusion.SKIPPED, None),
        (Dropped("It is gone."), "drop", Conclusion.SKIPPED, None),
        (Retryable("It is busy.", retry_after=7.0), "retry", Conclusion.FAILURE, 7.0),
        (
            Parked("Too many.", until=EPOCH + timedelta(seconds=90), scope="x"),
            "park",
            Conclusion.FAILURE,
            90.0,
        ),
        (UserError("Mend it."), "user", Conclusion.FAILURE, None),
        (BudgetExceeded(needed_usd=2, left_usd=1), "user", Conclusion.NEUTRAL, None),
        (ModelUnavailable("No model."), "user", Conclusion.NEUTRAL, None),
        (ZeroDivisionError("secret detail"), "ours", Conclusion.FAILURE, None),
        (TimeoutError("of somebody else"), "ours", Conclusion.FAILURE, None),
    ],
    ids=lambda value: type(value).__name__,
)
async def test_each_group_of_errors_says_what_the_caller_may_do(
    error: Exception, kind: str, conclusion: Conclusion, retry_after: float | None
) -> None:
    async def fail(context: AgentContext) -> None:
        await ask(context)
        raise error

    agent, result = await run(fail)
    assert agent.status is AgentStatus.FAILED
    assert result.status == "failed"
    assert result.conclusion is conclusion
    assert result.effects == ()
    assert result.failure
    assert (result.failure.kind, result.failure.retry_after) == (kind, retry_after)
    assert "secret detail" not in result.model_dump_json()
    assert result.usage.calls == 1
    assert result.usage.cost_usd > 0


async def test_an_outage_names_whose_it_is_so_that_its_breaker_counts_and_it_ends_neutral() -> None:
    async def fail(context: AgentContext) -> None:
        raise Retryable("Overloaded.", dependency="anthropic")

    _, result = await run(fail)
    assert result.failure
    assert result.failure.dependency == "anthropic"
    handler = ErrorHandler(clock=VirtualClock(), rng=random.Random(1))
    decisions = [
        handler.decide_failure(result.failure, result.conclusion, attempts=n, now=EPOCH)
        for n in (1, 2, 3)
    ]
    assert [decision.action for decision in decisions[:2]] == [Action.RETRY, Action.RETRY]
    assert decisions[2].at is None
    assert decisions[2].conclusion is Conclusion.NEUTRAL
    assert set(handler.states()) == {"anthropic"}


async def test_an_unforeseen_exception_is_in_the_log_by_its_place_and_not_by_its_text() -> None:
    async def fail(context: AgentContext) -> None:
        raise ZeroDivisionError("words of a model")

    with capture_logs() as lines:
        await run(fail)
    fault, words = lines
    assert (fault["log_level"], fault["error"]) == ("error", "ZeroDivisionError")
    assert (fault["run_id"], fault["step"], fault["agent"]) == ("run1", "review", "worker")
    assert fault["where"][-1].startswith("test_base.py:")
    assert "words of a model" not in str(fault)
    assert (words["log_level"], words["error"]) == ("debug", "words of a model")


async def test_a_foreseen_failure_is_no_fault_in_the_log() -> None:
    async def fail(context: AgentContext) -> None:
        raise UserError("Mend it.")

    with capture_logs() as lines:
        await run(fail)
    assert lines == []


@pytest.mark.parametrize("seconds", [0.02, -60.0])
async def test_a_task_ends_at_its_deadline_and_its_model_call_with_it(seconds: float) -> None:
    model = HangingModel()
    task = a_task(deadline=VirtualClock().now() + timedelta(seconds=seconds))
    agent, result = await run(ask, task, a_context(model))
    assert result.conclusion is Conclusion.TIMED_OUT
    assert result.failure
    assert result.failure.kind == "user"
    assert agent.status is AgentStatus.FAILED
    assert model.cancelled == 1
    assert result.usage.cost_usd == pytest.approx(model.worst_cost_usd(ASK))


async def test_cancelling_passes_through_and_stops_the_model() -> None:
    model = HangingModel()
    agent = Worker()
    await agent.start()
    running = asyncio.create_task(agent.execute_task(a_task(), a_context(model)))
    await model.started.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert model.cancelled == 1
    assert agent.status is AgentStatus.FAILED
