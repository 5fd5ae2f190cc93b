"""A workplace in memory: files at two commits, and everything else as the test scripts it."""

import difflib
import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, TypeVar

from pipelines.errors import UserError
from pipelines.model import (
    BuildResult,
    ChangedFile,
    ChangedFiles,
    CreateDeployment,
    Effect,
    EnvironmentPlan,
    EnvironmentState,
    FileEdit,
    FileStatus,
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
from pipelines.ports import FileText, Receipt, Tree, TreeEntry

BUBBLEWRAP = SandboxInfo(name="bubblewrap", level=1)
NO_SANDBOX = SandboxInfo(name="none", level=0, reason="no engine was found")
Side = Literal["head", "base"]
T = TypeVar("T")


def blob_sha(text: str) -> str:
    """The id that git gives a file with this text."""
    data = text.encode()
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


def patch_of(before: str, after: str) -> str:
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), lineterm="", n=3)
    return "\n".join(list(lines)[2:])


class MemoryWorkplace:
    """Implements ``Workplace``; a test sets the attributes that it is about."""

    def __init__(self, head: Mapping[str, str], base: Mapping[str, str] | None = None) -> None:
        self.files: dict[Side, dict[str, str]] = {
            "head": dict(head),
            "base": dict(head if base is None else base),
        }
        self.info = BUBBLEWRAP
        self.jobs: list[SandboxJob] = []
        self.on_run: Callable[[SandboxJob], SandboxResult] = self._passes
        self.builds: list[tuple[str, tuple[FileEdit, ...]]] = []
        self.on_build: Callable[[str], BuildResult] = lambda _: BuildResult(
            ok=False, reason="no engine is there"
        )
        self.effects: list[Effect] = []
        self.on_perform: Callable[[Effect], Receipt] = self._done
        self.state: EnvironmentState | None = None
        self.releases: list[ReleaseState] = []
        """What ``release_state`` says in turn; the last one again and again."""
        self.service_log = ""
        self.probes: list[Probe] = []
        """As ``releases``."""
        self.on_series: Callable[[SignalRequest], Series] = lambda request: Series(
            name=request.name, reason="nothing is measured"
        )
        self.trace_report = TraceReport(reason="nothing is traced")
        self.kept: list[Measurement] = []

    # --- reading ---------------------------------------------------------------------------------

    async def changed_files(self) -> ChangedFiles:
        base, head = self.files["base"], self.files["head"]
        paths = [p for p in sorted({*base, *head}) if base.get(p) != head.get(p)]
        return ChangedFiles(files=tuple(self._changed(path) for path in paths))

    def _changed(self, path: str) -> ChangedFile:
        base, head = self.files["base"], self.files["head"]
        status = FileStatus.MODIFIED
        if path not in base:
            status = FileStatus.ADDED
        elif path not in head:
            status = FileStatus.REMOVED
        patch = patch_of(base.get(path, ""), head.get(path, ""))
        lines = patch.splitlines()
        return ChangedFile(
            path=path,
            status=status,
            additions=sum(line.startswith("+") for line in lines),
            deletions=sum(line.startswith("-") for line in lines),
            patch=patch,
        )

    async def read(self, paths: Sequence[str], *, at: Side = "head") -> Mapping[str, FileText]:
        files = self.files[at]
        return {
            path: FileText(path=path, text=files[path], size=len(files[path].encode()))
            if path in files
            else FileText(path=path, text=None, reason="missing")
            for path in paths
        }

    async def tree(self, *, at: Side = "head") -> Tree:
        return Tree(
            entries=tuple(
                TreeEntry(path=path, mode="100644", sha=blob_sha(text), size=len(text.encode()))
                for path, text in sorted(self.files[at].items())
            )
        )

    # --- running ---------------------------------------------------------------------------------

    async def sandbox(self) -> SandboxInfo:
        return self.info

    async def run(self, job: SandboxJob) -> SandboxResult:
        if not self.info.usable:
            raise UserError("There is no sandbox here.")
        self.jobs.append(job)
        return self.on_run(job)

    def _passes(self, job: SandboxJob) -> SandboxResult:
        return SandboxResult(sandbox=self.info, exit_code=0, output="ok\n", seconds=0.1)

    async def build(self, dockerfile: str, edits: Sequence[FileEdit]) -> BuildResult:
        self.builds.append((dockerfile, tuple(edits)))
        return self.on_build(dockerfile)

    # --- acting ----------------------------------------------------------------------------------

    async def perform(self, effect: Effect) -> Receipt:
        self.effects.append(effect)
        return self.on_perform(effect)

    def _done(self, effect: Effect) -> Receipt:
        number = 42 if isinstance(effect, CreateDeployment) else None
        return Receipt(key=effect.key, status="done", number=number)

    # --- the environment -------------------------------------------------------------------------

    async def environment(self) -> EnvironmentState:
        if self.state is None:
            raise UserError("This task has no environment.")
        return self.state

    def deploys_to(self, name: str = "staging") -> EnvironmentState:
        """Give the task an environment that nothing was deployed to yet."""
        self.state = EnvironmentState(plan=EnvironmentPlan(name=name, target="mock"), revision=1)
        return self.state

    async def release_state(self) -> ReleaseState:
        return _next(self.releases, ReleaseState(phase="absent"))

    async def release_log(self, lines: int = 100) -> str:
        return "\n".join(self.service_log.splitlines()[-lines:])

    async def probe(self) -> Probe:
        return _next(self.probes, Probe(ok=True, status=200))

    # --- measuring -------------------------------------------------------------------------------

    async def series(self, requests: Sequence[SignalRequest]) -> Sequence[Series]:
        return [self.on_series(request) for request in requests]

    async def traces(self, request: SignalRequest) -> TraceReport:
        return self.trace_report

    async def keep(self, measurements: Sequence[Measurement]) -> None:
        self.kept += measurements


def _next(scripted: list[T], otherwise: T) -> T:
    if len(scripted) > 1:
        return scripted.pop(0)
    return scripted[0] if scripted else otherwise
