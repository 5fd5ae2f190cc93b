"""Runs agents in this process."""

import random
from collections.abc import Callable

from pipelines.agents import registry
from pipelines.agents.budget import MeteredModel
from pipelines.agents.context import AgentContext
from pipelines.agents.notes import NotedClock
from pipelines.agents.unavailable import UnavailableModel
from pipelines.errors import UserError
from pipelines.integrations.llm.base import LanguageModel
from pipelines.model import Task, TaskResult
from pipelines.ports import AgentRunner, Clock, Notes, Tally, Workplace

ModelFactory = Callable[[tuple[str, ...]], LanguageModel]
"""From a chain of ``provider:model`` names to the model that tries them in order."""


class LocalRunner(AgentRunner):
    """One fresh agent a task; models are made once for each chain and closed with the runner.

    An agent's randomness is seeded with the identity of its task, so that the same task draws the
    same numbers wherever and whenever it is run again.
    """

    def __init__(self, models: ModelFactory, clock: Clock) -> None:
        self._factory = models
        self._clock = clock
        self._models: dict[tuple[str, ...], LanguageModel] = {}

    async def run(
        self,
        task: Task,
        workplace: Workplace,
        *,
        tally: Tally | None = None,
        notes: Notes | None = None,
    ) -> TaskResult:
        """Run the task to its end; cancelling this call cancels the agent and its model call."""
        agent = registry.create(task.agent)
        model = MeteredModel(self._model(task.models), task.budget_usd, tally, notes)
        rng = random.Random(task.id)  # noqa: S311 - reproducible, and no secret is made of it
        clock = NotedClock(self._clock, notes) if notes else self._clock
        context = AgentContext(workplace=workplace, model=model, clock=clock, rng=rng)
        await agent.start()
        try:
            return await agent.execute_task(task, context)
        finally:
            await agent.stop()

    async def close(self) -> None:
        """Close every model; agents end with the call that runs them."""
        models = list(self._models.values())
        self._models.clear()
        for model in models:
            await model.close()

    def _model(self, chain: tuple[str, ...]) -> LanguageModel:
        """Return the chain's model; one that cannot be had still lets an agent do the rest."""
        if chain not in self._models:
            try:
                self._models[chain] = self._factory(chain)
            except UserError as error:
                return UnavailableModel(chain, str(error))
        return self._models[chain]
