"""Sandbox in a container: one that nothing of the machine is mounted into, without any network."""

import json
import re
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from pipelines.errors import Retryable, UserError
from pipelines.integrations.containers.base import Sandbox
from pipelines.integrations.containers.engine import DEPENDENCY, Attached, Engine, Refused
from pipelines.integrations.containers.layout import Layout, laid_out
from pipelines.integrations.containers.profile import OWNER, WORK
from pipelines.integrations.containers.waiting import (
    CHOOSE_ME,
    FIRST,
    OWN_PROCESSES,
    SPARE_SECONDS,
    Place,
    Waiting,
)
from pipelines.model import SandboxInfo, SandboxJob, SandboxResult
from pipelines.ports import Ids, Snapshot

LABEL = "conductor.sandbox"
_IMAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/:@-]{0,254}")
_CPUS = 2
_INODES = 200_000
_COMMAND = f'{CHOOSE_ME}; exec /bin/sh -c "$0"'


@dataclass(frozen=True, slots=True)
class DockerOptions:
    """What the operator decides; a repository has no say in it but the image's name."""

    image: str | None = None
    """For jobs that name none."""
    pull: bool = False
    """Whether a missing image may be fetched from its registry."""
    runtime: str | None = None
    """``runsc`` for gVisor; None for the engine's default."""
    toolchains: tuple[Path, ...] = ()
    """Folders of the engine's machine that are seen read-only, under their own names."""


class DockerExecution:
    """Implements ``Execution``; the engine keeps the status."""

    def __init__(self, engine: Engine, id_: str, attached: Attached) -> None:
        self._engine = engine
        self._id = id_
        self.write = attached.write
        self.output = attached.output

    async def exit_code(self) -> int | None:
        """Ask the engine for the status."""
        found = await self._engine.call("GET", f"/exec/{self._id}/json")
        return found.get("ExitCode")


class DockerSandbox(Sandbox):
    """Runs each job in a container of its own, which is removed at the end whatever happened."""

    def __init__(
        self, engine: Engine, ids: Ids, info: SandboxInfo, options: DockerOptions | None = None
    ) -> None:
        self._engine = engine
        self._ids = ids
        self._info = info
        self._options = options or DockerOptions()
        self._running: set[str] = set()

    @property
    def info(self) -> SandboxInfo:
        """Level 2, or 3 under gVisor."""
        return self._info

    async def run(self, job: SandboxJob, snapshot: Snapshot) -> SandboxResult:
        """Run the job as ``Sandbox.run`` says; UserError if its image is not there."""
        layout = laid_out(snapshot, job.edits)
        image = await present(self._engine, job.image or self._options.image, self._options.pull)
        body = container(job, layout, image, self._options)
        name = f"conductor-sandbox-{self._ids()}"
        self._running.add(name)
        try:
            await self._engine.call("POST", "/containers/create", query={"name": name}, body=body)
            await self._engine.call("POST", f"/containers/{name}/start")
            return await self._inside(name, job, layout, image)
        finally:
            self._running.discard(name)
            await removed(self._engine, name)

    async def close(self) -> None:
        """Remove the containers that still run."""
        for name in list(self._running):
            await removed(self._engine, name)

    async def _inside(
        self, name: str, job: SandboxJob, layout: Layout, image: Mapping[str, Any]
    ) -> SandboxResult:
        try:
            return await self._run(name, job, layout, image)
        except Refused as error:
            # A container that was started and refuses now was ended by its own command.
            raise Retryable(f"The container ended early: {error}", dependency=DEPENDENCY) from error

    async def _run(
        self, name: str, job: SandboxJob, layout: Layout, image: Mapping[str, Any]
    ) -> SandboxResult:
        def execute(
            script: Sequence[str], stdin: bool
        ) -> AbstractAsyncContextManager[DockerExecution]:
            return self._execution(name, script, stdin=stdin)

        place = Place(execute, _COMMAND, self.info, digest(image), DEPENDENCY)
        return await Waiting(place, job).run(layout)

    @asynccontextmanager
    async def _execution(
        self, name: str, script: Sequence[str], *, stdin: bool
    ) -> AsyncGenerator[DockerExecution]:
        body = {
            "AttachStdin": stdin,
            "AttachStdout": True,
            "AttachStderr": True,
            "WorkingDir": WORK,
            "User": f"{OWNER}:{OWNER}",
            "Cmd": ["/bin/sh", "-c", *script],
        }
        made = await self._engine.call("POST", f"/containers/{name}/exec", body=body)
        async with self._engine.attached(made["Id"]) as attached:
            yield DockerExecution(self._engine, made["Id"], attached)


