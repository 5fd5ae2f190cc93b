"""Where agents run, and what they may ask for while they do."""

from collections.abc import Callable, Sequence
from typing import Protocol

from pipelines.model import (
    BuildResult,
    Effect,
    EnvironmentState,
    FileEdit,
    Measurement,
    Note,
    Probe,
    ReleaseState,
    SandboxInfo,
    SandboxJob,
    SandboxResult,
    Series,
    SignalRequest,
    Task,
    TaskResult,
    TraceReport,
    Usage,
)
from pipelines.ports.reading import Reader
from pipelines.ports.writing import Receipt


class Workplace(Reader, Protocol):
    """All that one task may ask for; each request is answered where the credentials are.

    Whoever answers knows the task: a request names nothing that would let it reach another
    repository, commit, environment or query than the task's own.
    """

    async def sandbox(self) -> SandboxInfo:
        """Return the isolation that this task's code would run in; ``none`` if it may not run."""
        ...

    async def run(self, job: SandboxJob) -> SandboxResult:
        """Run a command over the repository's files; UserError if there is no sandbox for it."""
        ...

    async def build(self, dockerfile: str, edits: Sequence[FileEdit]) -> BuildResult:
        """Build an image of the head with the edits laid over it, without network, and drop it.

        Where nothing builds images the result says why.
        """
        ...

    async def perform(self, effect: Effect) -> Receipt:
        """Carry out an effect while the task goes on: policy, key and ledger as after its end.

        A refusal is a receipt that says ``denied``; a repeat says ``found``.
        """
        ...

    async def environment(self) -> EnvironmentState:
        """Return what is known of the task's environment; UserError if it has none."""
        ...

    async def release_state(self) -> ReleaseState:
        """Ask the environment's target what runs there now."""
        ...

    async def release_log(self, lines: int = 100) -> str:
        """Return the newest output of the service: a stranger's text, at most 64 KiB."""
        ...

    async def probe(self) -> Probe:
        """Do one health check of the task's environment."""
        ...

    async def series(self, requests: Sequence[SignalRequest]) -> Sequence[Series]:
        """Return one series a request, in order; without data the series says why."""
        ...

    async def traces(self, request: SignalRequest) -> TraceReport:
        """Return what the environment's traces say about a span of time."""
        ...

    async def keep(self, measurements: Sequence[Measurement]) -> None:
        """Store measurements now, so that they outlive this attempt."""
        ...


Tally = Callable[[Usage], None]
"""Told what a task has cost in all, before and after each model call; the call under way counts at
its worst case, so that what was told last holds also if the task is cut off."""


Notes = Callable[[Note], None]
"""Told each model exchange and each look at the clock of a task, in their order."""


class AgentRunner(Protocol):
    """Where agents run: in this process, or in one that holds no GitHub credentials."""

    async def run(
        self,
        task: Task,
        workplace: Workplace,
        *,
        tally: Tally | None = None,
        notes: Notes | None = None,
    ) -> TaskResult:
        """Run the task to its end; cancelling this call cancels the agent and its model call."""
        ...

    async def close(self) -> None:
        """Stop every agent and release what they hold."""
        ...
