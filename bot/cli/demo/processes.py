"""Programs that the demo starts, and ends again whatever happens."""

import asyncio
import os
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from pipelines.errors import UserError

START_SECONDS = 30.0
STOP_SECONDS = 30.0
_INHERITED = ("PATH", "LANG", "LC_ALL", "TMPDIR", "VIRTUAL_ENV")


@asynccontextmanager
async def program(
    arguments: Sequence[str], *, folder: Path, log: Path, environment: Mapping[str, str]
) -> AsyncGenerator[str]:
    """Run a program while the context is open; yields the address that its first line names.

    Its errors go to ``log``. Raises UserError if it ends or stays silent instead.
    """
    inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    with log.open("ab") as sink:
        process = await asyncio.create_subprocess_exec(
            *arguments,
            cwd=folder,
            env={**inherited, **environment},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=sink,
            start_new_session=True,
        )
    try:
        yield await _address(process, arguments, log)
    finally:
        await _stop(process)


async def _address(process: asyncio.subprocess.Process, arguments: Sequence[str], log: Path) -> str:
    assert process.stdout is not None
    try:
        async with asyncio.timeout(START_SECONDS):
            while line := await process.stdout.readline():
                word = line.decode(errors="replace").split()[-1:]
                if word and word[0].startswith("http://"):
                    return word[0]
    except TimeoutError as error:
        raise UserError(f"{arguments[-1]!r} said no address; see {log}.") from error
    raise UserError(f"`{' '.join(arguments)}` ended at once; see {log}.")


async def _stop(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    process.terminate()
    try:
        async with asyncio.timeout(STOP_SECONDS):
            await process.communicate()
    except TimeoutError:
        process.kill()
        await process.communicate()
