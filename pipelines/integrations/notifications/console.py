"""Notifications as lines on a stream, for whoever watches the terminal or its log."""

from typing import TextIO

from pipelines.integrations.notifications.base import Notifier
from pipelines.integrations.notifications.words import link, plain
from pipelines.model import Notify

_MAX_TITLE, _MAX_TEXT = 200, 4_000


class ConsoleNotifier(Notifier):
    """Writes one block of plain lines a notification; nothing in it can move the cursor."""

    name = "console"

    def __init__(self, stream: TextIO) -> None:
        """The stream stays open when the notifier is closed."""
        self._stream = stream

    async def send(self, notification: Notify) -> None:
        """Write it out at once."""
        title = " ".join(plain(notification.title, _MAX_TITLE).split())
        lines = [f"[{notification.level}] {title}"]
        lines += [f"  {each}" for each in plain(notification.text, _MAX_TEXT).splitlines()]
        if address := link(notification):
            lines.append(f"  {address}")
        self._stream.write("\n".join(lines) + "\n")
        self._stream.flush()

    async def close(self) -> None:
        """Hold nothing."""
