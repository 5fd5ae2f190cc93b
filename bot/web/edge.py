"""The listener: how many connections, how long they may dawdle, how much they may send."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import cast

from aiohttp import web

_TOO_MANY = b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Address:
    """Where the server listens; port 0 lets the system choose a free one."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class Limits:
    """What one client may cost; times in seconds."""

    connections: int = 1000
    idle: float = 10.0
    """To a connection's first complete request head, and from one answer to the next head."""
    linger: float = 1.0
    """How long the rest of an unread body is drained after the answer."""
    shutdown: float = 10.0
    """How long requests in flight may take when the server stops."""


class _Refusal(asyncio.Protocol):
    """Says "busy" and hangs up."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports have the methods without being asyncio's by type.
        writing = cast("asyncio.WriteTransport", transport)
        writing.write(_TOO_MANY)
        writing.close()


@asynccontextmanager
async def serving(
    app: web.Application,
    address: Address,
    limits: Limits = Limits(),
) -> AsyncGenerator[Address]:
    """Serve the application while the context is open; yields the address really bound.

    Bodies are never decompressed: twenty 200 KB gzip bodies otherwise cost gigabytes before any
    signature is checked. ``keepalive_timeout`` also bounds a connection that never sends a
    complete request head, because aiohttp arms it when the connection opens.
    """
    runner = web.AppRunner(
        app,
        access_log=None,
        auto_decompress=False,
        handle_signals=False,
        keepalive_timeout=limits.idle,
        lingering_time=limits.linger,
        shutdown_timeout=limits.shutdown,
    )
    await runner.setup()
    manager = runner.server
    assert manager is not None

    def protocol() -> asyncio.Protocol:
        if len(manager.connections) >= limits.connections:
            return _Refusal()
        return manager()

    loop = asyncio.get_running_loop()
    try:
        server = await loop.create_server(protocol, address.host, address.port, backlog=512)
        try:
            host, port = server.sockets[0].getsockname()[:2]
            yield Address(host, port)
        finally:
            server.close()
    finally:
        await runner.cleanup()
