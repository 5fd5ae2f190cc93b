"""A batch as the commit script takes it, and its answer as our exceptions."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from pipelines.errors import Conflict, LeaseLost
from pipelines.ports import Batch, Clock, Message

_UNIX = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)

Word = str | bytes | int


def moment(clock: Clock | None) -> str:
    """Return a test clock's time for the scripts; without one the server takes its own."""
    return "" if clock is None else str((clock.now() - _UNIX) // _MS)


def milliseconds(seconds: float) -> int:
    """Return a duration in whole milliseconds, at least one."""
    return max(1, round(seconds * 1000))


def shelf(queue: str, version: int) -> str:
    """Return where messages of a queue in this form wait; see ``lua/common.lua``."""
    return f"{max(1, version)}:{queue}"


def words(batch: Batch, bodies: Sequence[bytes], now: str, identity: str) -> list[Word]:
    """Return the arguments of ``COMMIT``; ``bodies`` are those of all that is queued."""
    parts = (batch.writes, batch.appends, batch.settled, batch.messages, batch.reminders)
    return [now, identity, *map(len, parts), *_parts(batch, bodies)]


def check(answer: Sequence[Any], batch: Batch) -> None:
    """Raise Conflict or LeaseLost if the answer says so."""
    if answer[0] == b"conflict":
        key, actual = answer[1].decode(), int(answer[2])
        expected = next(write.expect for write in batch.writes if write.key == key)
        raise Conflict(key, expected=expected or 0, actual=actual)
    if answer[0] == b"lost":
        raise LeaseLost(answer[1].decode())


def _parts(batch: Batch, bodies: Sequence[bytes]) -> Iterator[Word]:
    for write in batch.writes:
        yield write.key
        yield "" if write.expect is None else write.expect
        if write.value is None:
            yield from ("gone", b"")
        else:
            yield from ("" if write.ttl is None else milliseconds(write.ttl), write.value)
    for append in batch.appends:
        yield from (append.log, append.keep, append.item)
    for lease in batch.settled:
        yield from (lease.message.id, lease.token, lease.number)
    for message, body in zip(batch.queued, bodies, strict=True):
        yield from (message.id, shelf(message.queue, message.schema_version), message.tenant)
        yield from (message.priority, message.attempts, _due(message), body)


def _due(message: Message) -> Word:
    """When the message may be claimed, in milliseconds, rounded up."""
    if message.not_before is None:
        return ""
    return -((_UNIX - message.not_before) // _MS)
