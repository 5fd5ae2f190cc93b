"""One performance of the demo: a folder, a stage, the story, and a tidy end."""

import asyncio
import signal
import tempfile
from pathlib import Path

from rich.console import Console

from bot.cli.demo.stage import Stage
from bot.cli.demo.story import STAGES, Story
from bot.settings import load_settings


def perform(*, keep: bool) -> None:
    """Tell the story once; with ``keep`` leave everything up until Ctrl-C."""
    console = Console(highlight=False)
    with tempfile.TemporaryDirectory(prefix="conductor-demo-", ignore_cleanup_errors=True) as name:
        asyncio.run(_perform(console, Path(name), keep=keep))


async def _perform(console: Console, folder: Path, *, keep: bool) -> None:
    stage = Stage(console, STAGES)
    settings = load_settings(env_file=None)
    async with Story(stage, folder, settings, keep=keep) as story:
        await story.tell()
        if keep:
            console.print("Everything stays up. Press Ctrl-C to end it.")
            await _interrupted()


async def _interrupted() -> None:
    """Return at Ctrl-C or SIGTERM, so that all that was started is ended in order."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    await stop.wait()
