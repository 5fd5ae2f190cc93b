"""The one interface to a language model."""

import json
from abc import ABC, abstractmethod
from typing import Any, Literal

from pydantic import Field

from pipelines.errors import Ambiguous, UserError
from pipelines.model import Frozen, Usage


class PromptTooLong(UserError):
    """The prompt does not fit the model's context; nothing was spent."""


class BrokenAnswer(Ambiguous):
    """The call was accepted and then broke off; ``usage`` is what it is assumed to have cost."""

    def __init__(self, message: str, *, dependency: str, usage: Usage) -> None:
        super().__init__(message, dependency=dependency)
        self.usage = usage


class Part(Frozen):
    """A piece of prompt text; ``cache`` marks the end of a prefix worth caching at the provider."""

    text: str
    cache: bool = False


class Tool(Frozen):
    """Something that the model may ask for, by the provider's native tool use."""

    name: str = Field(pattern=r"^[a-z_]{1,64}$")
    description: str
    json_schema: dict[str, Any]


class ToolCall(Frozen):
    """What the model asks for; ``arguments`` is whatever it wrote, not yet validated."""

    id: str
    name: str
    arguments: dict[str, Any]
    problem: str = ""
    """Why the arguments could not be read, in a sentence; they are empty then."""


class ToolResult(Frozen):
    """The answer to one call, in the turn of the user that follows it."""

    call_id: str
    content: str
    error: bool = False
    cache: bool = False
    """As for ``Part``."""


class ChatMessage(Frozen):
    """One turn of the conversation; calls are the assistant's, results the user's."""

    role: Literal["user", "assistant"]
    parts: tuple[Part, ...] = ()
    calls: tuple[ToolCall, ...] = ()
    results: tuple[ToolResult, ...] = ()

    @property
    def text(self) -> str:
        """All parts joined."""
        return "".join(part.text for part in self.parts)

    @property
    def written(self) -> str:
        """All that a provider is sent of this turn: text, calls and results."""
        calls = (f"{call.name} {json.dumps(call.arguments)}" for call in self.calls)
        return "\n".join((*(result.content for result in self.results), self.text, *calls))


class OutputSchema(Frozen):
    """The JSON Schema that the answer must satisfy, by the provider's native structured output."""

    name: str = Field(pattern=r"^[a-z_]{1,64}$")
    json_schema: dict[str, Any]


class ModelRequest(Frozen):
    """What is asked of a model; everything that could vary is here, so it can be replayed."""

    purpose: str
    """Which agent and turn asks, e.g. ``review`` or ``review.repair``; for logs and scripts."""
    system: tuple[Part, ...]
    messages: tuple[ChatMessage, ...]
    output: OutputSchema | None = None
    tools: tuple[Tool, ...] = ()
    max_output_tokens: int = Field(default=8192, ge=1)
    temperature: float | None = Field(default=None, ge=0, le=2)

    @property
    def texts(self) -> tuple[str, ...]:
        """What the model is shown: the system's text and each turn."""
        system = "".join(part.text for part in self.system)
        return (system, *(message.written for message in self.messages))


class ModelResponse(Frozen):
    """What came back; ``stop`` says why it ended there."""

    text: str
    stop: Literal["end", "length", "refusal", "filtered", "tools", "other"]
    usage: Usage
    calls: tuple[ToolCall, ...] = ()
    """With ``stop`` ``tools``, else none: each wants a ``ToolResult`` before the model goes on."""
    model: str
    """``provider:model`` that answered."""


class LanguageModel(ABC):
    """A model behind one provider.

    ``complete`` raises ``Retryable`` for passing faults (with the provider's own wait),
    ``Parked`` never, ``UserError`` for wrong credentials or an unknown model, ``ModelUnavailable``
    when the provider cannot serve. Cancelling it closes the stream, so that spending stops.
    """

    name: str
    """``provider:model``, as configured."""

    @property
    @abstractmethod
    def context_tokens(self) -> int:
        """How many tokens prompt and answer may have together."""

    @abstractmethod
    async def complete(self, request: ModelRequest) -> ModelResponse:
        """Return the model's whole answer."""

    @abstractmethod
    def estimate_tokens(self, text: str) -> int:
        """Return an upper estimate of how many tokens a text has; cheap, no request."""

    @abstractmethod
    def worst_cost_usd(self, request: ModelRequest) -> float:
        """Return what the request costs if the answer uses every token it may; 0 if free."""

    @abstractmethod
    async def close(self) -> None:
        """Close the connections."""
