"""Where the primary is now: at its address, where Sentinels say, or where a cluster sent us."""

import asyncio
from collections.abc import Iterable
from typing import Any

from redis import exceptions
from redis.asyncio import Redis
from redis.asyncio.connection import (
    AbstractConnection,
    Connection,
    SSLConnection,
    UnixDomainSocketConnection,
)
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from pipelines.redis.address import Address, place

SENTINEL_TIMEOUT = 1.0
"""Seconds for one Sentinel's answer; the next one is asked after that."""


class Whereabouts:
    """Answers before each new connection where it should lead."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._sentinels = list(address.hosts) if address.service else []
        self._sent_to: tuple[str, int] | None = None

    async def find(self) -> tuple[str, int]:
        """Return host and port of the primary; raises redis-py's ConnectionError."""
        if self._address.service:
            return await self._ask(self._address.service)
        return self._sent_to or self._address.hosts[0]

    def go(self, elsewhere: tuple[str, int] | None) -> bool:
        """Note where the server sent us; returns whether to look again could lead elsewhere."""
        if elsewhere and self._address.hosts and not self._address.service:
            host, port = elsewhere
            self._sent_to = (host or self._address.hosts[0][0], port)
        return bool(self._sent_to or self._address.service)

    def forget(self) -> None:
        """Begin at the given address again: the node that we were sent to cannot be reached."""
        self._sent_to = None

    async def _ask(self, service: str) -> tuple[str, int]:
        """Return what the first Sentinel says that knows; it is asked first from then on."""
        said: list[str] = []
        for sentinel in tuple(self._sentinels):
            try:
                found = await self._answer(*sentinel, service)
            except (exceptions.RedisError, OSError) as error:
                said.append(f"{place(*sentinel)}: {error}")
                continue
            if found:
                self._sentinels.remove(sentinel)
                self._sentinels.insert(0, sentinel)
                return found
            said.append(f"{place(*sentinel)} knows no such service")
        raise exceptions.ConnectionError(f"no Sentinel named a primary: {'; '.join(said)}")

    async def _answer(self, host: str, port: int, service: str) -> tuple[str, int] | None:
        client: Any = Redis(
            host=host,
            port=port,
            protocol=2,
            driver_info=None,
            retry=Retry(NoBackoff(), 0),
            socket_timeout=SENTINEL_TIMEOUT,
            socket_connect_timeout=SENTINEL_TIMEOUT,
            ssl=self._address.tls is not None,
            **(self._address.tls or {}),
            **self._address.sentinels.arguments,
        )
        try:
            words = ("SENTINEL", "GET-MASTER-ADDR-BY-NAME", service)
            found: Any = await client.execute_command(*words)
        finally:
            await client.aclose()
        return (_text(found[0]), int(found[1])) if found else None


class _Sending(AbstractConnection):
    """Sends as redis-py does, but so that a cancellation is never lost.

    There it is ``asyncio.wait_for``, which on Python 3.11 may return as if nobody had cancelled,
    and takes a task for every command.
    """

    async def send_packed_command(
        self, command: bytes | str | Iterable[bytes], check_health: bool = True
    ) -> None:
        if not self.is_connected:
            await self.connect_check_health(check_health=False)
        if check_health:
            await self.check_health()
        words = command.encode() if isinstance(command, str) else command
        try:
            async with asyncio.timeout(self.socket_timeout):
                await self._send_packed_command([words] if isinstance(words, bytes) else words)
        except BaseException as error:
            await self.disconnect(nowait=True)
            if isinstance(error, TimeoutError):
                raise exceptions.TimeoutError("the server takes nothing") from None
            if isinstance(error, OSError):
                raise exceptions.ConnectionError(str(error)) from error
            raise


class _Local(_Sending, UnixDomainSocketConnection):
    """A connection to a socket of this machine."""


class _Placed(_Sending, Connection):
    """A connection that asks where to go each time it is made."""

    def __init__(self, *, whereabouts: Whereabouts, **arguments: Any) -> None:
        self._whereabouts = whereabouts
        super().__init__(**arguments)  # pyright: ignore[reportUnknownMemberType]

    async def _connect(self) -> None:
        self.host, self.port = await self._whereabouts.find()
        try:
            await super()._connect()
        except BaseException:
            self._whereabouts.forget()
            raise


class _PlacedTls(_Placed, SSLConnection):
    """The same over TLS."""


async def _as_primary(connection: Any) -> None:
    """Greet a server that a Sentinel named, and leave it if it is not the primary any more."""
    await connection.on_connect()
    await connection.send_command("ROLE")
    role = await connection.read_response()
    if role[0] != b"master":
        raise exceptions.ReadOnlyError("what the Sentinels named is a replica")


def way(address: Address) -> dict[str, Any]:
    """Return the arguments by which redis-py's pool gets to an address."""
    if address.path:
        return {"connection_class": _Local, "path": address.path}
    arguments: dict[str, Any] = {"whereabouts": Whereabouts(address), "socket_keepalive": True}
    if address.service:
        arguments["redis_connect_func"] = _as_primary
    if address.tls is None:
        return {"connection_class": _Placed, **arguments}
    return {"connection_class": _PlacedTls, **arguments, **address.tls}


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value
