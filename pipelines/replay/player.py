"""Goes through one recorded task again, with the code as it is now and nothing from outside."""

import asyncio
import json
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TypeVar

from pydantic import JsonValue

from pipelines.agents.frames import Trouble
from pipelines.agents.notes import RESPONSE, digest_of
from pipelines.agents.remote import RemoteWorkplace
from pipelines.agents.requests import Request
from pipelines.agents.runner import LocalRunner
from pipelines.agents.unavailable import UnavailableModel
from pipelines.errors import Ambiguous, ConductorError
from pipelines.integrations.llm.base import (
    BrokenAnswer,
    LanguageModel,
    ModelRequest,
    ModelResponse,
    PromptTooLong,
)
from pipelines.integrations.llm.prices import price_table
from pipelines.integrations.llm.streaming import prompt_tokens
from pipelines.integrations.llm.tokens import estimate_tokens
from pipelines.model import Exchange, TaskResult
from pipelines.ports import Clock
from pipelines.replay.recording import Asked, Recording, Said, models_of
from pipelines.replay.recording import digest_of as question_digest

T = TypeVar("T")


class Unrecorded(ConductorError):
    """The code asks now for what it did not ask for when it was recorded."""


class _Answers:
    """Recorded answers; one that fits exactly is preferred, then the next of the same kind."""

    def __init__(self) -> None:
        self.drift: list[str] = []

    def take(self, left: list[T], kind: str, digest: str, key: Callable[[T], tuple[str, str]]) -> T:
        """Remove and return the answer to a question; raises Unrecorded if none is left for it."""
        alike = [one for one in left if key(one)[0] == kind]
        if not alike:
            self.drift.append(f"`{kind}` was asked for, and nothing was recorded that answers it")
            raise Unrecorded(f"Nothing was recorded that answers another `{kind}`.")
        exact = [one for one in alike if key(one)[1] == digest]
        if not exact:
            was = key(alike[0])[1]
            self.drift.append(
                f"`{kind}` changed ({was[:12]} → {digest[:12]}): recorded answer used anyway"
            )
        chosen = (exact or alike)[0]
        left.remove(chosen)
        return chosen


class PlayedModel(LanguageModel):
    """Says what the models said; counts tokens and dollars by the same tables as they did."""

    def __init__(self, names: Sequence[str], said: Sequence[Said], answers: _Answers) -> None:
        self.name = ",".join(names)
        self._names = tuple(names) or ("unknown",)
        self._left = list(said)
        self._answers = answers

    @property
    def left(self) -> int:
        """How many recorded answers nobody has asked for."""
        return len(self._left)

    @property
    def context_tokens(self) -> int:
        """The smallest window of the chain."""
        return min(price_table().context_tokens(name) for name in self._names)

    def estimate_tokens(self, text: str) -> int:
        """Return the estimate that every provider here uses."""
        return estimate_tokens(text)

    def worst_cost_usd(self, request: ModelRequest) -> float:
        """Return the sum over the chain."""
        size = prompt_tokens(request)
        prices, most = price_table(), request.max_output_tokens
        return sum(prices.worst_cost(name, size, most) for name in self._names)

    async def complete(self, request: ModelRequest) -> ModelResponse:
        """Return the recorded answer, or raise what was raised then."""
        said = self._answers.take(self._left, request.purpose, digest_of(request), _of_model)
        if said.response is None:
            raise _error(said.exchange)
        return RESPONSE.validate_json(json.dumps(said.response))

    async def close(self) -> None:
        """Hold nothing."""


def _of_model(said: Said) -> tuple[str, str]:
    return said.exchange.purpose, said.exchange.digest


def _of_workplace(asked: Asked) -> tuple[str, str]:
    return asked.kind, asked.digest


def _error(exchange: Exchange) -> Exception:
    trouble = Trouble.model_validate_json(json.dumps(exchange.trouble))
    match exchange.error:
        case "BrokenAnswer" if exchange.usage is not None:
            dependency = trouble.dependency or "model"
            return BrokenAnswer(trouble.message, dependency=dependency, usage=exchange.usage)
        case "Ambiguous":
            return Ambiguous(trouble.message, dependency=trouble.dependency)
        case "PromptTooLong":
            return PromptTooLong(trouble.message)
        case _:
            return trouble.error()


class PlayedClock(Clock):
    """Says what the clock said, each time in its turn; nothing takes time."""

    def __init__(self, recording: Recording) -> None:
        self._nows = [reading.now for reading in recording.readings if reading.now]
        self._seconds = [
            reading.monotonic for reading in recording.readings if reading.monotonic is not None
        ]
        self._end = recording.task.deadline
        self._now = self._at = 0

    def now(self) -> datetime:
        """The next recorded time of day, at last the last one."""
        self._now += 1
        return self._nows[min(self._now, len(self._nows)) - 1] if self._nows else self._end

    def monotonic(self) -> float:
        """The next recorded second, at last the last one."""
        self._at += 1
        return self._seconds[min(self._at, len(self._seconds)) - 1] if self._seconds else 0.0

    async def sleep(self, seconds: float) -> None:
        """Let others run."""
        await asyncio.sleep(0)


class Replayed:
    """What came of going through a recording: the result now, and what was asked otherwise."""

    def __init__(self, result: TaskResult, drift: Sequence[str]) -> None:
        self.result = result
        self.drift = tuple(drift)


async def replay(recording: Recording) -> Replayed:
    """Run the recorded task's agent on the recorded answers; touches nothing outside."""
    answers = _Answers()
    said = recording.said
    model: LanguageModel = PlayedModel(models_of(recording), said, answers)
    if said and not said[0].exchange.there:
        reason = str((said[0].exchange.trouble or {}).get("message", ""))
        model = UnavailableModel(tuple(models_of(recording)), reason)
    left = list(recording.asked)

    async def ask(request: Request) -> str:
        digest = question_digest(request)
        return _answer(answers.take(left, request.kind, digest, _of_workplace))

    runner = LocalRunner(lambda _: model, PlayedClock(recording))
    try:
        result = await runner.run(recording.task, RemoteWorkplace(ask))
    finally:
        await runner.close()
    unasked = [f"`{asked.kind}` was not asked for again" for asked in left]
    if isinstance(model, PlayedModel) and model.left:
        unasked.append(f"{model.left} recorded answers of models were not asked for again")
    return Replayed(result, (*answers.drift, *unasked))


def _answer(asked: Asked) -> str:
    if asked.trouble is not None:
        raise asked.trouble.error()
    answer: JsonValue = asked.answer
    return json.dumps(answer)
