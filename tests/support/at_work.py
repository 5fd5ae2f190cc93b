"""A runner that knows how many of its tasks wait for something that takes real time."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Any, cast

from pipelines.model import (
    BuildResult,
    FileEdit,
    Probe,
    SandboxInfo,
    SandboxJob,
    SandboxResult,
    Series,
    SignalRequest,
    Task,
    TaskResult,
)
from pipelines.ports import AgentRunner, Notes, Tally, Workplace


class WatchedRunner(AgentRunner):
    """Runs tasks as ``inner`` does; ``outside`` counts what is asked of sandboxes and services."""

    def __init__(self, inner: AgentRunner) -> None:
        self._inner = inner
        self.outside = 0
        self.jobs: list[SandboxJob] = []
        self.tasks: list[Task] = []

    async def run(
        self,
        task: Task,
        workplace: Workplace,
        *,
        tally: Tally | None = None,
        notes: Notes | None = None,
    ) -> TaskResult:
        self.tasks.append(task)
        watched = cast("Workplace", _WatchedWorkplace(self, workplace))
        return await self._inner.run(task, watched, tally=tally, notes=notes)

    async def close(self) -> None:
        await self._inner.close()

    @asynccontextmanager
    async def working(self) -> AsyncGenerator[None]:
        self.outside += 1
        try:
            yield
        finally:
            self.outside -= 1


class _WatchedWorkplace:
    """Passes everything on, and counts what is asked of a sandbox or of a service."""

    def __init__(self, runner: WatchedRunner, inner: Workplace) -> None:
        self._runner = runner
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def series(self, requests: Sequence[SignalRequest]) -> Sequence[Series]:
        async with self._runner.working():
            return await self._inner.series(requests)

    async def probe(self) -> Probe:
        async with self._runner.working():
            return await self._inner.probe()

    async def sandbox(self) -> SandboxInfo:
        async with self._runner.working():
            return await self._inner.sandbox()

    async def run(self, job: SandboxJob) -> SandboxResult:
        self._runner.jobs.append(job)
        async with self._runner.working():
            return await self._inner.run(job)

    async def build(self, dockerfile: str, edits: Sequence[FileEdit]) -> BuildResult:
        async with self._runner.working():
            return await self._inner.build(dockerfile, edits)
