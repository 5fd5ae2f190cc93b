"""Bytes to GitHub and back: one host, same-method redirects, bounded answers, bounded time."""

import asyncio
import re
import ssl
import time
import zlib
from collections.abc import Callable, Mapping
from http.cookiejar import CookieJar, DefaultCookiePolicy
from urllib.parse import SplitResult, urljoin, urlsplit

import httpx2

from bot.github.answer import Answer
from bot.github.errors import BadAnswer, ForeignAddress
from pipelines.errors import Ambiguous, Retryable

MAX_ANSWER_BYTES = 32 * 1024 * 1024
MAX_REDIRECTS = 3
DEADLINE_SECONDS = 45.0
TIMEOUT = httpx2.Timeout(connect=5.0, read=30.0, write=30.0, pool=5.0)

_REDIRECTS = frozenset({301, 302, 307, 308})
_ROUTE_PARTS = (
    (re.compile(r"/repos/[^/]+/[^/]+"), "/repos/{owner}/{repo}"),
    (re.compile(r"/collaborators/[^/]+"), "/collaborators/{login}"),
    (re.compile(r"/users/[^/]+"), "/users/{login}"),
    (re.compile(r"/compare/[^/]+"), "/compare/{range}"),
    (re.compile(r"/git/ref/.+"), "/git/ref/{ref}"),
    (re.compile(r"/(commits|git/trees|git/blobs)/[^/]+"), r"/\1/{sha}"),
    (re.compile(r"/\d+(?=/|$)"), "/{id}"),
)

OnRequest = Callable[[str, str, int, float], None]
"""Called after each exchange with method, path template, status (0: none) and seconds."""


def http_client(*, limit: int = 100, verify: ssl.SSLContext | bool = True) -> httpx2.AsyncClient:
    """Return the connection pool for GitHub; whoever asks for it closes it.

    Redirects are followed by Transport, never by it; cookies are not kept, because installations
    share it.
    """
    return httpx2.AsyncClient(
        timeout=TIMEOUT,
        follow_redirects=False,
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
        verify=verify,
        limits=httpx2.Limits(max_connections=limit, max_keepalive_connections=20),
    )


def route(url: str) -> str:
    """Return the path of a URL with names and numbers replaced, safe as a metric's label."""
    path = urlsplit(url).path
    for pattern, template in _ROUTE_PARTS:
        path = pattern.sub(template, path)
    return path


def is_write(method: str, body: bytes) -> bool:
    """Whether a request changes something; a GraphQL query is a POST that does not."""
    if body.startswith(b'{"query": "'):
        return body.startswith(b'{"query": "mutation')
    return method not in ("GET", "HEAD")


def _origin(parts: SplitResult) -> tuple[str, str, int | None]:
    default = {"https": 443, "http": 80}.get(parts.scheme)
    return parts.scheme, (parts.hostname or "").lower(), parts.port or default


class Transport:
    """Sends requests to the API's own scheme, host and port and to nowhere else."""

    def __init__(
        self,
        http: httpx2.AsyncClient,
        api_url: str,
        *,
        on_request: OnRequest | None = None,
        max_bytes: int = MAX_ANSWER_BYTES,
        deadline: float = DEADLINE_SECONDS,
    ) -> None:
        self.http = http
        self._origin = _origin(urlsplit(api_url))
        self._on_request = on_request
        self._max_bytes = max_bytes
        self._deadline = deadline

    def pin(self, url: str) -> str:
        """Return ``url`` if it belongs to the API; raises ForeignAddress otherwise."""
        try:
            parts = urlsplit(url)
            same = _origin(parts) == self._origin and parts.username is None
        except ValueError:
            same = False
        if not same:
            raise ForeignAddress(url)
        return url

    async def send(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Return GitHub's answer.

        Raises Ambiguous if a write may have been carried out although no answer arrived, Retryable
        if nothing was sent or it was only a read, ForeignAddress for another host.
        """
        seen = {self.pin(url)}
        try:
            async with asyncio.timeout(self._deadline):
                answer = await self._once(method, url, headers, body)
                while answer.status in _REDIRECTS and answer.headers.get("location"):
                    url = self._target(url, answer.headers["location"])
                    if url in seen or len(seen) > MAX_REDIRECTS:
                        raise BadAnswer("GitHub redirects in a circle; nothing was changed.")
                    seen.add(url)
                    answer = await self._once(method, url, headers, body)
                return answer
        except (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout) as error:
            raise Retryable(
                f"GitHub could not be reached ({type(error).__name__}).", dependency="github"
            ) from error
        except (httpx2.TransportError, TimeoutError) as error:
            raise _broken(method, body, error) from error

    def _target(self, url: str, location: str) -> str:
        try:
            joined = urljoin(url, location)
        except ValueError:
            raise ForeignAddress(location) from None
        return self.pin(joined)

    async def _once(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        started, status = time.monotonic(), 0
        request = self.http.build_request(method, url, headers=dict(headers), content=body)
        try:
            response = await self.http.send(request, stream=True, follow_redirects=False)
            try:
                content = await read_bounded(response, self._max_bytes)
                status = response.status_code
            finally:
                await response.aclose()
        finally:
            if self._on_request is not None:
                self._on_request(method, route(url), status, time.monotonic() - started)
        return Answer(status, {k.lower(): v for k, v in response.headers.items()}, content)


def _broken(method: str, body: bytes, error: Exception) -> Retryable:
    name = type(error).__name__
    if is_write(method, body) and method == "POST":
        return Ambiguous(
            f"The connection to GitHub broke after a write was sent ({name}); it is looked up "
            "before it is repeated.",
            dependency="github",
        )
    return Retryable(f"GitHub did not answer ({name}).", dependency="github")


async def read_bounded(response: httpx2.Response, limit: int) -> bytes:
    """Return the decoded body, never holding more than ``limit`` bytes of it.

    Only gzip is asked for, and it is inflated here so that a small answer cannot grow without end.
    """
    encoding = response.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("gzip", "identity", ""):
        raise BadAnswer(f"GitHub answered in the encoding {encoding[:20]!r}, not asked for.")
    inflate = zlib.decompressobj(16 + zlib.MAX_WBITS) if encoding == "gzip" else None
    parts, size = list[bytes](), 0
    async for raw in response.aiter_raw():
        try:
            chunk = inflate.decompress(raw, limit - size + 1) if inflate else raw
        except zlib.error as error:
            raise BadAnswer("GitHub's compressed answer is damaged.") from error
        size += len(chunk)
        if size > limit:
            raise BadAnswer(f"GitHub's answer is larger than {limit} bytes.")
        parts.append(chunk)
    return b"".join(parts)
