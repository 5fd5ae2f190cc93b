"""The one HTTP client that all providers share: one pool, one TLS configuration, hard limits."""

from collections.abc import AsyncIterator
from contextvars import ContextVar
from dataclasses import dataclass

import httpx2

MIN_ANSWER_BYTES = 4 * 1024 * 1024
BYTES_PER_TOKEN = 512
"""A streamed token with its event around it is about 150 to 300 bytes."""

answer_limit: ContextVar[int] = ContextVar("answer_limit", default=MIN_ANSWER_BYTES)
"""How many bytes the answer to the current call may have; set by the call, read by the hook."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Time limits of one call, in seconds, and the size of the pool.

    ``silence`` is how long the connection may carry nothing; providers send pings while a model
    thinks, so ``total`` ends what only pings.
    """

    connect: float = 10.0
    silence: float = 90.0
    total: float = 600.0
    connections: int = 32


class UnacceptableAnswer(httpx2.TransportError):
    """The answer is larger than allowed, or encoded so that its size cannot be known."""


class _CappedStream(httpx2.AsyncByteStream):
    def __init__(self, stream: httpx2.AsyncByteStream, limit: int) -> None:
        self._stream = stream
        self._limit = limit

    async def __aiter__(self) -> AsyncIterator[bytes]:
        seen = 0
        async for chunk in self._stream:
            seen += len(chunk)
            if seen > self._limit:
                raise UnacceptableAnswer(f"the answer is larger than {self._limit} bytes")
            yield chunk

    async def aclose(self) -> None:
        await self._stream.aclose()


async def _guard(response: httpx2.Response) -> None:
    """Refuse compressed answers (none was asked for, and it may be a bomb) and cap the rest."""
    encoding = response.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("", "identity"):
        raise UnacceptableAnswer(f"the answer is encoded as {encoding[:20]!r} without being asked")
    if isinstance(response.stream, httpx2.AsyncByteStream):
        response.stream = _CappedStream(response.stream, answer_limit.get())


def new_client(limits: Limits) -> httpx2.AsyncClient:
    """Return a client for model providers.

    The standard variables (``HTTPS_PROXY``, ``NO_PROXY``, ``SSL_CERT_FILE``, ``SSL_CERT_DIR``) are
    obeyed; redirects are not followed, because a key would travel with them.
    """
    return httpx2.AsyncClient(
        headers={"accept-encoding": "identity"},
        timeout=httpx2.Timeout(
            connect=limits.connect, read=limits.silence, write=limits.silence, pool=limits.connect
        ),
        limits=httpx2.Limits(max_connections=limits.connections, keepalive_expiry=30.0),
        follow_redirects=False,
        event_hooks={"response": [_guard]},
    )
