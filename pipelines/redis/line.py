"""Scripts sent one after the other over one connection, many in one go, each with a true answer.

Calls are carried out in the order in which they were made. What waits while a group is answered
makes up the next group, so that many callers share a round trip. A group whose answers were lost
on their way is sent again; each script recognises a copy of itself by the id in its arguments.
"""

import asyncio
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from redis import exceptions
from redis.asyncio.connection import AbstractConnection

from pipelines.errors import NotStored
from pipelines.redis.connection import FAULTS, RedisConnection, packed
from pipelines.redis.failures import Moved, UnknownScript, translated
from pipelines.redis.scripts import Script

Word = str | bytes | int

_GROUP_BYTES = 4 * 2**20
_GROUP_CALLS = 256
PAUSES = (0.0, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6)
"""Seconds between sending a group and sending it again. With the time for an answer they are far
below the two minutes for which the server remembers a commit."""


@dataclass(slots=True, eq=False)
class Call:
    """One script with its arguments, and its answer to come."""

    script: Script
    words: Sequence[Word]
    again_at: int | None
    """Which argument, by index, becomes ``1`` in a copy."""
    answer: asyncio.Future[Any] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )
    sent: bool = False
    """Whether the server may have had it."""
    moved: bool = False
    """Whether it was sent on to another server."""

    def size(self) -> int:
        """About how many bytes it has."""
        return sum(len(word) for word in self.words if isinstance(word, str | bytes))

    def copied(self) -> Sequence[Word]:
        """Return the arguments, marked if the server may have had them before."""
        if not self.sent or self.again_at is None:
            return self.words
        words = list(self.words)
        words[self.again_at] = "1"
        return words


class Line:
    """One connection's worth of script calls, in order."""

    def __init__(self, connection: RedisConnection, pauses: Sequence[float] = PAUSES) -> None:
        """``pauses`` are those before each further attempt, after which it gives up."""
        self._connection = connection
        self._pauses = pauses
        self._prefix = connection.key("")
        self._waiting: deque[Call] = deque()
        self._sender: asyncio.Task[None] | None = None
        self._held: AbstractConnection | None = None
        self._closed = False

    async def run(self, script: Script, words: Sequence[Word], again_at: int | None = None) -> Any:
        """Return the script's answer; a caller that is cancelled does not undo it.

        ``again_at`` is the index of the argument that tells a copy from the first sending.
        Raises NotStored: nothing was changed, or, after ``Unanswered``, that is unknown.
        """
        if self._closed:
            raise NotStored("The store is closed.")
        call = Call(script, words, again_at)
        self._waiting.append(call)
        if self._sender is None:
            self._sender = asyncio.create_task(self._send_all())
        return await asyncio.shield(call.answer)

    @property
    def busy(self) -> bool:
        """Whether an answer is awaited."""
        return self._sender is not None

    async def close(self) -> None:
        """Finish what was accepted and give the connection back."""
        self._closed = True
        if self._sender is not None:
            await asyncio.wait([self._sender])
        await self._let_go()

    async def _send_all(self) -> None:
        try:
            while self._waiting:
                await self._settle(self._group())
        finally:
            self._sender = None

    def _group(self) -> Sequence[Call]:
        group = [self._waiting.popleft()]
        size = group[0].size()
        while self._waiting and len(group) < _GROUP_CALLS:
            size += self._waiting[0].size()
            if size > _GROUP_BYTES:
                break
            group.append(self._waiting.popleft())
        return group

    async def _settle(self, group: Sequence[Call]) -> None:
        """Give every call of the group its answer or its error."""
        pauses = iter(self._pauses)
        try:
            while group := [call for call in group if not call.answer.done()]:
                try:
                    await self._exchange(group)
                except FAULTS as error:
                    await self._let_go(broken=True)
                    self._give_up(group, error, unsent=True)
                    if (pause := next(pauses, None)) is None:
                        self._give_up(group, error)
                    else:
                        await asyncio.sleep(pause)
        except Exception as error:  # noqa: BLE001 - raised again where the answers are awaited
            for call in group:
                _fail(call, error)
        except asyncio.CancelledError:
            for call in [*group, *self._waiting]:
                call.answer.cancel()
            raise

    def _give_up(self, group: Sequence[Call], error: Exception, *, unsent: bool = False) -> None:
        """Say that the server is away; with ``unsent`` only to calls that it never had."""
        for call in group:
            if not (unsent and call.sent):
                _fail(call, translated(error, self._connection.address, sent=call.sent))

    async def _exchange(self, group: Sequence[Call]) -> None:
        """Send the calls and take their answers; what still has none is to be sent again.

        Raises one of FAULTS when the connection ends before all of them have come.
        """
        connection = await self._connect()
        commands = b"".join(packed(self._command(call)) for call in group)
        fresh = [call for call in group if not call.sent]
        for call in group:
            call.sent = True
        await connection.send_packed_command(commands, check_health=False)
        missing: dict[str, Script] = {}
        moved: Moved | None = None
        for call in group:
            try:
                _succeed(call, await connection.read_response())
            except exceptions.BusyLoadingError:
                for each in fresh:
                    each.sent = False
                raise
            except exceptions.ResponseError as error:
                refusal = translated(error, self._connection.address, sent=False)
                if isinstance(refusal, UnknownScript):
                    missing[call.script.digest] = call.script
                elif isinstance(refusal, Moved) and not call.moved:
                    call.moved, moved = True, refusal
                else:
                    _fail(call, refusal)
                    continue
                call.sent = call not in fresh
        await self._mend(connection, missing.values(), moved)

    async def _mend(
        self, connection: AbstractConnection, missing: Iterable[Script], moved: Moved | None
    ) -> None:
        """Do what lets the next sending succeed."""
        for script in missing:
            await connection.send_command("SCRIPT", "LOAD", script.source)
            await connection.read_response()
        if moved is not None:
            await self._connection.follow(moved)
            await self._let_go(broken=True)

    def _command(self, call: Call) -> tuple[Word, ...]:
        return ("EVALSHA", call.script.digest, 1, self._prefix, *call.copied())

    async def _connect(self) -> AbstractConnection:
        held = self._held or await self._connection.pool.get_connection()
        self._held = held
        return held

    async def _let_go(self, *, broken: bool = False) -> None:
        held, self._held = self._held, None
        if held is None:
            return
        if broken:
            await held.disconnect(nowait=True)
        await self._connection.pool.release(held)


def _succeed(call: Call, reply: Any) -> None:
    if not call.answer.done():
        call.answer.set_result(reply)


def _fail(call: Call, error: Exception) -> None:
    if not call.answer.done():
        call.answer.set_exception(error)
