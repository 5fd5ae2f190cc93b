"""The workplace as a task in the agent process has it: everything is asked of the parent."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeVar

from pydantic import TypeAdapter

from pipelines.agents import requests as asking
from pipelines.model import (
    BuildResult,
    ChangedFiles,
    Effect,
    EnvironmentState,
    FileEdit,
    Measurement,
    Probe,
    ReleaseState,
    SandboxInfo,
    SandboxJob,
    SandboxResult,
    Series,
    SignalRequest,
    TraceReport,
)
from pipelines.ports import FileText, Receipt, Tree, Workplace

T = TypeVar("T")

OPEN_QUESTIONS = 32
"""How many questions of one task are open at once; more wait for their turn."""


class RemoteWorkplace(Workplace):
    """Asks the parent, for one task; ``ask`` returns the answer's JSON text or raises."""

    def __init__(self, ask: Callable[[asking.Request], Awaitable[str]]) -> None:
        self._send = ask
        self._turns = asyncio.Semaphore(OPEN_QUESTIONS)

    async def changed_files(self) -> ChangedFiles:
        """Return the task's changed files."""
        return await self._ask(asking.GetChangedFiles(), asking.CHANGED_FILES)

    async def read(
        self, paths: Sequence[str], *, at: asking.Side = "head"
    ) -> Mapping[str, FileText]:
        """Return the texts at these paths."""
        texts = await self._ask(asking.ReadFiles(paths=tuple(paths), at=at), asking.TEXTS)
        return {text.path: text for text in texts}

    async def tree(self, *, at: asking.Side = "head") -> Tree:
        """Return the tree of a commit."""
        return await self._ask(asking.GetTree(at=at), asking.TREE)

    async def sandbox(self) -> SandboxInfo:
        """Return the isolation that the parent has for this task."""
        return await self._ask(asking.GetSandbox(), asking.SANDBOX)

    async def run(self, job: SandboxJob) -> SandboxResult:
        """Have a command run in the sandbox; cancelling this call ends the command."""
        return await self._ask(asking.RunJob(job=job), asking.SANDBOX_RESULT)

    async def build(self, dockerfile: str, edits: Sequence[FileEdit]) -> BuildResult:
        """Have an image built; cancelling this call ends the build."""
        request = asking.BuildImage(dockerfile=dockerfile, edits=tuple(edits))
        return await self._ask(request, asking.BUILD_RESULT)

    async def perform(self, effect: Effect) -> Receipt:
        """Have an effect carried out."""
        return await self._ask(asking.PerformEffect(effect=effect), asking.RECEIPT)

    async def environment(self) -> EnvironmentState:
        """Return what is known of the task's environment."""
        return await self._ask(asking.GetEnvironment(), asking.ENVIRONMENT)

    async def release_state(self) -> ReleaseState:
        """Return what runs in the environment."""
        return await self._ask(asking.GetReleaseState(), asking.RELEASE_STATE)

    async def release_log(self, lines: int = 100) -> str:
        """Return the newest output of what runs there."""
        return await self._ask(asking.GetReleaseLog(lines=lines), asking.LOG)

    async def probe(self) -> Probe:
        """Have one health check done."""
        return await self._ask(asking.DoProbe(), asking.PROBE)

    async def series(self, requests: Sequence[SignalRequest]) -> Sequence[Series]:
        """Return one series a request, in order."""
        return await self._ask(asking.GetSeries(requests=tuple(requests)), asking.SERIES)

    async def traces(self, request: SignalRequest) -> TraceReport:
        """Return what traces say about a span."""
        return await self._ask(asking.GetTraces(request=request), asking.TRACES)

    async def keep(self, measurements: Sequence[Measurement]) -> None:
        """Have measurements stored."""
        request = asking.KeepMeasurements(measurements=tuple(measurements))
        await self._ask(request, asking.NOTHING)

    async def _ask(self, request: asking.Request, answer: TypeAdapter[T]) -> T:
        async with self._turns:
            return answer.validate_json(await self._send(request))
