"""Language models that say what a test wants; they are honest about tokens and prices."""

import asyncio
import json
from collections.abc import Callable, Sequence
from typing import Literal

from pipelines.integrations.llm.base import LanguageModel, ModelRequest, ModelResponse, ToolCall
from pipelines.model import Usage

Stop = Literal["end", "length", "refusal", "filtered", "other"]
Plain = str | tuple[str, Stop] | tuple[ToolCall, ...]
Answer = Plain | BaseException | Callable[[ModelRequest], Plain]


def findings(*items: dict[str, object]) -> str:
    """The JSON that a well-behaved model answers with."""
    return json.dumps({"findings": list(items)})


def proposal(path: str, line: int, quote: str, **changes: object) -> dict[str, object]:
    """One finding as a model proposes it."""
    return {
        "path": path,
        "side": "new",
        "line": line,
        "quote": quote,
        "severity": "high",
        "category": "correctness",
        "title": "It goes wrong",
        "explanation": "With an empty list it divides by zero.",
        "suggestion": None,
        **changes,
    }


def call(name: str, /, **arguments: object) -> ToolCall:
    """A tool call; the model that makes it gives it an id."""
    return ToolCall(id="", name=name, arguments=arguments)


class ScriptedModel(LanguageModel):
    """Gives the answers one after another; the last one again and again.

    Four characters are a token; a million tokens cost ``price`` US dollars either way.
    """

    def __init__(self, *answers: Answer, context_tokens: int = 200_000, price: float = 1.0) -> None:
        self.name = "scripted:model"
        self.requests: list[ModelRequest] = []
        self.cancelled = 0
        self.closed = False
        self._answers: Sequence[Answer] = answers or (findings(),)
        self._context_tokens = context_tokens
        self._price = price

    @property
    def context_tokens(self) -> int:
        return self._context_tokens

    @property
    def prompt(self) -> str:
        """Everything that the first request said."""
        return prompt_of(self.requests[0])

    async def complete(self, request: ModelRequest) -> ModelResponse:
        self.requests.append(request)
        answer = self._answers[min(len(self.requests), len(self._answers)) - 1]
        if isinstance(answer, BaseException):
            raise answer
        plain = answer(request) if callable(answer) else answer
        text, stop, calls = _spoken(plain, len(self.requests))
        usage = Usage(
            calls=1,
            input_tokens=self.estimate_tokens(prompt_of(request)),
            output_tokens=self.estimate_tokens(text + str(calls)),
            cost_usd=self._cost(prompt_of(request) + text),
            models=(self.name,),
        )
        return ModelResponse(text=text, stop=stop, calls=calls, usage=usage, model=self.name)

    def estimate_tokens(self, text: str) -> int:
        return len(text) // 4 + 1

    def worst_cost_usd(self, request: ModelRequest) -> float:
        return self._cost(prompt_of(request)) + request.max_output_tokens * self._price / 1e6

    async def close(self) -> None:
        self.closed = True

    def _cost(self, text: str) -> float:
        return self.estimate_tokens(text) * self._price / 1e6


class HangingModel(ScriptedModel):
    """Starts to answer and never ends; ``started`` tells when, ``cancelled`` counts."""

    def __init__(self) -> None:
        super().__init__()
        self.started = asyncio.Event()

    async def complete(self, request: ModelRequest) -> ModelResponse:
        self.requests.append(request)
        self.started.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        raise AssertionError("unreachable")


def prompt_of(request: ModelRequest) -> str:
    """All text that would be sent."""
    return "\n".join(request.texts)


def _spoken(plain: Plain, number: int) -> tuple[str, Stop | Literal["tools"], tuple[ToolCall, ...]]:
    if isinstance(plain, str):
        return plain, "end", ()
    calls = tuple(
        each.model_copy(update={"id": each.id or f"call_{number}_{place}"})
        for place, each in enumerate(plain)
        if isinstance(each, ToolCall)
    )
    if calls:
        return "", "tools", calls
    text, stop = plain
    assert isinstance(text, str)
    assert not isinstance(stop, ToolCall)
    return text, stop, ()
