"""Azure's default credentials as request headers."""

import asyncio
import importlib
from collections.abc import Mapping
from typing import Any

from pipelines.errors import Retryable, UserError

_SCOPE = "https://management.azure.com/.default"


class AzureHeaders:
    """Authorises requests as Azure's own tools would; the library keeps and renews the token."""

    def __init__(self) -> None:
        try:
            library: Any = importlib.import_module("azure.identity")
        except ModuleNotFoundError as error:
            raise UserError("Azure needs `pip install 'conductor-app[azure]'`.") from error
        self._credential = library.DefaultAzureCredential()
        self._faults = importlib.import_module("azure.core.exceptions")

    async def __call__(self) -> Mapping[str, str]:
        """Return the header with a valid token."""
        try:
            token = await asyncio.to_thread(self._credential.get_token, _SCOPE)
        except self._faults.ClientAuthenticationError as error:
            raise UserError(f"There are no usable Azure credentials: {error}") from error
        except self._faults.AzureError as error:
            raise Retryable("Azure gave no token just now.", dependency="azure") from error
        return {"Authorization": f"Bearer {token.token}"}
