"""JSON over HTTP with a vendor's service, its failures told in Conductor's own terms."""

from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Any

import httpx2

from pipelines.errors import Ambiguous, Retryable, UserError

TIMEOUT_SECONDS = 20.0
_IDEMPOTENT = ("GET", "PUT", "DELETE")
_MAX_WORDS = 300
Headers = Callable[[], Awaitable[Mapping[str, str]]]
"""Returns the headers that authorise a request, renewed when they must be."""


class Rest:
    """One service at one address; ``name`` is the dependency that its faults are counted for."""

    def __init__(self, name: str, root: str, client: httpx2.AsyncClient, headers: Headers) -> None:
        self.name = name
        self._root = root.rstrip("/")
        self._client = client
        self._headers = headers

    async def get(self, path: str, query: Mapping[str, str] | None = None) -> Any:
        """Return what is there, or None if it is not."""
        response = await self._send("GET", path, query, None)
        return None if response.status_code == HTTPStatus.NOT_FOUND else self._read(response)

    async def send(
        self, method: str, path: str, body: Any, query: Mapping[str, str] | None = None
    ) -> Any:
        """Return the answer to a write; Ambiguous if it may have been carried out unseen."""
        return self._read(await self._send(method, path, query, body))

    async def _send(
        self, method: str, path: str, query: Mapping[str, str] | None, body: Any
    ) -> httpx2.Response:
        try:
            return await self._client.request(
                method,
                f"{self._root}{path}",
                params=query,
                json=body,
                headers=await self._headers(),
                timeout=TIMEOUT_SECONDS,
                follow_redirects=False,
            )
        except httpx2.TransportError as error:
            kind = Retryable if method in _IDEMPOTENT else Ambiguous
            what = f"{self.name} could not be reached ({type(error).__name__})."
            raise kind(what, dependency=self.name) from error

    def _read(self, response: httpx2.Response) -> Any:
        status = response.status_code
        if status == HTTPStatus.TOO_MANY_REQUESTS or status >= 500:
            wait = response.headers.get("retry-after", "")
            raise Retryable(
                f"{self.name} answered {status}.",
                retry_after=float(wait) if wait.isdecimal() else None,
                dependency=self.name,
            )
        if not response.is_success:
            said = " ".join(response.text.split())[:_MAX_WORDS]
            raise UserError(f"{self.name} refused with status {status}: {said}")
        try:
            return response.json() if response.content else None
        except ValueError as error:
            raise Retryable(f"{self.name} answered with no JSON.", dependency=self.name) from error
