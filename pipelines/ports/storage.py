"""Records, messages and leases: what passes through a store and a bus."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from pydantic import AwareDatetime, Field, JsonValue

from pipelines.model import Frozen

URGENT, USUAL, PATIENT = 1, 4, 8
"""Priorities: what a person waits for, what a change brings about, what a clock or sweep does."""


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
    seconds: float = 60.0
    """How long it was given for; whoever keeps it renews it for as long again."""

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

    ``settled`` messages are done and vanish; each is fenced by its lease's token. ``reminders`` are
    messages of which one is enough: where one with the same id waits, that one stays; one that is
    leased stays with its holder, and once it is settled the reminder follows.
    """

    writes: Sequence[Write] = ()
    appends: Sequence[Append] = ()
    messages: Sequence[Message] = ()
    settled: Sequence[Lease] = ()
    reminders: Sequence[Message] = ()

    @property
    def queued(self) -> Sequence[Message]:
        """All of its messages, for a store that knows of no leases: a repeat replaces."""
        return (*self.messages, *self.reminders) if self.reminders else self.messages


class Journal(Protocol):
    """The one way to change durable state: store a batch, then let its messages be claimed."""

    async def commit(self, batch: Batch) -> None:
        """Store all or nothing; Conflict, LeaseLost or NotStored mean that nothing happened."""
        ...

    async def get(self, key: str) -> Versioned | None:
        """Return the record, or None if there is none or it expired."""
        ...
