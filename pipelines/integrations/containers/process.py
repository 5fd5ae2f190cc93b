"""A sandbox's process and its three pipes: the order in, the report out, the output beside it."""

import asyncio
from asyncio.subprocess import PIPE, Process
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from pipelines.errors import Retryable
from pipelines.integrations.containers.output import Output

_PIECE = 1 << 16
_END_SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class Ended:
    """What a process said, and the limit that ended it, if one did."""

    report: bytes
    output: Output
    limit: Literal["", "time", "output"]


class Piped:
    """A process that is fed on standard input and read on standard output and error."""

    def __init__(self, process: Process, most_report: int) -> None:
        self._process = process
        self._most_report = most_report
        self._output = Output()

    async def carry(self, order: Iterable[bytes], seconds: float) -> Ended:
        """Feed and read until it ends; when time runs out or this is cancelled, it is killed."""
        pumps = asyncio.ensure_future(self._pump(order))
        late = False
        try:
            async with asyncio.timeout(seconds):
                await asyncio.shield(pumps)
        except TimeoutError:
            late = True
        finally:
            await self.end()
            report = await _bounded(pumps)
        flooded = self._output.flooded
        return Ended(report, self._output, "output" if flooded else "time" if late else "")

    async def end(self) -> None:
        """Kill it; what runs inside its namespaces dies with it."""
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()

    async def _pump(self, order: Iterable[bytes]) -> bytes:
        _, _, report = await asyncio.gather(self._feed(order), self._drain(), self._report())
        await self._process.wait()
        return report

    async def _feed(self, order: Iterable[bytes]) -> None:
        stdin = self._process.stdin
        assert stdin is not None
        try:
            for piece in order:
                stdin.write(piece)
                await stdin.drain()
            stdin.close()
            await stdin.wait_closed()
        except (BrokenPipeError, ConnectionResetError):
            # It ended before it read everything; its report, or the lack of one, says why.
            stdin.close()

    async def _drain(self) -> None:
        stderr = self._process.stderr
        assert stderr is not None
        while piece := await stderr.read(_PIECE):
            if not self._output.flooded:
                self._output.feed(piece)
                if self._output.flooded and self._process.returncode is None:
                    self._process.kill()

    async def _report(self) -> bytes:
        stdout = self._process.stdout
        assert stdout is not None
        report = bytearray()
        while piece := await stdout.read(_PIECE):
            if len(report) <= self._most_report:
                report += piece
        return bytes(report) if len(report) <= self._most_report else b""


async def piped(argv: Sequence[str], descriptors: Sequence[int], *, most_report: int) -> Piped:
    """Start a process with an empty environment and only these descriptors beside its pipes."""
    try:
        process = await asyncio.create_subprocess_exec(
            *argv, stdin=PIPE, stdout=PIPE, stderr=PIPE, pass_fds=descriptors, env={}, cwd="/"
        )
    except OSError as error:
        raise Retryable(f"A sandbox could not be started: {error}.") from error
    return Piped(process, most_report)


async def _bounded(pumps: asyncio.Future[bytes]) -> bytes:
    try:
        async with asyncio.timeout(_END_SECONDS):
            return await pumps
    except TimeoutError as error:
        raise Retryable("A killed sandbox does not let go of its pipes.") from error
