"""What the audience sees: numbered stages, facts below them, and a spinner while it waits."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from rich.console import Console
from rich.text import Text

from bot.reporting.render import clean
from pipelines.errors import UserError

T = TypeVar("T")
POLL_SECONDS = 0.05


@dataclass
class Stage:
    """The terminal of the demo."""

    console: Console
    stages: int
    started: float = field(default_factory=time.monotonic)
    _number: int = 0

    def begin(self, title: str) -> None:
        """Announce the next stage."""
        self._number += 1
        elapsed = f"{self.elapsed:5.1f} s"
        line = Text.assemble(
            (f"[{self._number}/{self.stages}] ", "bold cyan"),
            (title, "bold"),
            "  ",
            (elapsed, "dim"),
        )
        self.console.print(line)

    def fact(self, *lines: str, style: str = "") -> None:
        """Show what was seen; strangers' control characters are left out."""
        for line in lines:
            for part in clean(line).splitlines() or [""]:
                self.console.print(Text(f"      {part}", style=style), soft_wrap=True)

    @property
    def elapsed(self) -> float:
        """Seconds since the demo began."""
        return time.monotonic() - self.started

    async def until(self, what: str, look: Callable[[], T | None], *, seconds: float = 60.0) -> T:
        """Return what ``look`` finds as soon as it finds it; raises UserError after ``seconds``."""
        with self.console.status(Text(f"waiting for {what}")):
            try:
                async with asyncio.timeout(seconds):
                    while (found := look()) is None:  # noqa: ASYNC110  (a page has no events)
                        await asyncio.sleep(POLL_SECONDS)
            except TimeoutError as error:
                raise UserError(
                    f"{what.capitalize()} did not come within {seconds:g} s."
                ) from error
        return found
