"""The Docker engine's HTTP interface, as far as Conductor uses it.

Spoken directly with httpx2: the calls are few, each has a timeout, a build's network can be
switched off (which the client library has no parameter for), and nothing needs to be installed.
https://docs.docker.com/reference/api/engine/
"""

import json
import os
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpcore2
import httpx2

from pipelines.errors import Retryable, UserError

DEPENDENCY = "docker"
DEFAULT_ADDRESS = "unix:///var/run/docker.sock"
CALL_SECONDS = 60.0
_FRAME_HEADER = 8
_MOST_FRAME = 1 << 24
_READ = 1 << 16


class Refused(UserError):
    """The engine refused a request; ``status`` is its HTTP status."""

    def __init__(self, message: str, *, status: int) -> None:
        super().__init__(message)
        self.status = status


def address_of(environment: Mapping[str, str]) -> str:
    """Return where the engine is, as Docker's own tools find it."""
    return environment.get("DOCKER_HOST") or DEFAULT_ADDRESS


def connect(address: str) -> httpx2.AsyncClient:
    """Return a client for ``unix://PATH``, ``tcp://HOST:PORT`` or an HTTP address.

    With any other address every call says that it is not supported; an operator may have one for
    other tools.
    """
    scheme, _, rest = address.partition("://")
    if scheme == "unix":
        transport = httpx2.AsyncHTTPTransport(uds=rest)
        return httpx2.AsyncClient(
            transport=transport, base_url="http://docker", timeout=CALL_SECONDS, trust_env=False
        )
    base = f"http://{rest}" if scheme == "tcp" else address
    return httpx2.AsyncClient(base_url=base, timeout=CALL_SECONDS, trust_env=False)


class Engine:
    """One Docker engine; raises Retryable when it does not answer and Refused when it refuses."""

    def __init__(self, client: httpx2.AsyncClient) -> None:
        self._client = client

    @classmethod
    def local(cls) -> "Engine":
        """Return the engine that ``DOCKER_HOST`` names, or this machine's."""
        return cls(connect(address_of(os.environ)))

    async def call(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: object = None,
        seconds: float = CALL_SECONDS,
    ) -> Any:
        """Send one request and return its JSON answer, or None where there is none."""
        try:
            response = await self._client.request(
                method, path, params=query, json=body, timeout=seconds
            )
        except httpx2.TransportError as error:
            raise _unreachable(error) from error
        _check(response.status_code, response.content)
        if not response.content:
            return None
        return _json(response.content)

    async def lines(
        self, path: str, query: Mapping[str, str], content: Iterable[bytes], *, seconds: float
    ) -> AsyncIterator[Mapping[str, Any]]:
        """Send a stream of bytes and yield the JSON objects that come back line by line."""
        headers = {"Content-Type": "application/x-tar"}
        try:
            async with self._client.stream(
                "POST",
                path,
                params=query,
                content=_pieces(content),
                headers=headers,
                timeout=seconds,
            ) as response:
                if response.status_code >= 300:
                    _check(response.status_code, await response.aread())
                async for line in response.aiter_lines():
                    if line.strip():
                        yield _json(line.encode())
        except httpx2.TransportError as error:
            raise _unreachable(error) from error

    async def text(self, path: str, query: Mapping[str, str], most: int) -> bytes:
        """Return the last bytes of a framed stream of output, as of a log."""
        kept = b""
        try:
            async with self._client.stream("GET", path, params=query) as response:
                if response.status_code >= 300:
                    _check(response.status_code, await response.aread())
                frames = Frames()
                async for piece in response.aiter_bytes():
                    for _, data in frames.feed(piece):
                        kept = (kept + data)[-most:]
        except httpx2.TransportError as error:
            raise _unreachable(error) from error
        return kept

    @asynccontextmanager
    async def attached(self, execution: str) -> AsyncGenerator["Attached"]:
        """Start an execution and hold its connection, which then carries its streams."""
        try:
            async with self._client.stream(
                "POST",
                f"/exec/{execution}/start",
                json={"Detach": False, "Tty": False},
                headers={"Connection": "Upgrade", "Upgrade": "tcp"},
            ) as response:
                if response.status_code != 101:
                    _check(max(response.status_code, 300), await response.aread())
                yield Attached(response.extensions["network_stream"])
        except httpx2.TransportError as error:
            raise _unreachable(error) from error

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()


class Frames:
    """Splits the engine's multiplexed stream: a byte that names the stream, a length, the data."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """Return the (stream, data) pairs that are whole by now; Retryable if they are none."""
        self._rest += data
        found: list[tuple[int, bytes]] = []
        while len(self._rest) >= _FRAME_HEADER:
            size = int.from_bytes(self._rest[4:_FRAME_HEADER], "big")
            if self._rest[0] > 2 or size > _MOST_FRAME:
                raise Retryable("The Docker engine's stream is damaged.", dependency=DEPENDENCY)
            if len(self._rest) < _FRAME_HEADER + size:
                break
            found.append((self._rest[0], self._rest[_FRAME_HEADER : _FRAME_HEADER + size]))
            self._rest = self._rest[_FRAME_HEADER + size :]
        return found


class Attached:
    """The streams of one execution in a container."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._frames = Frames()

    async def write(self, pieces: Iterable[bytes]) -> None:
        """Write to its standard input; an end of it cannot be sent, so the reader must count."""
        try:
            for piece in pieces:
                await self._stream.write(piece, timeout=CALL_SECONDS)
        except (httpcore2.NetworkError, httpcore2.TimeoutException) as error:
            raise _unreachable(error) from error

    async def output(self) -> AsyncIterator[tuple[int, bytes]]:
        """Yield (1 for standard output or 2 for error, data) until it ends."""
        while data := await self._read():
            for frame in self._frames.feed(data):
                yield frame

    async def _read(self) -> bytes:
        try:
            return await self._stream.read(_READ)
        except httpcore2.NetworkError as error:
            raise _unreachable(error) from error


async def _pieces(content: Iterable[bytes]) -> AsyncIterator[bytes]:
    for piece in content:
        yield piece


def _unreachable(error: Exception) -> Retryable:
    said = str(error) or type(error).__name__
    return Retryable(f"The Docker engine does not answer: {said}.", dependency=DEPENDENCY)


def _check(status: int, content: bytes) -> None:
    if status < 300 or status == 304:
        return
    answer: Mapping[str, Any] = _json(content) if content.startswith(b"{") else {}
    said = str(answer.get("message", "")).strip()[:500] or f"status {status}"
    if status >= 500:
        raise Retryable(f"The Docker engine failed: {said}.", dependency=DEPENDENCY)
    raise Refused(f"The Docker engine refused: {said}.", status=status)


def _json(content: bytes) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise Retryable("The Docker engine's answer is not JSON.", dependency=DEPENDENCY) from error