def container(
    job: SandboxJob, layout: Layout, image: Mapping[str, Any], options: DockerOptions
) -> dict[str, Any]:
    """Return the whole profile of a sandbox's container."""
    memory = job.memory_bytes + layout.size
    work, scratch = layout.size + job.memory_bytes // 2, job.memory_bytes // 4
    config: Mapping[str, Any] = image.get("Config") or {}
    inherited = dict(each.partition("=")[::2] for each in config.get("Env") or ())
    path = [str(folder / "bin") for folder in options.toolchains]
    environment = inherited | {
        "PATH": ":".join([*path, inherited.get("PATH") or "/usr/local/bin:/usr/bin:/bin"]),
        "HOME": "/tmp",  # noqa: S108 - the container's own
        "CI": "1",
        "CONDUCTOR_SANDBOX": "docker",
    }
    written = f"rw,nosuid,nodev,exec,mode=1777,nr_inodes={_INODES}"
    memory_backed = {
        # What an image declares as a volume would else be a writable folder of the machine.
        **dict.fromkeys(config.get("Volumes") or (), f"{written},size={scratch}"),
        "/tmp": f"{written},size={scratch}",  # noqa: S108
        WORK: f"{written},size={work}",
    }
    return {
        "Image": image["Id"],
        "Entrypoint": ["/bin/sh", "-c", FIRST],
        "Cmd": [str(int(job.timeout_seconds) + SPARE_SECONDS)],
        "User": f"{OWNER}:{OWNER}",
        "WorkingDir": WORK,
        "Hostname": "sandbox",
        "Env": [f"{name}={value}" for name, value in (environment | job.environment).items()],
        "Healthcheck": {"Test": ["NONE"]},
        "Labels": {LABEL: "1"},
        "HostConfig": {
            "NetworkMode": "none",
            "ReadonlyRootfs": True,
            "Privileged": False,
            "CapDrop": ["ALL"],
            "SecurityOpt": ["no-new-privileges"],
            "PidsLimit": job.processes + OWN_PROCESSES,
            "Memory": memory,
            "MemorySwap": memory,
            "NanoCpus": _CPUS * 10**9,
            "Ulimits": [
                {"Name": "nofile", "Soft": 1024, "Hard": 1024},
                {"Name": "core", "Soft": 0, "Hard": 0},
                {"Name": "fsize", "Soft": work, "Hard": work},
            ],
            "Tmpfs": memory_backed,
            "ShmSize": 64 << 20,
            "Binds": [f"{folder}:{folder}:ro" for folder in options.toolchains],
            "IpcMode": "private",
            "CgroupnsMode": "private",
            "LogConfig": {"Type": "none"},
            "RestartPolicy": {"Name": "no"},
            "AutoRemove": True,
            **({"Runtime": options.runtime} if options.runtime else {}),
        },
    }


async def present(engine: Engine, image: str | None, pull: bool) -> Mapping[str, Any]:
    """Return what the engine knows of an image; UserError if it is not there and may not be."""
    if not image:
        raise UserError("The Docker sandbox needs an image: name one with `image:`.")
    if not _IMAGE.fullmatch(image) or ".." in image:
        raise UserError(f"{image!r} is not the name of an image.")
    try:
        return await engine.call("GET", f"/images/{image}/json")
    except Refused as error:
        if error.status != 404:
            raise
    if not pull:
        raise UserError(
            f"The image {image!r} is not on this engine and may not be pulled; "
            f"pull it there (`docker pull {image}`) or name another one."
        )
    return await _pulled(engine, image)


async def _pulled(engine: Engine, image: str) -> Mapping[str, Any]:
    name, tag = image, ""
    if "@" not in image and ":" not in image.rpartition("/")[2]:
        tag = "latest"
    query = {"fromImage": name} | ({"tag": tag} if tag else {})
    async for line in engine.lines("/images/create", query, (), seconds=600.0):
        if problem := line.get("error"):
            raise UserError(f"The image {image!r} could not be pulled: {str(problem)[:300]}.")
    return await engine.call("GET", f"/images/{image}/json")


def digest(image: Mapping[str, Any]) -> str:
    """Return an image's name with its digest, or its id where no registry gave it one."""
    digests = image.get("RepoDigests") or ()
    return str(digests[0] if digests else image["Id"])


async def removed(engine: Engine, name: str) -> None:
    """Kill and remove a container with its volumes; nothing to do if it is gone."""
    try:
        await engine.call("DELETE", f"/containers/{name}", query={"force": "true", "v": "true"})
    except Refused as error:
        if error.status not in (404, 409):
            raise
    await _gone(engine, name)


async def swept(engine: Engine, now: datetime) -> None:
    """Remove containers that a Conductor which was killed made and never started.

    Those that were started end and remove themselves.
    """
    filters = json.dumps({"label": [LABEL], "status": ["created"]})
    query = {"all": "true", "filters": filters}
    for each in await engine.call("GET", "/containers/json", query=query):
        if now.timestamp() - float(each["Created"]) > SPARE_SECONDS:
            await removed(engine, each["Id"])


async def _gone(engine: Engine, name: str) -> None:
    try:
        await engine.call(
            "POST", f"/containers/{name}/wait", query={"condition": "removed"}, seconds=30.0
        )
    except Refused as error:
        if error.status != 404:
            raise
