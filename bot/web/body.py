"""Reading a request body without trusting its sender."""

import asyncio

from aiohttp import web

from pipelines.errors import NotStored, UserError

MAX_BODY_BYTES = 25 * 1024 * 1024
"""GitHub's own cap; it does not send larger events at all."""
READ_SECONDS = 8.0
"""GitHub hangs up after 10 seconds, so waiting longer helps nobody."""


class BodyTooLarge(UserError):
    """The body is larger than GitHub ever sends."""


class BodyReader:
    """Reads bodies chunk by chunk, within a bound on all unfinished bodies together."""

    def __init__(
        self,
        *,
        max_body: int = MAX_BODY_BYTES,
        max_buffered: int = 256 << 20,
        seconds: float = READ_SECONDS,
    ) -> None:
        self._seconds = seconds
        self._max_body = max_body
        self._max_buffered = max_buffered
        self._buffered = 0

    async def read(self, request: web.Request) -> bytes:
        """Return the body as it was sent.

        Raises BodyTooLarge above the cap, UserError when it does not arrive in time or breaks off,
        and NotStored when too much is being received at once.
        """
        if (request.content_length or 0) > self._max_body:
            raise BodyTooLarge("The body is larger than 25 MiB, which GitHub never sends.")
        chunks: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(self._seconds):
                async for chunk in request.content.iter_any():
                    size += len(chunk)
                    self._buffered += len(chunk)
                    self._check(size)
                    chunks.append(chunk)
        except TimeoutError as error:
            raise UserError("The body did not arrive in time; send it again.") from error
        except (web.RequestPayloadError, ConnectionError) as error:
            raise UserError("The body broke off; send it again.") from error
        finally:
            self._buffered -= size
        return b"".join(chunks)

    def _check(self, size: int) -> None:
        if size > self._max_body:
            raise BodyTooLarge("The body is larger than 25 MiB, which GitHub never sends.")
        if self._buffered > self._max_buffered:
            raise NotStored("Too many large deliveries at once; redeliver this one later.")
