"""Publish and subscribe over one connection a process, which comes back by itself.

Redis keeps nothing for who is away: after every interruption listeners are told that they may have
missed something, so that they look for themselves.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pipelines.errors import NotStored
from pipelines.ports import Clock
from pipelines.redis.connection import FAULTS, RedisConnection
from pipelines.redis.failures import Moved, translated

_LOG = logging.getLogger(__name__)

SILENCE = 15.0
"""Seconds without a word after which the server is asked whether it is there."""
FIRST_PAUSE = 0.05
LONGEST_PAUSE = 5.0
"""Seconds between two attempts to connect; each pause is twice the one before."""


@dataclass(frozen=True, slots=True, eq=False)
class Ear:
    """One listener; its functions must neither wait nor raise."""

    channel: str
    heard: Callable[[bytes], None]
    missed: Callable[[], None]


class Channels:
    """Who of this process listens to which channels of one server."""

    def __init__(
        self, connection: RedisConnection, clock: Clock, *, silence: float = SILENCE
    ) -> None:
        """``clock`` measures the pauses between attempts; answers are awaited in real time."""
        self._commands = connection
        self._connection = connection.reader()
        self._clock = clock
        self._silence = silence
        self._ears: dict[str, list[Ear]] = {}
        self._joined: set[str] = set()
        """The channels of which the server said that it sends them."""
        self._line: Any = None
        """The connection to the server while there is one."""
        self._changed = asyncio.Event()
        self._trouble: NotStored | None = None
        """Why there is no line, as far as is known."""
        self._keeper: asyncio.Task[None] | None = None
        self._closed = False

    async def publish(self, channel: str, payload: bytes) -> None:
        """Send to everybody who listens now, in any process; raises NotStored."""
        await self._commands.do("PUBLISH", self._commands.key(channel), payload)

    async def listen(
        self, channel: str, heard: Callable[[bytes], None], missed: Callable[[], None]
    ) -> Ear:
        """Call ``heard`` with each payload from now on, and ``missed`` after an interruption.

        Returns once the server has confirmed it; raises NotStored if it does not in time.
        """
        ear = Ear(channel, heard, missed)
        self._ears.setdefault(channel, []).append(ear)
        try:
            async with asyncio.timeout(self._commands.timeout):
                await self._joining(channel)
        except BaseException as error:
            await self.leave(ear)
            if not isinstance(error, TimeoutError):
                raise
            raise self._trouble or self._late() from None
        return ear

    async def leave(self, ear: Ear) -> None:
        """Call this listener no more; one that left already is fine."""
        ears = self._ears.get(ear.channel, [])
        if ear not in ears:
            return
        ears.remove(ear)
        if not ears:
            del self._ears[ear.channel]
            self._joined.discard(ear.channel)
            # A line that fails here is noticed, and replaced, by the keeper.
            with contextlib.suppress(*FAULTS):
                await self._say("UNSUBSCRIBE", ear.channel)

    async def aclose(self) -> None:
        """Listen no more."""
        self._closed = True
        self._changed.set()
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
        await self._connection.aclose()

    def _late(self) -> NotStored:
        return NotStored(f"Redis at {self._commands.address} did not let us listen in time.")

    async def _joining(self, channel: str) -> None:
        """Return when the server sends this channel."""
        if self._keeper is None and not self._closed:
            self._keeper = asyncio.create_task(self._keep())
        asked: Any = None
        while channel not in self._joined:
            if self._closed:
                raise NotStored("The channels are closed.")
            self._changed.clear()
            if self._line is not None and self._line is not asked:
                asked = self._line
                with contextlib.suppress(*FAULTS):
                    await self._say("SUBSCRIBE", channel)
            else:
                await self._changed.wait()

    async def _say(self, verb: str, *channels: str) -> None:
        if self._line is not None and self._line.is_connected:
            names = map(self._commands.key, channels)
            await self._line.send_command(verb, *names, check_health=False)

    async def _keep(self) -> None:
        """Hold a line to the server until the end."""
        pause = FIRST_PAUSE
        interrupted = False
        while True:
            try:
                async with contextlib.AsyncExitStack() as stack:
                    self._line = await self._connected(stack)
                    if interrupted:
                        self._tell_all()
                    pause = FIRST_PAUSE
                    interrupted = True
                    self._trouble = None
                    await self._hear()
            except FAULTS as error:
                reason = translated(error, self._commands.address, sent=False)
                if isinstance(reason, Moved):
                    await self._connection.follow(reason)
                self._trouble = reason
                _LOG.warning("channels are interrupted: %s", reason)
            await self._clock.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    async def _connected(self, stack: contextlib.AsyncExitStack) -> Any:
        """Return a line on which every channel that somebody listens to was confirmed."""
        pool = self._connection.pool
        line = await pool.get_connection()
        stack.push_async_callback(self._drop, line)
        if wanted := tuple(self._ears):
            await line.send_command("SUBSCRIBE", *map(self._commands.key, wanted))
            for channel in wanted:
                await line.read_response()
                self._joined.add(channel)
        self._changed.set()
        return line

    async def _drop(self, line: Any) -> None:
        self._line = None
        self._joined.clear()
        self._changed.set()
        with contextlib.suppress(*FAULTS):
            await line.disconnect(nowait=True)
        await self._connection.pool.release(line)

    async def _hear(self) -> None:
        """Hand on what arrives; raises when the server falls silent."""
        asked = False
        while True:
            message = await self._line.read_response(timeout=self._silence)
            if message is not None:
                asked = False
                self._take(message)
            elif asked:
                raise TimeoutError
            else:
                asked = True
                await self._line.send_command("PING", check_health=False)

    def _take(self, message: Any) -> None:
        """Act on one message as RESP2 has them: a kind, a channel and what belongs to it."""
        match message:
            case [b"subscribe", bytes() as name, int()]:
                if (channel := self._channel(name)) in self._ears:
                    self._joined.add(channel)
                    self._changed.set()
            case [b"message", bytes() as name, bytes() as payload]:
                for ear in tuple(self._ears.get(self._channel(name), ())):
                    _told(ear.heard, payload)
            case _:
                pass  # that we left a channel, or the answer to our PING

    def _channel(self, name: bytes) -> str:
        return name.decode().removeprefix(self._commands.key(""))

    def _tell_all(self) -> None:
        for ears in tuple(self._ears.values()):
            for ear in tuple(ears):
                _told(ear.missed)


def _told(listener: Callable[..., None], *payload: bytes) -> None:
    try:
        listener(*payload)
    except Exception:  # noqa: BLE001 - one listener's mistake must not make the others deaf
        _LOG.exception("a listener failed")
