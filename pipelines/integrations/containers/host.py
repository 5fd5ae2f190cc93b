"""No sandbox at all: commands run as this process's own user, for code that the operator trusts.

A copy of the files in a temporary folder, an environment without secrets, a time limit and capped
output keep accidents small. None of it holds an attacker, so its level is 0 and no change of a
stranger ever gets here.
"""

import asyncio
import os
import signal
import sys
import tempfile
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pipelines.errors import Retryable
from pipelines.integrations.containers.base import Sandbox, SandboxProvider
from pipelines.integrations.containers.collection import split
from pipelines.integrations.containers.inside import taken
from pipelines.integrations.containers.layout import Layout, laid_out
from pipelines.integrations.containers.output import Output
from pipelines.model import SandboxInfo, SandboxJob, SandboxResult
from pipelines.ports import Snapshot

_PIECE = 1 << 16
_LAST_WORDS_SECONDS = 1.0
_INFO = SandboxInfo(
    name="host", level=0, reason="no isolation, by the operator's choice: only for trusted code"
)


class Host(Sandbox, SandboxProvider):
    """Runs commands on the machine itself."""

    def __init__(self, *, search_path: Sequence[Path] = ()) -> None:
        own = (Path(sys.prefix) / "bin", Path("/usr/local/bin"), Path("/usr/bin"), Path("/bin"))
        self._path = ":".join(map(str, (*search_path, *own)))

    @property
    def info(self) -> SandboxInfo:
        """Level 0."""
        return _INFO

    async def available(self) -> SandboxInfo:
        """It is always there; whether it is chosen is the operator's matter."""
        return _INFO

    def sandbox(self) -> "Host":
        """Return itself."""
        return self

    async def run(self, job: SandboxJob, snapshot: Snapshot) -> SandboxResult:
        """Run the job in a temporary folder, which is removed afterwards."""
        layout = laid_out(snapshot, job.edits)
        wanted, collected = split(job.collect)
        loop = asyncio.get_running_loop()
        started = loop.time()
        with tempfile.TemporaryDirectory(prefix="conductor-", ignore_cleanup_errors=True) as name:
            folder = Path(name)
            await asyncio.to_thread(_write, folder / "work", layout)
            (folder / "home").mkdir()
            output = Output()
            code, limit = await self._carry_out(job, folder, output)
            for path in wanted:
                reason, data = taken(str(folder / "work"), path)
                if reason:
                    collected.refused[path] = reason
                else:
                    collected.add(path, data)
        return SandboxResult(
            sandbox=_INFO,
            exit_code=None if limit else code,
            limit=limit,
            output=output.text(),
            files=collected.files,
            refused=collected.refused,
            seconds=loop.time() - started,
        )

    async def close(self) -> None:
        """Nothing outlives ``run``."""

    async def _carry_out(
        self, job: SandboxJob, folder: Path, output: Output
    ) -> tuple[int, Literal["", "time", "output"]]:
        environment = {
            "PATH": self._path,
            "HOME": str(folder / "home"),
            "LANG": "C.UTF-8",
            "CI": "1",
        }
        reader, pipe, write_end = await _pipe()
        try:
            process = await asyncio.create_subprocess_exec(
                *("/bin/sh", "-c", job.command),
                cwd=folder / "work",
                env=environment | job.environment,
                stdin=DEVNULL,
                stdout=write_end,
                stderr=write_end,
                start_new_session=True,
            )
        except OSError as error:
            pipe.close()
            raise Retryable(f"The command could not be started: {error}.") from error
        finally:
            os.close(write_end)
        reading = asyncio.ensure_future(_read(reader, output, process))
        late = False
        try:
            async with asyncio.timeout(job.timeout_seconds):
                await process.wait()
        except TimeoutError:
            late = True
        finally:
            _end(process)
            await asyncio.wait([reading], timeout=_LAST_WORDS_SECONDS)
            # A daemon that left the group may hold the pipe for ever; closing our end ends it here.
            pipe.close()
            await reading
        limit = "output" if output.flooded else "time" if late else ""
        return await process.wait(), limit


async def _pipe() -> tuple[asyncio.StreamReader, asyncio.ReadTransport, int]:
    read_end, write_end = os.pipe()
    reader = asyncio.StreamReader()
    pipe, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(read_end, "rb", buffering=0)
    )
    return reader, pipe, write_end


async def _read(reader: asyncio.StreamReader, output: Output, process: Process) -> None:
    while piece := await reader.read(_PIECE):
        if not output.flooded:
            output.feed(piece)
            if output.flooded:
                _end(process)


def _end(process: Process) -> None:
    """Kill the command's process group; one that left it is beyond reach, as nothing holds it."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def _write(folder: Path, layout: Layout) -> None:
    folder.mkdir()
    for path, data in layout.files.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
        target.chmod(0o755 if path in layout.executables else 0o644)
