"""A container that waits while a job is done in it: files in, the command, results out.

The container's first process is ``FIRST``; everything else is an execution beside it. Nothing that
comes out of one is believed beyond its own check.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Literal, Protocol

from pipelines.errors import Retryable, UserError
from pipelines.integrations.containers.collection import (
    MAX_FILE_BYTES,
    MISSING,
    NOT_REGULAR,
    TOO_LARGE,
    read_tar,
    split,
)
from pipelines.integrations.containers.layout import Layout, archive
from pipelines.integrations.containers.output import Output
from pipelines.integrations.containers.profile import OWNER, WORK
from pipelines.model import SandboxInfo, SandboxJob, SandboxResult

SPARE_SECONDS = 300
"""How long a container outlives its job at most if Conductor is killed."""
OWN_PROCESSES = 8
_STEP_SECONDS = 60.0

# The first process reaps what is orphaned, and ends by itself. Its second sleep is for when every
# process but the first was killed and the results are taken.
FIRST = 'for seconds in "$0" 300 300; do sleep "$seconds" & wait $!; done'
# The command's processes are to be chosen before the first one when memory runs out.
CHOOSE_ME = "echo 1000 2>/dev/null >/proc/self/oom_score_adj"
_LAY_IN = 'head -c "$0" | tar -xf - 2>&1'
_END_THE_REST = "kill -9 -1; exit 0"
_LIMIT_MET = """
cat /sys/fs/cgroup/memory.events /sys/fs/cgroup/memory/memory.oom_control 2>/dev/null |
  while read -r name count; do [ "$name" = oom_kill ] && [ "$count" -gt 0 ] && exit 64; done
[ $? = 64 ] && exit 64
for folder in "$0" /tmp; do
  free=$(stat -f -c %a "$folder") && [ "$free" -le 16 ] && exit 65
done
exit 0
"""
_HAND_OVER = """
p=. rest=$0/
while [ -n "$rest" ]; do
  p=$p/${rest%%/*} rest=${rest#*/}
  if [ -L "$p" ]; then exit 66; fi
done
[ -e "$p" ] || exit 67
[ -f "$p" ] || exit 68
[ -r "$p" ] || exit 69
[ "$(stat -c %h "$p")" = 1 ] || exit 70
[ "$(stat -c %s "$p")" -le "$1" ] || exit 71
exec tar -cf - "$p"
"""
_REASONS = {
    66: f"{NOT_REGULAR} but a symbolic link, or behind one",
    67: MISSING,
    68: NOT_REGULAR,
    69: f"{NOT_REGULAR} that can be read",
    70: f"{NOT_REGULAR} but one of several hard links",
    71: TOO_LARGE,
}

Limit = Literal["", "time", "memory", "output", "disk"]


class Execution(Protocol):
    """One program that was started in the container, with its streams."""

    async def write(self, pieces: Iterable[bytes]) -> None:
        """Write to its standard input; an end of it cannot be sent, so the reader must count."""
        ...

    def output(self) -> AsyncIterator[tuple[int, bytes]]:
        """Yield (1 for standard output or 2 for error, data) until it ends."""
        ...

    async def exit_code(self) -> int | None:
        """Return its status once the output has ended, None if nobody knows."""
        ...


Execute = Callable[[Sequence[str], bool], AbstractAsyncContextManager[Execution]]
"""Starts ``/bin/sh -c`` with these arguments in the work folder, with standard input or without."""


@dataclass(frozen=True, slots=True)
class Place:
    """A started container, and what is said of it in the result."""

    execute: Execute
    command: str
    """Runs the job's command, its ``$0``."""
    info: SandboxInfo
    image: str
    dependency: str


class Waiting:
    """Does one job in one container."""

    def __init__(self, place: Place, job: SandboxJob) -> None:
        self._place = place
        self._job = job
        self._wanted, self._collected = split(job.collect)
        self._output = Output()
        self._loop = asyncio.get_running_loop()
        self._began = self._loop.time()

    async def run(self, layout: Layout) -> SandboxResult:
        """Lay the files in, run the command, end what it left, take what is asked for."""
        await self._lay_in(layout)
        late = False
        code: int | None = None
        try:
            async with asyncio.timeout(self._job.timeout_seconds):
                code = await self._command()
        except TimeoutError:
            late = True
        limit: Limit = "time" if late else "output" if self._output.flooded else ""
        if not limit:
            await self._short([_END_THE_REST])
            limit = await self._limit_met() if code != 0 else ""
        if limit in ("", "disk"):
            for path in self._wanted:
                await self._take(path)
        return self.ended(code, limit)

    def ended(self, code: int | None, limit: Limit) -> SandboxResult:
        """Return the result of a job that ended so."""
        for path in self._wanted:
            if path not in self._collected.files:
                self._collected.refused.setdefault(path, "the command was ended by a limit")
        return SandboxResult(
            sandbox=self._place.info,
            exit_code=code if limit in ("", "disk") else None,
            limit=limit,
            output=self._output.text(),
            files=self._collected.files,
            refused=self._collected.refused,
            seconds=self._loop.time() - self._began,
            image=self._place.image,
        )

    async def _lay_in(self, layout: Layout) -> None:
        size = sum(map(len, archive(layout, owner=OWNER)))
        said, code = await self._short([_LAY_IN, str(size)], archive(layout, owner=OWNER))
        if code != 0:
            text = said.decode(errors="replace").strip()[-300:]
            raise UserError(f"The files could not be laid into the container: {text or code}.")

    async def _command(self) -> int | None:
        script = [self._place.command, self._job.command]
        async with self._place.execute(script, False) as execution:
            async for _, data in execution.output():
                self._output.feed(data)
                if self._output.flooded:
                    return None
        return await execution.exit_code()

    async def _take(self, path: str) -> None:
        data, code = await self._short([_HAND_OVER, path, str(MAX_FILE_BYTES)])
        if code in _REASONS:
            self._collected.refused[path] = _REASONS[code]
        else:
            read_tar(data, path, self._collected)

    async def _limit_met(self) -> Literal["", "memory", "disk"]:
        """Say which limit a command that failed had met."""
        # Who runs the container tells of memory only when the first process was the one killed.
        _, code = await self._short([_LIMIT_MET, WORK])
        return "memory" if code == 64 else "disk" if code == 65 else ""

    async def _short(
        self, script: Sequence[str], stdin: Iterable[bytes] = ()
    ) -> tuple[bytes, int | None]:
        """Run a script of ours in the container; return its output, capped, and its status."""
        said = bytearray()
        try:
            async with (
                asyncio.timeout(_STEP_SECONDS),
                self._place.execute(script, stdin != ()) as execution,
            ):
                await execution.write(stdin)
                async for stream, data in execution.output():
                    if stream == 1 and len(said) <= MAX_FILE_BYTES + (1 << 16):
                        said += data
        except TimeoutError as error:
            said_so = "A container does not answer."
            raise Retryable(said_so, dependency=self._place.dependency) from error
        return bytes(said), await execution.exit_code()
