"""One task carried out by its agent from start to stop, in this process and without a runner."""

import random

from pipelines.agents import registry
from pipelines.agents.budget import MeteredModel
from pipelines.agents.context import AgentContext
from pipelines.integrations.llm.base import LanguageModel
from pipelines.model import Task, TaskResult
from pipelines.ports import Clock, Workplace
from tests.support.clock import VirtualClock


def context_of(
    task: Task, workplace: Workplace, model: LanguageModel, clock: Clock | None = None
) -> AgentContext:
    return AgentContext(
        workplace=workplace,
        model=MeteredModel(model, task.budget_usd),
        clock=clock or VirtualClock(),
        rng=random.Random(4),
    )


async def carried_out(
    task: Task, workplace: Workplace, model: LanguageModel, clock: Clock | None = None
) -> TaskResult:
    agent = registry.create(task.agent)
    await agent.start()
    result = await agent.execute_task(task, context_of(task, workplace, model, clock))
    await agent.stop()
    return result
