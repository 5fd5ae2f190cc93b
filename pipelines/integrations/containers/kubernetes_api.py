"""The one place that talks to a Kubernetes API server, by the official asynchronous client."""

import asyncio
import importlib
import json
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from http import HTTPStatus
from pathlib import Path
from types import ModuleType
from typing import Any

from pipelines.errors import Retryable, UserError
from pipelines.integrations.answers import count, objects, words

NAME = "kubernetes"
_TIMEOUT_SECONDS = 20.0
_APPLY = "application/apply-patch+yaml"
"""Server-side apply; JSON is YAML."""
_MANAGER = "conductor"
_MAX_WORDS = 300
_HEARTBEAT_SECONDS = 30.0
"""Keeps what is between here and the cluster from closing a connection on which nothing is said."""
_STDIN, _STDOUT, _STDERR, _STATUS = range(4)
"""Channels of an execution's connection: the first byte of each message."""


class KubernetesApi:
    """Sends JSON to one cluster; credentials come from the pod or from the kubeconfig."""

    def __init__(self, context: str | None = None, kubeconfig: Path | None = None) -> None:
        """Without arguments the pod's own cluster is used, or else the kubeconfig's present one."""
        self._context = context
        self._kubeconfig = kubeconfig
        self._library = _library()
        self._client: Any = None
        self._sockets: Any = None

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

    async def create(self, path: str, body: Mapping[str, Any]) -> Any:
        """Make an object whose name nobody else uses."""
        return _read(*await self._call("POST", path, None, body))

    async def delete(self, path: str) -> None:
        """Delete an object and what belongs to it; nothing to do if it is gone."""
        status, text = await self._call("DELETE", path, {"propagationPolicy": "Background"}, None)
        if status != HTTPStatus.NOT_FOUND:
            _read(status, text)

    @asynccontextmanager
    async def execution(
        self, pod: str, command: Sequence[str], *, stdin: bool
    ) -> AsyncGenerator["KubernetesExecution"]:
        """Start a program in the only container of the pod whose path is given."""
        query = [("command", word) for word in command]
        query += [("stdout", "true"), ("stderr", "true"), ("stdin", str(stdin).lower())]
        await self._connected()
        try:
            async with asyncio.timeout(_TIMEOUT_SECONDS):
                opening = await self._sockets.call_api(
                    f"{pod}/exec",
                    "GET",
                    {},
                    query,
                    {},
                    auth_settings=["BearerToken"],
                    _preload_content=False,
                )
                socket = await opening
        except self._troubles as error:
            said = f"A container cannot be reached by Kubernetes ({error})."
            raise Retryable(said[:_MAX_WORDS], dependency=NAME) from error
        try:
            yield KubernetesExecution(socket, self._troubles)
        finally:
            await socket.close()

    async def close(self) -> None:
        """Close the connections."""
        for client in (self._client, self._sockets):
            if client is not None:
                await client.close()

    @property
    def _troubles(self) -> tuple[type[Exception], ...]:
        return OSError, TimeoutError, self._library.client.rest.aiohttp.ClientError

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
            self._sockets = library.stream.WsApiClient(configuration, heartbeat=_HEARTBEAT_SECONDS)
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
            headers["Content-Type"] = _APPLY if method == "PATCH" else "application/json"
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
        except self._troubles as error:
            # Every call may be repeated: what is made has a name.
            said = f"The Kubernetes API server cannot be reached ({type(error).__name__})."
            raise Retryable(said, dependency=NAME) from error


class KubernetesExecution:
    """One program in a container, with its streams."""

    def __init__(self, socket: Any, troubles: tuple[type[Exception], ...]) -> None:
        self._socket = socket
        self._troubles = troubles
        self._status: Any = None

    async def write(self, pieces: Iterable[bytes]) -> None:
        """Write to its standard input; an end of it cannot be sent, so the reader must count."""
        try:
            for piece in pieces:
                async with asyncio.timeout(_TIMEOUT_SECONDS):
                    await self._socket.send_bytes(bytes([_STDIN]) + piece)
        except self._troubles as error:
            raise Retryable("A container stopped listening.", dependency=NAME) from error

    async def output(self) -> AsyncIterator[tuple[int, bytes]]:
        """Yield (1 for standard output or 2 for error, data) until it ends."""
        async for message in self._socket:
            data = message.data.encode() if isinstance(message.data, str) else message.data
            channel, rest = data[:1], bytes(data[1:])
            if channel == bytes([_STATUS]):
                self._status = _status(rest)
            elif rest and channel in (bytes([_STDOUT]), bytes([_STDERR])):
                yield channel[0], rest

    async def exit_code(self) -> int | None:
        """Return what the cluster said at the end; Retryable if it said nothing."""
        if self._status is None:
            raise Retryable("A container's connection broke.", dependency=NAME)
        if words(self._status, "status") == "Success":
            return 0
        for cause in objects(self._status, "details", "causes"):
            if words(cause, "reason") == "ExitCode":
                return count(cause, "message")
        said = words(self._status, "message")[:_MAX_WORDS]
        raise Retryable(f"Kubernetes lost a program in a container: {said}", dependency=NAME)


def _status(data: bytes) -> Any:
    try:
        return json.loads(data)
    except ValueError:
        return {}


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
        for name in ("client", "config", "stream"):
            importlib.import_module(f"kubernetes_asyncio.{name}")
        return importlib.import_module("kubernetes_asyncio")
    except ModuleNotFoundError as error:
        raise UserError("Kubernetes needs `pip install 'conductor-app[kubernetes]'`.") from error
