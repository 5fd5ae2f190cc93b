"""Releases as containers of one engine: the next beside the present one, which goes when it may.

There is no record but the labels of the containers themselves, and every call looks at them and
moves on what can be moved, so it does not matter who calls, how often, or who died in between.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from pipelines.errors import Retryable
from pipelines.integrations.containers.docker_sandbox import present, removed
from pipelines.integrations.containers.engine import Engine, Refused
from pipelines.integrations.target import (
    MAX_LOG_BYTES,
    DeploymentTarget,
    image_of,
    refuse_older,
)
from pipelines.model import EnvironmentPlan, Release, ReleaseState
from pipelines.ports import Clock

_LABEL = "conductor.release"
_MOST_RESTARTS = 3
STEADY_SECONDS = 5
"""How long a container without a health check of its own must run before it counts as ready."""
Phase = Literal["progressing", "ready", "failed"]
_STOP_SECONDS = 10


@dataclass(frozen=True, slots=True)
class Publication:
    """How releases are reached; the operator's decision."""

    network: str = "bridge"
    address: str = "127.0.0.1"
    """Of the engine's machine, where a free port is taken for each release."""
    pull: bool = False


@dataclass(frozen=True, slots=True)
class _Released:
    """One container of an environment, as the engine describes it."""

    name: str
    labels: Mapping[str, str]
    found: Mapping[str, Any]

    @property
    def revision(self) -> int:
        text = self.labels.get(f"{_LABEL}.revision", "0")
        return int(text) if text.isdigit() else 0

    @property
    def key(self) -> str:
        return self.labels.get(f"{_LABEL}.key", "")

    @property
    def made(self) -> str:
        return str(self.found["Created"])

    @property
    def started(self) -> bool:
        return self.found["State"]["Status"] != "created"


class DockerTarget(DeploymentTarget):
    """Runs each release as a container that the engine restarts; ``state`` retires the old ones."""

    name = "docker"

    def __init__(
        self, engine: Engine, clock: Clock, publication: Publication | None = None
    ) -> None:
        self._engine = engine
        self._clock = clock
        self._publication = publication or Publication()

    async def release(self, release: Release) -> ReleaseState:
        """Create and start the release's container unless it is there; waits for nothing."""
        containers = await self._containers(release.environment, release.repository)
        same = next((each for each in containers if each.key == release.key), None)
        if same is None and containers:
            refuse_older(release, containers[0].revision)
        name = same.name if same else await self._create(release)
        if same is None or not same.started:
            await self._start(name)
        return await self.state(release.environment, repository=release.repository)

    async def state(self, environment: EnvironmentPlan, *, repository: str) -> ReleaseState:
        """Say how the newest release is; once it is ready, remove those before it."""
        containers = await self._containers(environment, repository)
        if not containers:
            return ReleaseState(phase="absent")
        newest, *older = containers
        phase, message = _phase(newest.found, self._clock.now())
        if phase == "ready":
            for each in older:
                await self._retire(each.name)
        port = environment.port
        return ReleaseState(
            phase=phase,
            sha=newest.labels.get(f"{_LABEL}.sha"),
            revision=newest.revision,
            message=message,
            url=environment.url or self._url(newest.found, port),
            ready=int(phase == "ready"),
            wanted=1,
        )

    async def log(self, environment: EnvironmentPlan, *, repository: str, lines: int) -> str:
        """Return the newest output of the newest release."""
        containers = await self._containers(environment, repository)
        if not containers:
            return ""
        query = {"stdout": "true", "stderr": "true", "tail": str(max(1, lines))}
        path = f"/containers/{containers[0].name}/logs"
        return (await self._engine.text(path, query, MAX_LOG_BYTES)).decode(errors="ignore")

    async def close(self) -> None:
        """Close connections; what runs goes on running."""
        await self._engine.close()

    async def _containers(self, environment: EnvironmentPlan, repository: str) -> list[_Released]:
        """Return the environment's containers, the highest revision first."""
        wanted = (f"{_LABEL}.repository={repository}", f"{_LABEL}.environment={environment.name}")
        filters = json.dumps({"label": wanted})
        listed = await self._engine.call(
            "GET", "/containers/json", query={"all": "true", "filters": filters}
        )
        found: list[_Released] = []
        for each in listed:
            try:
                details = await self._engine.call("GET", f"/containers/{each['Id']}/json")
            except Refused as error:
                if error.status != 404:
                    raise
                continue
            found.append(_Released(each["Id"], details["Config"]["Labels"], details))
        return sorted(found, key=lambda one: (one.revision, one.made), reverse=True)

    async def _create(self, release: Release) -> str:
        image = await present(self._engine, image_of(release), self._publication.pull)
        # A second one that releases the same at the same time meets the same name.
        text = f"{release.repository_id}/{release.environment.name}/{release.key}"
        name = f"conductor-{hashlib.sha256(text.encode()).hexdigest()[:24]}"
        try:
            made = await self._engine.call(
                "POST",
                "/containers/create",
                query={"name": name},
                body=_container(release, image, self._publication),
            )
        except Refused as error:
            if error.status != 409:
                raise
            return name
        return str(made["Id"])

    async def _start(self, name: str) -> None:
        try:
            await self._engine.call("POST", f"/containers/{name}/start")
        except (Refused, Retryable):
            found = await self._engine.call("GET", f"/containers/{name}/json")
            # A start that the runtime refused is this release's failure, which its state tells.
            if not found["State"].get("Error"):
                raise

    async def _retire(self, name: str) -> None:
        query = {"t": str(_STOP_SECONDS)}
        try:
            await self._engine.call("POST", f"/containers/{name}/stop", query=query)
        except Refused as error:
            if error.status != 404:
                raise
        await removed(self._engine, name)

    def _url(self, found: Mapping[str, Any], port: int | None) -> str | None:
        ports: Mapping[str, Any] = found["NetworkSettings"].get("Ports") or {}
        bound: Sequence[Mapping[str, str]] = ports.get(f"{port}/tcp") or ()
        return f"http://{self._publication.address}:{bound[0]['HostPort']}" if bound else None


