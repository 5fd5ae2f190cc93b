"""What the agent process and its parent say to each other: JSON frames with a length in front."""

import asyncio
import struct
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import AwareDatetime, Field, TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError

from pipelines.agents.requests import Request, mended
from pipelines.errors import (
    BudgetExceeded,
    ConductorError,
    Dropped,
    Ignorable,
    LeaseLost,
    ModelUnavailable,
    Parked,
    Retryable,
    UserError,
)
from pipelines.integrations.llm.chain import CallRecord
from pipelines.model import Frozen, Note, Task, TaskResult, Usage

MAX_FRAME_BYTES = 32 * 1024 * 1024
_HEADER = struct.Struct(">I")


class BrokenProtocol(Exception):
    """The other side sent what no frame may be."""


class FrameTooLarge(Exception):
    """What should be sent does not fit into a frame."""

    def __init__(self, size: int) -> None:
        super().__init__(f"{size} bytes do not fit into a frame of {MAX_FRAME_BYTES}")
        self.size = size


TroubleKind = Literal[
    "ignorable", "lease_lost", "retryable", "parked", "dropped", "unavailable", "user", "ours"
]
_KINDS: tuple[tuple[type[ConductorError], TroubleKind], ...] = (
    (LeaseLost, "lease_lost"),
    (Retryable, "retryable"),
    (Parked, "parked"),
    (Ignorable, "ignorable"),
    (Dropped, "dropped"),
    (ModelUnavailable, "unavailable"),
    (BudgetExceeded, "unavailable"),
    (UserError, "user"),
)
_PLAIN: Mapping[str, type[ConductorError]] = {
    "ignorable": Ignorable,
    "dropped": Dropped,
    "unavailable": ModelUnavailable,
    "user": UserError,
}


class Trouble(Frozen):
    """An exception on its way through the pipe, as far as it matters to the other side."""

    kind: TroubleKind
    message: str
    retry_after: float | None = None
    dependency: str | None = None
    until: AwareDatetime | None = None
    scope: str = ""
    lost: str = ""
    """What the lease was on."""

    @classmethod
    def of(cls, error: Exception) -> "Trouble":
        """Describe an exception; text of our own faults stays here, their type goes."""
        kind: TroubleKind = "ours"
        for known, name in _KINDS:
            if isinstance(error, known):
                kind = name
                break
        passing = error if isinstance(error, Retryable) else None
        parked = error if isinstance(error, Parked) else None
        return cls(
            kind=kind,
            message=type(error).__name__ if kind == "ours" else str(error),
            retry_after=passing.retry_after if passing else None,
            dependency=passing.dependency if passing else None,
            until=parked.until if parked else None,
            scope=parked.scope if parked else "",
            lost=error.message_id if isinstance(error, LeaseLost) else "",
        )

    def error(self) -> Exception:
        """Return the exception that says the same on this side."""
        if self.kind == "lease_lost":
            return LeaseLost(self.lost)
        if self.kind == "retryable":
            return Retryable(self.message, retry_after=self.retry_after, dependency=self.dependency)
        if self.kind == "parked" and self.until is not None:
            return Parked(self.message, until=self.until, scope=self.scope)
        plain = _PLAIN.get(self.kind)
        return plain(self.message) if plain else RuntimeError(self.message)


# --- parent to child -----------------------------------------------------------------------------


class Run(Frozen):
    """Start a task; ``id`` names it until it is done."""

    kind: Literal["run"] = "run"
    id: int = Field(ge=1)
    task: Task
    noted: bool = False
    """Whether somebody wants to know what it sees of models and of the time."""


class Cancel(Frozen):
    """Stop a task; nothing more is expected from it."""

    kind: Literal["cancel"] = "cancel"
    id: int


class Reply(Frozen):
    """What came of an ``Ask``: the answer as JSON text, or what went wrong."""

    kind: Literal["reply"] = "reply"
    call: int
    answer: str = "null"
    trouble: Trouble | None = None


ToChild = Annotated[Run | Cancel | Reply, Field(discriminator="kind")]

# --- child to parent -----------------------------------------------------------------------------


class Ask(Frozen):
    """A task wants something of its workplace; ``call`` names the question until its reply."""

    kind: Literal["ask"] = "ask"
    id: int
    call: int
    request: Request


class Withdraw(Frozen):
    """Nobody waits for the reply to this question any more; what goes on for it shall end."""

    kind: Literal["withdraw"] = "withdraw"
    id: int
    call: int


class Done(Frozen):
    """A task ended: with a result, or with an exception outside the agent."""

    kind: Literal["done"] = "done"
    id: int
    result: TaskResult | None = None
    trouble: Trouble | None = None


class Called(Frozen):
    """A model was called."""

    kind: Literal["called"] = "called"
    record: CallRecord


class Spent(Frozen):
    """What a task has cost in all, the model call under way at its worst case."""

    kind: Literal["spent"] = "spent"
    id: int
    usage: Usage


class Noted(Frozen):
    """What a task saw of a model or of the time."""

    kind: Literal["noted"] = "noted"
    id: int
    note: Note


ToParent = Annotated[Ask | Withdraw | Done | Called | Spent | Noted, Field(discriminator="kind")]

FROM_PARENT: TypeAdapter[ToChild] = TypeAdapter(ToChild)
FROM_CHILD: TypeAdapter[ToParent] = TypeAdapter(ToParent)


def encode(message: Frozen) -> bytes:
    """Return the frame of a message; raises FrameTooLarge."""
    try:
        text = message.model_dump_json(by_alias=True)
    except PydanticSerializationError:
        text = mended(message.model_dump(mode="json", by_alias=True))
    body = text.encode()
    if len(body) > MAX_FRAME_BYTES:
        raise FrameTooLarge(len(body))
    return _HEADER.pack(len(body)) + body


async def read_frame(stream: asyncio.StreamReader) -> bytes | None:
    """Return the next frame's body, None at the end; raises BrokenProtocol for a wrong one."""
    try:
        header = await stream.readexactly(_HEADER.size)
        (size,) = _HEADER.unpack(header)
        if size > MAX_FRAME_BYTES:
            raise BrokenProtocol(f"a frame of {size} bytes was announced")
        return await stream.readexactly(size)
    except asyncio.IncompleteReadError as error:
        if error.partial or error.expected != _HEADER.size:
            raise BrokenProtocol("the stream ended inside a frame") from error
        return None


def decode_from_child(body: bytes) -> ToParent:
    """Validate strictly what a process that reads strangers' text has sent."""
    try:
        return FROM_CHILD.validate_json(body, strict=True)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise BrokenProtocol(f"a frame is wrong at {where!r}: {first['type']}") from error
