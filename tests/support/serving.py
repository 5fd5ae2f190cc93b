"""A real ``conductor serve``, ``web`` or ``worker``: a process that can be ended and killed."""

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from bot.simulator import NewApp

START_SECONDS = 30.0


def environment_for(app: NewApp, api_url: str, folder: Path, model: Path) -> dict[str, str]:
    """The settings of a process that serves the App from this folder."""
    key = folder / "app.pem"
    key.touch(mode=0o600)
    key.write_text(app.private_key)
    return {
        "CONDUCTOR_LOG_FORMAT": "json",
        "CONDUCTOR_LOG_LEVEL": "DEBUG",
        "CONDUCTOR_MODELS": f"mock:{model}",
        "GITHUB_API_URL": api_url,
        "GITHUB_APP_ID": str(app.app.id),
        "GITHUB_PRIVATE_KEY_PATH": str(key),
        "GITHUB_WEBHOOK_SECRET": app.webhook_secret,
        "HOST": "127.0.0.1",
        "PORT": "0",
    }


class Serving:
    """One process after the other in the same folder, each on what the last one left there."""

    def __init__(
        self,
        folder: Path,
        environment: Mapping[str, str],
        heard: Callable[[str], None],
        command: str = "serve",
    ) -> None:
        """``heard`` is told each line of the log as it is written.

        A ``worker`` says where it listens only with CONDUCTOR_HEALTH_PORT.
        """
        self._command = command
        self._folder = folder
        self._environment = {"PATH": os.environ["PATH"], "HOME": str(folder), **environment}
        self._heard = heard
        self._process: asyncio.subprocess.Process | None = None
        self._listening: asyncio.Task[None] | None = None
        self.log: list[str] = []

    async def start(self) -> str:
        """Start it; returns the address that it says."""
        process = self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "bot", self._command),
            cwd=self._folder,
            env=self._environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        assert process.stdout
        assert process.stderr
        self._listening = asyncio.create_task(self._listen(process.stderr))
        async with asyncio.timeout(START_SECONDS):
            said = await process.stdout.readline()
        assert said.startswith(b"Listening on "), "\n".join([repr(said), *self.log[-20:]])
        return said.decode().split()[-1]

    async def _listen(self, stream: asyncio.StreamReader) -> None:
        while line := await stream.readline():
            self.log.append(line.decode(errors="replace").rstrip())
            self._heard(self.log[-1])

    @property
    def alive(self) -> bool:
        """Whether it runs, as far as is known."""
        return self._process is not None and self._process.returncode is None

    def send(self, sign: signal.Signals) -> None:
        """Send a signal at this very moment."""
        assert self._process
        if self._process.returncode is None:
            os.kill(self._process.pid, sign)

    async def ended(self, seconds: float) -> int:
        """Return its exit code; raises TimeoutError if it is not over in time."""
        assert self._process
        assert self._process.stdout
        assert self._listening
        async with asyncio.timeout(seconds):
            code = await self._process.wait()
            await self._process.stdout.read()
            await self._listening
        return code

    async def close(self) -> None:
        """End it however it may be."""
        if self._process:
            self.send(signal.SIGKILL)
            await self.ended(10.0)
