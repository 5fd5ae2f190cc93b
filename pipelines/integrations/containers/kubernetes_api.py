"""The one place that talks to a Kubernetes API server, by the official asynchronous client."""

import importlib
import json
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path
from types import ModuleType
from typing import Any

from pipelines.errors import Retryable, UserError
from pipelines.integrations.answers import words

NAME = "kubernetes"
_TIMEOUT_SECONDS = 20.0
_APPLY = "application/apply-patch+yaml"
"""Server-side apply; JSON is YAML."""
_MANAGER = "conductor"
_MAX_WORDS = 300


class KubernetesApi:
    """Sends JSON to one cluster; credentials come from the pod or from the kubeconfig."""

    def __init__(self, context: str | None = None, kubeconfig: Path | None = None) -> None:
        """Without arguments the pod's own cluster is used, or else the kubeconfig's present one."""
        self._context = context
        self._kubeconfig = kubeconfig
        self._library = _library()
        self._client: Any = None

    async def get(self, path: str, query: Mapping[str, str] | None = None) -> Any:
        """Return an object or a list, or None if it is not there."""
        status, text = await self._call("GET", path, query, None)
        return None if status == HTTPStatus.NOT_FOUND else _read(status, text)

    async def text(self, path: str, query: Mapping[str, str] | None = None) -> str:
        """Return a log; empty if there is none."""
        status, text = await self._call("GET", path, query, None)
        return text if status == HTTPStatus.OK else ""

    async def apply(self, path: str, body: Mapping[str, Any]) -> Any:
        """Make the object be as the body says; fields that others manage are taken over."""
        query = {"fieldManager": _MANAGER, "force": "true"}
        return _read(*await self._call("PATCH", path, query, body))

    async def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            await self._client.close()

    async def _connected(self) -> Any:
        """Return the client, made at the first call, because only then credentials are needed."""
        if self._client is None:
            library, configuration = self._library, self._library.client.Configuration()
            try:
                chosen = self._context or self._kubeconfig
                if chosen is None and _in_cluster(library):
                    library.config.load_incluster_config(client_configuration=configuration)
                else:
                    await library.config.load_kube_config(
                        config_file=str(self._kubeconfig) if self._kubeconfig else None,
                        context=self._context,
                        client_configuration=configuration,
                    )
            except (library.config.ConfigException, OSError) as error:
                raise UserError(f"No Kubernetes cluster can be used here: {error}") from error
            self._client = library.client.ApiClient(configuration)
        return self._client

    async def _call(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None,
        body: Mapping[str, Any] | None,
    ) -> tuple[int, str]:
        headers = {"Accept": "application/json, */*"}
        if body is not None:
            headers["Content-Type"] = _APPLY
        client = await self._connected()
        try:
            response = await client.call_api(
                path,
                method,
                {},
                list((query or {}).items()),
                headers,
                body=body,
                auth_settings=["BearerToken"],
                _preload_content=False,
                _request_timeout=_TIMEOUT_SECONDS,
            )
            return response.status, (await response.read()).decode(errors="replace")
        except (OSError, TimeoutError, self._library.client.rest.aiohttp.ClientError) as error:
            # Both kinds of call may be repeated: what is applied has a name.
            said = f"The Kubernetes API server cannot be reached ({type(error).__name__})."
            raise Retryable(said, dependency=NAME) from error


def _read(status: int, text: str) -> Any:
    if status in (0, 409, 429) or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        raise Retryable(f"The Kubernetes API server answered {status}.", dependency=NAME)
    try:
        answer = json.loads(text) if text else None
    except ValueError as error:
        raise Retryable("The Kubernetes API server gave no JSON.", dependency=NAME) from error
    if status >= HTTPStatus.BAD_REQUEST:
        said = words(answer, "message") or text
        raise UserError(f"Kubernetes refused with status {status}: {said[:_MAX_WORDS]}")
    return answer


def _in_cluster(library: ModuleType) -> bool:
    try:
        library.config.load_incluster_config(client_configuration=library.client.Configuration())
    except library.config.ConfigException:
        return False
    return True


def _library() -> ModuleType:
    try:
        for name in ("client", "config"):
            importlib.import_module(f"kubernetes_asyncio.{name}")
        return importlib.import_module("kubernetes_asyncio")
    except ModuleNotFoundError as error:
        raise UserError("Kubernetes needs `pip install 'conductor-app[kubernetes]'`.") from error
