"""Records all that one attempt sees: answers of its workplace, of models and of the clock."""

import hashlib
import json
from collections.abc import Sequence

from pydantic import Field, JsonValue

from pipelines.agents.frames import Trouble
from pipelines.agents.remote import RemoteWorkplace
from pipelines.agents.requests import Request
from pipelines.model import Exchange, Frozen, Note, Reading, Task, TaskResult
from pipelines.ports import Workplace
from pipelines.replay.masking import masked

MAX_BYTES = 16 * 1024 * 1024
"""Of answers in one attempt; one that saw more cannot be gone through again, and says so."""
MAX_NOTES = 20_000


class Asked(Frozen):
    """One question to the workplace and its answer, or why there was none."""

    kind: str
    digest: str
    """SHA-256 of the question."""
    answer: JsonValue = None
    trouble: Trouble | None = None


class Said(Frozen):
    """One question to a model and what came of it."""

    exchange: Exchange
    """Without the answer's text."""
    response: JsonValue = None


class Recording(Frozen):
    """All that one attempt saw, in order, and what came of it.

    ``result`` is None if it ended by an exception outside the agent. ``masked`` counts the secrets
    whose letters were replaced.
    """

    task: Task
    asked: tuple[Asked, ...] = ()
    said: tuple[Said, ...] = ()
    readings: tuple[Reading, ...] = ()
    result: TaskResult | None = None
    complete: bool = True
    masked: int = Field(default=0, ge=0)
    schema_version: int = 1


class Recorder:
    """Stands between a task and its workplace, and is told what models and clocks answer.

    It costs the memory of what it records, at most ``limit`` bytes of answers.
    """

    def __init__(self, task: Task, workplace: Workplace, *, limit: int = MAX_BYTES) -> None:
        self.workplace: Workplace = RemoteWorkplace(self._ask)
        """What the task is given in place of its own."""
        self._task = task
        self._inner = workplace
        self._limit = limit
        self.size = 0
        """Characters of the answers so far."""
        self._complete = True
        self._asked: list[Asked] = []
        self._said: list[Said] = []
        self._readings: list[Reading] = []

    def note(self, note: Note) -> None:
        """Take what a model or the clock said to the task."""
        if len(self._said) + len(self._readings) >= MAX_NOTES:
            self._complete = False
        elif isinstance(note, Reading):
            self._readings.append(note)
        elif self._fits(note.response):
            response = json.loads(note.response) if note.response else None
            exchange = note.model_copy(update={"response": ""})
            self._said.append(Said(exchange=exchange, response=response))

    def recording(self, result: TaskResult | None) -> Recording:
        """Return what was recorded, without secrets."""
        recording = Recording(
            task=self._task,
            asked=tuple(self._asked),
            said=tuple(self._said),
            readings=tuple(self._readings),
            result=result,
            complete=self._complete,
        )
        clean, count = masked(recording)
        return clean.model_copy(update={"masked": count})

    async def _ask(self, request: Request) -> str:
        asked = Asked(kind=request.kind, digest=digest_of(request))
        try:
            text = await request.answer(self._inner)
        except Exception as error:
            self._asked.append(asked.model_copy(update={"trouble": Trouble.of(error)}))
            raise
        if self._fits(text):
            self._asked.append(asked.model_copy(update={"answer": json.loads(text)}))
        return text

    def _fits(self, text: str) -> bool:
        self.size += len(text)
        self._complete = self._complete and self.size <= self._limit
        return self._complete


def digest_of(request: Request) -> str:
    """Return what names a question: equal ones have equal digests."""
    return hashlib.sha256(request.model_dump_json().encode("utf-8", "replace")).hexdigest()


def models_of(recording: Recording) -> Sequence[str]:
    """Return the chain that was asked, or what the task named if none was."""
    for said in recording.said:
        return said.exchange.model.split(",")
    return recording.task.models
