"""Writes down what a task sees of models and of the time, so that it can be gone through again."""

import hashlib
from datetime import datetime

from pydantic import TypeAdapter

from pipelines.agents.frames import Trouble
from pipelines.agents.requests import written
from pipelines.agents.unavailable import UnavailableModel
from pipelines.integrations.llm.base import (
    BrokenAnswer,
    LanguageModel,
    ModelRequest,
    ModelResponse,
)
from pipelines.model import Exchange, Reading
from pipelines.ports import Clock, Notes

REQUEST = TypeAdapter(ModelRequest)
RESPONSE = TypeAdapter(ModelResponse)


class NotedClock(Clock):
    """A clock whose every reading is noted."""

    def __init__(self, clock: Clock, notes: Notes) -> None:
        self._clock = clock
        self._notes = notes

    def now(self) -> datetime:
        """The wall clock."""
        now = self._clock.now()
        self._notes(Reading(now=now))
        return now

    def monotonic(self) -> float:
        """The timer."""
        seconds = self._clock.monotonic()
        self._notes(Reading(monotonic=seconds))
        return seconds

    async def sleep(self, seconds: float) -> None:
        """Return after so many seconds."""
        await self._clock.sleep(seconds)


def digest_of(request: ModelRequest) -> str:
    """Return what names a request: equal ones have equal digests."""
    return hashlib.sha256(written(REQUEST, request).encode()).hexdigest()


def answered(model: LanguageModel, request: ModelRequest, response: ModelResponse) -> Exchange:
    """Return the note of a call that was answered."""
    return Exchange(
        model=model.name,
        purpose=request.purpose,
        digest=digest_of(request),
        response=written(RESPONSE, response),
    )


def failed(model: LanguageModel, request: ModelRequest, error: Exception) -> Exchange:
    """Return the note of a call that came to nothing."""
    return Exchange(
        model=model.name,
        there=not isinstance(model, UnavailableModel),
        purpose=request.purpose,
        digest=digest_of(request),
        trouble=Trouble.of(error).model_dump(mode="json"),
        error=type(error).__name__,
        usage=error.usage if isinstance(error, BrokenAnswer) else None,
    )
