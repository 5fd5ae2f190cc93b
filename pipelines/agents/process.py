"""Runs agents in a process of their own, which holds model keys and no GitHub credential."""

import asyncio
import sys
from collections.abc import Callable, Mapping, Sequence

from pipelines.agents.child import Child
from pipelines.errors import Retryable
from pipelines.integrations.llm.chain import Recorder
from pipelines.integrations.llm.factory import ProviderSettings
from pipelines.model import Task, TaskResult
from pipelines.ports import AgentRunner, Clock, Notes, Tally, Workplace

# Nothing else of this process' environment is handed down.
INHERITED = (
    "PATH",
    "LANG",
    "LC_ALL",
    "LC_CTYPE",
    "TZ",
    "TMPDIR",
    "CONDUCTOR_LOG_LEVEL",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "no_proxy",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
)
COMMAND = (sys.executable, "-P", "-m", "pipelines.agents")


def child_environment(environ: Mapping[str, str], settings: ProviderSettings) -> dict[str, str]:
    """Return the whole environment of the agent process, built up from nothing."""
    inherited = {name: environ[name] for name in INHERITED if name in environ}
    return {**inherited, "PYTHONUNBUFFERED": "1", **settings.to_environment()}


class ProcessRunner(AgentRunner):
    """Starts the process at the first task, again after a crash, and stops it when idle.

    ``log`` gets each line that the process writes to its standard error, after ``redact``.
    """

    def __init__(
        self,
        settings: ProviderSettings,
        clock: Clock,
        *,
        environ: Mapping[str, str],
        log: Callable[[str], None],
        redact: Callable[[str], str] = str,
        recorder: Recorder | None = None,
        idle_seconds: float = 600.0,
        grace_seconds: float = 5.0,
        overtime_seconds: float = 30.0,
        command: Sequence[str] = COMMAND,
    ) -> None:
        self._environment = child_environment(environ, settings)
        self._clock = clock
        self._log = log
        self._redact = redact
        self._recorder = recorder
        self._idle_seconds = idle_seconds
        self._grace_seconds = grace_seconds
        self._overtime_seconds = overtime_seconds
        self._command = tuple(command)
        self._child: Child | None = None
        self._starting = asyncio.Lock()
        self._running = 0
        self._used_at = clock.monotonic()
        self._watcher: asyncio.Task[None] | None = None
        self._closed = False

    @property
    def pid(self) -> int | None:
        """The process id, None while none is running."""
        return self._child.pid if self._child and not self._child.gone else None

    async def run(
        self,
        task: Task,
        workplace: Workplace,
        *,
        tally: Tally | None = None,
        notes: Notes | None = None,
    ) -> TaskResult:
        """Run the task in the process; raises Retryable if the process fails it.

        Cancelling this call cancels the task there, which closes its model's stream, and whatever
        its workplace is doing for it here.
        """
        self._running += 1
        try:
            child = await self._started()
            return await child.run(task, workplace, tally, notes)
        finally:
            self._running -= 1
            self._used_at = self._clock.monotonic()

    async def close(self) -> None:
        """Stop the process within about twice the grace time; running tasks fail as Retryable."""
        self._closed = True
        # With the lock in hand the watcher cannot be in the middle of stopping the process.
        async with self._starting:
            if self._watcher:
                self._watcher.cancel()
                await asyncio.gather(self._watcher, return_exceptions=True)
            await self._stop()

    async def _started(self) -> Child:
        async with self._starting:
            if self._closed:
                raise Retryable("Agents are being stopped.")
            if self._child and self._child.gone:
                await self._stop()
            if self._watcher is None or self._watcher.done():
                self._watcher = asyncio.ensure_future(self._stop_when_idle())
            if self._child is None:
                self._child = await Child.start(
                    self._command,
                    self._environment,
                    clock=self._clock,
                    log=self._pass_on,
                    recorder=self._recorder,
                    grace_seconds=self._grace_seconds,
                    overtime_seconds=self._overtime_seconds,
                )
            return self._child

    def _pass_on(self, line: str) -> None:
        self._log(self._redact(line))

    async def _stop(self) -> None:
        child, self._child = self._child, None
        if child:
            await child.stop()

    async def _stop_when_idle(self) -> None:
        while True:
            idle = self._clock.monotonic() - self._used_at
            left = self._idle_seconds if self._running else self._idle_seconds - idle
            if left > 0:
                await self._clock.sleep(left)
                continue
            async with self._starting:
                if not self._running:
                    await self._stop()
                    return
