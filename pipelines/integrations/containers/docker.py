"""Docker: sandbox, image builds and a deployment target on one engine."""

from collections.abc import Iterator, Mapping
from typing import Any

from pipelines.errors import Retryable, UserError
from pipelines.integrations.containers.base import Build, Built, ContainerRuntime
from pipelines.integrations.containers.docker_sandbox import (
    DockerOptions,
    DockerSandbox,
    present,
    swept,
)
from pipelines.integrations.containers.docker_target import DockerTarget, Publication
from pipelines.integrations.containers.engine import Engine, Refused
from pipelines.integrations.containers.layout import archive, laid_out
from pipelines.integrations.containers.output import Output
from pipelines.model import (
    EnvironmentPlan,
    Release,
    ReleaseState,
    SandboxInfo,
    SandboxJob,
)
from pipelines.ports import Clock, Ids, Snapshot

GVISOR = "runsc"
_TRIAL_SECONDS = 30.0
_BUILD_MEMORY = 4 << 30


class DockerRuntime(ContainerRuntime):
    """One engine; its sandbox uses gVisor where the engine has it."""

    name = "docker"

    def __init__(
        self,
        engine: Engine,
        ids: Ids,
        clock: Clock,
        *,
        options: DockerOptions | None = None,
        publication: Publication | None = None,
    ) -> None:
        self._engine = engine
        self._ids = ids
        self._clock = clock
        self._options = options or DockerOptions()
        self._target = DockerTarget(engine, clock, publication)
        self._sandbox: DockerSandbox | None = None

    async def available(self) -> SandboxInfo:
        """Ask the engine what it is, and run something in the default image.

        An engine without a default image gives no sandbox: most jobs name none.
        """
        if not self._options.image:
            return _none("no image is set for sandboxes (CONDUCTOR_SANDBOX_IMAGE)")
        try:
            described = await self._engine.call("GET", "/info", seconds=10.0)
            await swept(self._engine, self._clock.now())
        except (Retryable, UserError) as error:
            return _none(str(error))
        info, runtime = strength(described)
        if self._options.runtime:
            runtime = self._options.runtime
        options = DockerOptions(
            image=self._options.image,
            pull=self._options.pull,
            runtime=runtime,
            toolchains=self._options.toolchains,
        )
        made = DockerSandbox(self._engine, self._ids, info, options)
        if complaint := await self._complaint(made):
            return _none(f"docker does not work: {complaint}")
        self._sandbox = made
        return info

    def sandbox(self) -> DockerSandbox:
        """Return the sandbox; UserError before ``available`` has found it usable."""
        if self._sandbox is None:
            raise UserError("Docker was not found to work here.")
        return self._sandbox

    async def build(self, build: Build, snapshot: Snapshot) -> Built:
        """Build with the engine's own builder; a failed step is in the answer, with its output."""
        layout = laid_out(snapshot, ())
        if build.dockerfile not in layout.files:
            raise UserError(f"There is no {build.dockerfile!r} to build an image from.")
        for base in build.bases:
            # The builder would fetch a missing one, from wherever its name says.
            await present(self._engine, base, pull=build.network)
        query = {
            "dockerfile": build.dockerfile,
            "t": build.tag,
            "networkmode": "default" if build.network else "none",
            "forcerm": "true",
            "memory": str(_BUILD_MEMORY),
            "memswap": str(_BUILD_MEMORY),
        }
        output = Output()
        problem = ""
        context: Iterator[bytes] = archive(layout, owner=0)
        try:
            async for line in self._engine.lines(
                "/build", query, context, seconds=build.timeout_seconds
            ):
                output.feed(str(line.get("stream") or line.get("error") or "").encode())
                problem = problem or str(line.get("error") or "")
        except Refused as error:
            return Built(ok=False, output=str(error))
        if problem:
            return Built(ok=False, output=output.text())
        image = await present(self._engine, build.tag, pull=False)
        if not build.keep:
            await self._engine.call("DELETE", f"/images/{build.tag}", query={"force": "true"})
        return Built(ok=True, image=str(image["Id"]), output=output.text())

    async def release(self, release: Release) -> ReleaseState:
        """Release as ``DockerTarget`` does."""
        return await self._target.release(release)

    async def state(self, environment: EnvironmentPlan, *, repository: str) -> ReleaseState:
        """Return what runs there now."""
        return await self._target.state(environment, repository=repository)

    async def log(self, environment: EnvironmentPlan, *, repository: str, lines: int) -> str:
        """Return the newest output of the service."""
        return await self._target.log(environment, repository=repository, lines=lines)

    async def close(self) -> None:
        """Remove sandboxes and close connections; releases go on running."""
        if self._sandbox:
            await self._sandbox.close()
        await self._engine.close()

    async def _complaint(self, sandbox: DockerSandbox) -> str:
        """Say why the sandbox does not work, or nothing if it does."""
        job = SandboxJob(command="exit 7", timeout_seconds=_TRIAL_SECONDS)
        try:
            result = await sandbox.run(job, Snapshot(sha="0" * 40, files={}))
        except (Retryable, UserError) as error:
            return str(error)
        return "" if result.exit_code == 7 else f"the trial ended with {result.exit_code}"


def _none(reason: str) -> SandboxInfo:
    return SandboxInfo(name="none", level=0, reason=reason)


def strength(described: Mapping[str, Any]) -> tuple[SandboxInfo, str | None]:
    """Return how strong the engine's sandbox is, and the runtime that makes it so."""
    missing = [
        what
        for what, there in (
            ("seccomp", any("seccomp" in str(o) for o in described.get("SecurityOptions") or ())),
            ("a memory limit", described.get("MemoryLimit")),
            ("a limit of processes", described.get("PidsLimit")),
        )
        if not there
    ]
    if missing:
        reason = f"the engine lacks {', '.join(missing)}"
        return SandboxInfo(name="docker", level=1, reason=reason), None
    if GVISOR in (described.get("Runtimes") or {}):
        return SandboxInfo(name="docker+runsc", level=3), GVISOR
    reason = "the engine has no gVisor (runsc), so containers share the machine's kernel"
    return SandboxInfo(name="docker", level=2, reason=reason), None
