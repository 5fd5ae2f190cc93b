"""Messages that were given up: kept with the reason until somebody looks at them."""

from collections.abc import Sequence
from typing import Literal

from pydantic import AwareDatetime

from pipelines.errors import Ignorable
from pipelines.model import Frozen
from pipelines.orchestration.bus.base import MessageBus
from pipelines.ports import Batch, Clock, Message, Write
from pipelines.stores.backend import StorageBackend, key

KEPT_SECONDS = 90 * 24 * 3600.0
"""How long a dead letter can be looked at and requeued."""

_PREFIX = "dead/"


class DeadLetter(Frozen):
    """A message that nobody will try again by itself, and why."""

    message: Message
    reason: str
    buried_at: AwareDatetime
    schema_version: Literal[1] = 1


def dead_key(message_id: str) -> str:
    """Where the dead letter of that message is."""
    return key("dead", message_id)


def burial(message: Message, reason: str, clock: Clock) -> Write:
    """Return the write that keeps the message; it belongs in the batch that settles it."""
    letter = DeadLetter(message=message, reason=reason, buried_at=clock.now())
    return Write(dead_key(message.id), letter.model_dump_json().encode(), ttl=KEPT_SECONDS)


class DeadLetters:
    """Reads dead letters and puts them back in their queue."""

    def __init__(self, backend: StorageBackend, bus: MessageBus, clock: Clock) -> None:
        self._backend = backend
        self._bus = bus
        self._clock = clock

    async def list(self, *, limit: int = 100, after: str = "") -> Sequence[DeadLetter]:
        """Return dead letters by message id, from the first above the id ``after``."""
        found: list[DeadLetter] = []
        start = dead_key(after) if after else ""
        async for _, record in self._backend.scan(_PREFIX, after=start):
            found.append(DeadLetter.model_validate_json(record.value))
            if len(found) == limit:
                break
        return found

    async def get(self, message_id: str) -> DeadLetter | None:
        """Return the dead letter of that message, or None."""
        record = await self._backend.get(dead_key(message_id))
        return DeadLetter.model_validate_json(record.value) if record else None

    async def requeue(self, message_id: str) -> Message:
        """Put the message back, claimable now and with no attempt counted.

        Raises Ignorable if there is no such dead letter (any more).
        """
        record = await self._backend.get(dead_key(message_id))
        if record is None:
            raise Ignorable(f"There is no dead letter {message_id!r}; it may be requeued already.")
        letter = DeadLetter.model_validate_json(record.value)
        fresh = {"attempts": 0, "not_before": None, "enqueued_at": self._clock.now()}
        message = letter.message.model_copy(update=fresh)
        removal = Write(dead_key(message_id), None, expect=record.version)
        await self._bus.commit(Batch(writes=[removal], messages=[message]))
        return message
