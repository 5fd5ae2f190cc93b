"""Containers without an engine: scripted sandboxes, and releases that are kept in memory."""

from collections.abc import Callable
from typing import Literal

from pipelines.integrations.containers.base import Build, Built, ContainerRuntime, Sandbox
from pipelines.integrations.containers.layout import Layout, laid_out
from pipelines.integrations.target import newest, refuse_older
from pipelines.model import (
    EnvironmentPlan,
    Release,
    ReleaseState,
    SandboxInfo,
    SandboxJob,
    SandboxResult,
)
from pipelines.ports import Snapshot

Answer = Callable[[SandboxJob, Layout], SandboxResult]


class MockSandbox(Sandbox):
    """Answers each job by a function, which passes everything unless another is given."""

    def __init__(self, answer: Answer | None = None, info: SandboxInfo | None = None) -> None:
        self._answer = answer or self._passes
        self._info = info or SandboxInfo(name="mock", level=4)
        self.jobs: list[SandboxJob] = []

    @property
    def info(self) -> SandboxInfo:
        """As it was given."""
        return self._info

    async def run(self, job: SandboxJob, snapshot: Snapshot) -> SandboxResult:
        """Lay the files out as a real one would, and answer."""
        layout = laid_out(snapshot, job.edits)
        self.jobs.append(job)
        return self._answer(job, layout)

    async def close(self) -> None:
        """Nothing is held."""

    def _passes(self, job: SandboxJob, layout: Layout) -> SandboxResult:
        said = f"$ {job.command}\n{len(layout.files)} files\n"
        return SandboxResult(sandbox=self._info, exit_code=0, output=said)


class MockRuntime(ContainerRuntime):
    """Releases are ready at once, or in the phase that ``phase`` is set to."""

    name = "mock"

    def __init__(self, sandbox: MockSandbox | None = None) -> None:
        self._sandbox = sandbox or MockSandbox()
        self._present: dict[tuple[str, str], Release] = {}
        self.releases: list[Release] = []
        self.builds: list[Build] = []
        self.phase: Literal["progressing", "ready", "failed"] = "ready"
        self.output = ""

    async def available(self) -> SandboxInfo:
        """It always is."""
        return self._sandbox.info

    def sandbox(self) -> MockSandbox:
        """Return the one it was given."""
        return self._sandbox

    async def build(self, build: Build, snapshot: Snapshot) -> Built:
        """Succeed if the named file is there."""
        self.builds.append(build)
        there = build.dockerfile in snapshot.files
        said = "built\n" if there else f"there is no {build.dockerfile!r}\n"
        return Built(ok=there, image=f"mock:{build.tag}" if there else None, output=said)

    async def release(self, release: Release) -> ReleaseState:
        """Take a release; a repeat changes nothing, an older one is refused."""
        place = (release.repository, release.environment.name)
        present = self._present.get(place)
        if present is None or present.key != release.key:
            refuse_older(release, present.revision if present else None)
            self._present[place] = release
            self.releases.append(release)
        return await self.state(release.environment, repository=release.repository)

    async def state(self, environment: EnvironmentPlan, *, repository: str) -> ReleaseState:
        """Return what was released last."""
        present = self._present.get((repository, environment.name))
        if present is None:
            return ReleaseState(phase="absent")
        return ReleaseState(
            phase=self.phase,
            sha=present.sha,
            revision=present.revision,
            url=environment.url,
            ready=int(self.phase == "ready"),
            wanted=1,
        )

    async def log(self, environment: EnvironmentPlan, *, repository: str, lines: int) -> str:
        """Return the last lines of ``output``."""
        return newest(self.output, lines)

    async def close(self) -> None:
        """Forget everything."""
        self._present.clear()
