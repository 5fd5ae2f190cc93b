"""Somebody else's server, started for a test on a free port and ended with it."""

import asyncio
import socket
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2

START_SECONDS = 30.0


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@asynccontextmanager
async def running(command: Sequence[str], ready: str, folder: Path) -> AsyncGenerator[None]:
    """Run a command until the block ends; it is ready once the address answers below 500."""
    with (folder / "output.log").open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *command, cwd=folder, stdout=output, stderr=asyncio.subprocess.STDOUT
        )
    try:
        await _ready(process, ready, folder)
        yield
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def _ready(process: asyncio.subprocess.Process, url: str, folder: Path) -> None:
    async with asyncio.timeout(START_SECONDS), httpx2.AsyncClient(trust_env=False) as client:
        while True:
            log = (folder / "output.log").read_text(errors="replace")[-2000:]
            assert process.returncode is None, f"it ended at its start: {log}"
            try:
                answer = await client.get(url)
            except httpx2.HTTPError:
                answer = None
            if answer is not None and answer.status_code < 500:
                return
            await asyncio.sleep(0.05)
