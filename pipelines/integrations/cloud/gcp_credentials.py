"""Google's application default credentials as request headers."""

import asyncio
import importlib
from collections.abc import Mapping
from typing import Any

from pipelines.errors import Retryable, UserError

_SCOPES = ("https://www.googleapis.com/auth/cloud-platform",)


class GoogleHeaders:
    """Authorises requests as Google's own tools would; the token is renewed when it must be."""

    def __init__(self) -> None:
        try:
            self._auth = importlib.import_module("google.auth")
            self._transport = importlib.import_module("google.auth.transport.requests")
        except ModuleNotFoundError as error:
            raise UserError("Google Cloud needs `pip install 'conductor-app[gcp]'`.") from error
        self._faults = importlib.import_module("google.auth.exceptions")
        self._credentials: Any = None
        self._lock = asyncio.Lock()

    async def __call__(self) -> Mapping[str, str]:
        """Return the header with a valid token."""
        async with self._lock:
            await asyncio.to_thread(self._renew)
            return {"Authorization": f"Bearer {self._credentials.token}"}

    def _renew(self) -> None:
        try:
            if self._credentials is None:
                self._credentials, _ = self._auth.default(scopes=_SCOPES)
            if not self._credentials.valid:
                self._credentials.refresh(self._transport.Request())
        except self._faults.GoogleAuthError as error:
            if error.retryable or isinstance(error, self._faults.TransportError):
                raise Retryable("Google gave no token just now.", dependency="gcp") from error
            raise UserError(f"There are no usable Google credentials: {error}") from error
        except (AttributeError, TypeError, ValueError) as error:
            # The library takes for granted that a file of JSON is an object with texts in it.
            raise UserError(
                "There are no usable Google credentials: the file does not hold any."
            ) from error
