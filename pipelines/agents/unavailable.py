"""Stands where a model should be when none can be had."""

from pipelines.errors import ModelUnavailable
from pipelines.integrations.llm.base import LanguageModel, ModelRequest, ModelResponse


class UnavailableModel(LanguageModel):
    """Refuses every call with the reason, so that an agent can do and say what needs no model."""

    def __init__(self, chain: tuple[str, ...], reason: str) -> None:
        self.name = ",".join(chain)
        self._reason = reason

    @property
    def context_tokens(self) -> int:
        """As many as a usual model has, so that a request can be prepared."""
        return 128_000

    async def complete(self, request: ModelRequest) -> ModelResponse:
        """Raise ModelUnavailable."""
        raise ModelUnavailable(self._reason)

    def estimate_tokens(self, text: str) -> int:
        """Count every byte as a token, the upper limit of any tokenizer."""
        return len(text.encode())

    def worst_cost_usd(self, request: ModelRequest) -> float:
        """Nothing is sent, so nothing is paid."""
        return 0.0

    async def close(self) -> None:
        """Hold nothing."""
