"""A model that refuses to start what the task could not pay for, and adds up what it cost."""

from pipelines.agents.notes import answered, failed
from pipelines.errors import Ambiguous, BudgetExceeded, ConductorError
from pipelines.integrations.llm.base import (
    BrokenAnswer,
    LanguageModel,
    ModelRequest,
    ModelResponse,
)
from pipelines.model import Usage
from pipelines.ports import Notes, Tally


class MeteredModel(LanguageModel):
    """Wraps a model for one task.

    Before each call its worst cost must fit into what is left; repairs and retries count like any
    other call. A call that broke off is charged at what it is assumed to have cost, or else at its
    worst cost, because the provider may have charged for it; one that was refused is not.
    """

    def __init__(
        self,
        model: LanguageModel,
        budget_usd: float,
        tally: Tally | None = None,
        notes: Notes | None = None,
    ) -> None:
        self.name = model.name
        self._model = model
        self._budget_usd = budget_usd
        self._usage = Usage()
        self._tally = tally
        self._notes = notes

    @property
    def usage(self) -> Usage:
        """What all calls so far cost."""
        return self._usage

    @property
    def left_usd(self) -> float:
        """What may still be spent, in US dollars; never below 0."""
        return max(0.0, self._budget_usd - self._usage.cost_usd)

    def affords(self, request: ModelRequest) -> bool:
        """Whether the call would fit into the budget even at its worst cost."""
        return self._model.worst_cost_usd(request) <= self.left_usd

    @property
    def context_tokens(self) -> int:
        """How many tokens prompt and answer may have together."""
        return self._model.context_tokens

    async def complete(self, request: ModelRequest) -> ModelResponse:
        """Return the model's answer; raises BudgetExceeded before anything is sent."""
        worst = self._model.worst_cost_usd(request)
        if worst > self.left_usd:
            raise BudgetExceeded(needed_usd=worst, left_usd=self.left_usd)
        self._tell(self._usage + Usage(calls=1, cost_usd=worst))
        try:
            response = await self._ask(request)
        except BrokenAnswer as error:
            self._usage += error.usage
            raise
        except BaseException as error:
            refused = isinstance(error, ConductorError) and not isinstance(error, Ambiguous)
            self._usage += Usage(calls=1, cost_usd=0.0 if refused else worst)
            raise
        else:
            self._usage += response.usage
            return response
        finally:
            self._tell(self._usage)

    async def _ask(self, request: ModelRequest) -> ModelResponse:
        """Ask the model, and note what came of it if somebody wants to know."""
        if self._notes is None:
            return await self._model.complete(request)
        try:
            response = await self._model.complete(request)
        except Exception as error:
            self._notes(failed(self._model, request, error))
            raise
        self._notes(answered(self._model, request, response))
        return response

    def _tell(self, usage: Usage) -> None:
        if self._tally:
            self._tally(usage)

    def estimate_tokens(self, text: str) -> int:
        """Return an upper estimate of how many tokens a text has."""
        return self._model.estimate_tokens(text)

    def worst_cost_usd(self, request: ModelRequest) -> float:
        """Return what the request costs if the answer uses every token it may."""
        return self._model.worst_cost_usd(request)

    async def close(self) -> None:
        """Do nothing: the model belongs to whoever made it."""
