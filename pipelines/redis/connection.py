"""One way to one Redis: a bounded pool, deadlines on everything, and nothing sent twice unasked.

redis-py's own habits that would hurt are set aside here: it repeats commands after a lost
connection (a repeated XADD is a second message), its pool raises when it is empty instead of
waiting, and it asks servers for notices of their maintenance.
"""

import contextlib
from collections.abc import Callable, Generator, Sequence
from typing import Any, cast

import hiredis
from redis import exceptions
from redis.asyncio import BlockingConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.maint_notifications import MaintNotificationsConfig

from pipelines.redis.address import Address, parse
from pipelines.redis.failures import Moved, Unanswered, UnknownScript, translated
from pipelines.redis.places import Whereabouts, way
from pipelines.redis.scripts import Script

TIMEOUT = 5.0
"""Seconds for a connection to come about, and for an answer."""
CONNECTIONS = 32
"""For the commands of one process; a command that finds all busy waits, up to the timeout."""
IDLE = 30.0
"""Seconds without use after which a connection is asked whether it lives before it is used."""

Word = str | bytes | int | float

packed: Callable[[tuple[Word, ...]], bytes] = cast("Any", hiredis).pack_command
"""Returns a command as it goes over the wire; it comes described as for a tuple of one word."""

FAULTS = (exceptions.RedisError, OSError, EOFError, TimeoutError, ValueError)
"""What redis-py raises for a server that is away, refuses, or is none; ValueError for garbage."""


class RedisConnection:
    """Commands for one server, or for whichever server is the primary now."""

    def __init__(
        self,
        url: str | Address,
        *,
        tag: str = "conductor:0",
        timeout: float = TIMEOUT,
        connections: int = CONNECTIONS,
    ) -> None:
        """``tag`` begins every key, in braces: Redis Cluster keeps such keys on one node.

        Raises UserError for a URL that cannot be understood; nothing is connected to yet.
        """
        self.address = url if isinstance(url, Address) else parse(url)
        self.timeout = timeout
        self._tag = tag
        arguments = way(self.address)
        self._whereabouts: Whereabouts | None = arguments.get("whereabouts")
        self.pool: Any = BlockingConnectionPool(
            max_connections=connections,
            timeout=timeout,
            socket_timeout=timeout,
            socket_connect_timeout=timeout,
            health_check_interval=IDLE,
            retry=Retry(NoBackoff(), 0),
            protocol=2,
            driver_info=None,
            db=self.address.db,
            maint_notifications_config=MaintNotificationsConfig(enabled=False),
            **self.address.credentials.arguments,
            **arguments,
        )

    def key(self, *parts: str | int) -> str:
        """Return the key of these parts under the tag."""
        return ":".join((f"{{{self._tag}}}", *map(str, parts)))

    def reader(self) -> "RedisConnection":
        """Return the way of one reader, which keeps its connection to itself."""
        return RedisConnection(self.address, tag=self._tag, timeout=self.timeout, connections=1)

    async def ping(self) -> None:
        """Return if the server answers; raises NotStored."""
        await self.do("PING", again=True)

    async def do(self, *words: Word, again: bool = False) -> Any:
        """Return the answer to one command as it came: bytes, int, None or a list of these.

        Raises NotStored: ``Unanswered`` if it may have been carried out, else it was not. A second
        try follows only if a failover or a cluster moved our keys and so nothing was done, or,
        with ``again``, because doing it twice is harmless.
        """
        try:
            return await self._once(words)
        except Unanswered:
            if not again:
                raise
        except Moved as error:
            if not await self.follow(error):
                raise
        return await self._once(words)

    async def run(
        self, script: Script, keys: Sequence[str], args: Sequence[Word] = (), *, again: bool = False
    ) -> Any:
        """Return the answer of a Lua script, which is sent in full only to who has not got it.

        Errors and ``again`` are those of ``do``.
        """
        words = (len(keys), *keys, *args)
        try:
            return await self.do("EVALSHA", script.digest, *words, again=again)
        except UnknownScript:
            return await self.do("EVAL", script.source, *words, again=again)

    async def follow(self, moved: Moved) -> bool:
        """Let new connections look where the primary is now; False if there is nowhere to look."""
        if self._whereabouts is None or not self._whereabouts.go(moved.elsewhere):
            return False
        with contextlib.suppress(*FAULTS):
            await self.pool.disconnect(inuse_connections=False)
        return True

    @contextlib.contextmanager
    def faults(self, *, sent: bool = True) -> Generator[None]:
        """Raise NotStored for whatever redis-py raises inside; ``sent`` as in ``translated``."""
        try:
            yield
        except FAULTS as error:
            raise translated(error, self.address, sent=sent) from None

    async def aclose(self) -> None:
        """Close every connection; one that cannot say goodbye in time is dropped."""
        with contextlib.suppress(*FAULTS):
            await self.pool.aclose()

    async def _once(self, words: Sequence[Word]) -> Any:
        with self.faults(sent=False):
            connection: Any = await self.pool.get_connection()
        try:
            sent = packed(tuple(words))
            with self.faults(sent=False):
                await connection.check_health()
            with self.faults():
                await connection.send_packed_command(sent, check_health=False)
                return await connection.read_response()
        finally:
            await self.pool.release(connection)
