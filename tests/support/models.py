"""Language models that say what a test wants; they are honest about tokens and prices."""

import asyncio
import json
from collections.abc import Callable, Sequence
from typing import Literal

from pipelines.integrations.llm.base import LanguageModel, ModelRequest, ModelResponse
from pipelines.model import Usage

Stop = Literal["end", "length", "refusal", "filtered", "other"]
Answer = str | BaseException | tuple[str, Stop] | Callable[[ModelRequest], str]


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
        text, stop = answer if isinstance(answer, tuple) else (answer, "end")
        text = text if isinstance(text, str) else text(request)
        usage = Usage(
            calls=1,
            input_tokens=self.estimate_tokens(prompt_of(request)),
            output_tokens=self.estimate_tokens(text),
            cost_usd=self._cost(prompt_of(request) + text),
            models=(self.name,),
        )
        return ModelResponse(text=text, stop=stop, usage=usage, model=self.name)

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
    parts = [*request.system, *(part for turn in request.messages for part in turn.parts)]
    return "".join(part.text for part in parts)