def _phase(found: Mapping[str, Any], now: datetime) -> tuple[Phase, str]:
    state: Mapping[str, Any] = found["State"]
    checked: Mapping[str, str] = state.get("Health") or {}
    health = checked.get("Status", "none")
    restarts = int(found.get("RestartCount", 0))
    if state.get("Error"):
        return "failed", str(state["Error"])[:500]
    if state["Status"] in ("exited", "dead") or restarts >= _MOST_RESTARTS:
        return "failed", f"It ended with status {state.get('ExitCode')}, {restarts} restarts."
    if health == "unhealthy":
        return "failed", "Its health check fails."
    if state["Status"] == "running" and health == "healthy":
        return "ready", ""
    if state["Status"] == "running" and health == "none":
        # The engine's times have nanoseconds, which no datetime holds.
        started = datetime.fromisoformat(str(state["StartedAt"])[:19]).replace(tzinfo=UTC)
        if (now - started).total_seconds() >= STEADY_SECONDS:
            return "ready", ""
    return "progressing", f"{state['Status']}, health check {health}"


def _container(
    release: Release, image: Mapping[str, Any], publication: Publication
) -> dict[str, Any]:
    environment = release.environment
    body: dict[str, Any] = {
        "Image": image["Id"],
        "Env": [f"PORT={environment.port}"] if environment.port else [],
        "Labels": {
            f"{_LABEL}.repository": release.repository,
            f"{_LABEL}.repository_id": str(release.repository_id),
            f"{_LABEL}.environment": environment.name,
            f"{_LABEL}.sha": release.sha,
            f"{_LABEL}.revision": str(release.revision),
            f"{_LABEL}.key": release.key,
        },
        "HostConfig": {
            "NetworkMode": publication.network,
            "SecurityOpt": ["no-new-privileges"],
            "RestartPolicy": {"Name": "unless-stopped"},
            "LogConfig": {"Type": "json-file", "Config": {"max-size": "10m", "max-file": "2"}},
        },
    }
    if environment.command:
        body["Cmd"] = list(environment.command)
    if environment.port:
        name = f"{environment.port}/tcp"
        body["ExposedPorts"] = {name: {}}
        body["HostConfig"]["PortBindings"] = {name: [{"HostIp": publication.address}]}
    return body
