"""What the core asks of the outside: small Protocols, and the records that pass through them."""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

from pydantic import AwareDatetime, Field, JsonValue

from pipelines.model import (
    Change,
    ChangedFiles,
    Effect,
    Frozen,
    Task,
    TaskResult,
    Trigger,
    Usage,
    WorkflowRun,
)


class Clock(Protocol):
    """Time, passed in so that a test can own it."""

    def now(self) -> datetime:
        """The wall clock, aware, in UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds that never go backwards, from an arbitrary start."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return after so many seconds of this clock."""
        ...


class Ids(Protocol):
    """A source of unique identifiers: URL-safe, sortable by creation, at most 40 characters."""

    def __call__(self) -> str:
        """Return a new one."""
        ...


Rng = random.Random
"""Randomness is passed in; nothing draws from the global generator."""


# --- reading -------------------------------------------------------------------------------------


class FileText(Frozen):
    """A file at a commit; ``text`` is None when it cannot be shown and ``reason`` says why."""

    path: str
    text: str | None
    size: int = Field(default=0, ge=0)
    reason: Literal["", "missing", "binary", "too large", "not a regular file"] = ""


class Reader(Protocol):
    """What one agent may read: one repository at the commits of one change, and nothing else."""

    async def changed_files(self) -> ChangedFiles:
        """Return every file between base and head, with patches where the source has them."""
        ...

    async def read(
        self, paths: Sequence[str], *, at: Literal["head", "base"] = "head"
    ) -> Mapping[str, FileText]:
        """Return one entry for each path asked for, in one round trip where that is possible."""
        ...


class Source(Protocol):
    """Where the truth about a repository is read: GitHub, or a local checkout."""

    async def change(self, trigger: Trigger) -> Change:
        """Read the subject of a trigger as it is now; raises Ignorable if it is gone."""
        ...

    def reader(self, change: Change) -> Reader:
        """Return a reader bound to that change's repository and commits."""
        ...


# --- writing -------------------------------------------------------------------------------------


class Receipt(Frozen):
    """What became of one effect."""

    key: str
    status: Literal["done", "found", "denied", "moved"]
    """``found``: it had been done before; ``moved``: the commit is no longer the head."""
    message: str = ""
    url: str | None = None


class CheckState(Frozen):
    """What was last reported for one step, so that only changes cost a call."""

    check_run_id: int
    digest: str
    completed: bool


class Reporter(Protocol):
    """Who tells the outside; the only port through which anything is written."""

    async def carry_out(self, run: WorkflowRun, effect: Effect, *, repeated: bool) -> Receipt:
        """Do one effect; with ``repeated`` an earlier try may have succeeded, so look first."""
        ...

    async def report(
        self,
        run: WorkflowRun,
        results: Mapping[str, TaskResult],
        last: Mapping[str, CheckState],
        *,
        repeated: bool,
    ) -> Mapping[str, CheckState]:
        """Bring what users see of each step in line with the run; return what they see now.

        ``results`` and ``last`` are by step name. Raises Parked or Retryable after a part of the
        work: what was done by then is in the exception's ``reported`` attribute.
        """
        ...


Tally = Callable[[Usage], None]
"""Told what a task has cost in all, before and after each model call; the call under way counts at
its worst case, so that what was told last holds also if the task is cut off."""


class AgentRunner(Protocol):
    """Where agents run: in this process, or in one that holds no GitHub credentials."""

    async def run(self, task: Task, reader: Reader, *, tally: Tally | None = None) -> TaskResult:
        """Run the task to its end; cancelling this call cancels the agent and its model call."""
        ...

    async def close(self) -> None:
        """Stop every agent and release what they hold."""
        ...


# --- storing and sending -------------------------------------------------------------------------


class Message(Frozen):
    """A unit of queued work; ``id`` is its identity, putting it again replaces it."""

    id: str
    queue: str
    """``deliveries``, ``agent.<name>``, ``effects``, ``reports`` or ``timers``."""
    tenant: str
    body: dict[str, JsonValue] = Field(default_factory=dict)
    not_before: AwareDatetime | None = None
    priority: int = Field(default=5, ge=0, le=9)
    """0 goes first."""
    attempts: int = Field(default=0, ge=0)
    """How often it was claimed; also the fencing token of the current lease."""
    enqueued_at: AwareDatetime
    schema_version: int = 1


@dataclass(frozen=True, slots=True)
class Lease:
    """A worker's claim on a message until ``expires_at`` on the monotonic clock."""

    message: Message
    expires_at: float
    number: int = 0
    """Given by the bus: tells this message from another that replaced it under the same id."""

    @property
    def token(self) -> int:
        """The fencing token: a later claim of the same message has a higher one."""
        return self.message.attempts


@dataclass(frozen=True, slots=True)
class Versioned:
    """A stored value and its version, which starts at 1 and grows by one a write."""

    value: bytes
    version: int


ABSENT = 0
"""As ``Write.expect``: only if there is no such record."""


@dataclass(frozen=True, slots=True)
class Write:
    """One record to put, or with ``value`` None to delete.

    ``expect`` None overwrites whatever is there; otherwise the stored version must equal it.
    ``ttl`` is in seconds from now; None keeps the record for ever.
    """

    key: str
    value: bytes | None
    expect: int | None = None
    ttl: float | None = None


@dataclass(frozen=True, slots=True)
class Append:
    """One item for the end of a log, which keeps its newest ``keep`` items."""

    log: str
    item: bytes
    keep: int = 1000


@dataclass(frozen=True, slots=True)
class Batch:
    """Everything that one transition changes: stored together or not at all.

    ``settled`` messages are done and vanish; each is fenced by its lease's token.
    """

    writes: Sequence[Write] = ()
    appends: Sequence[Append] = ()
    messages: Sequence[Message] = ()
    settled: Sequence[Lease] = ()


class Journal(Protocol):
    """The one way to change durable state: store a batch, then let its messages be claimed."""

    async def commit(self, batch: Batch) -> None:
        """Store all or nothing; Conflict, LeaseLost or NotStored mean that nothing happened."""
        ...

    async def get(self, key: str) -> Versioned | None:
        """Return the record, or None if there is none or it expired."""
        ...
