"""A channel that only remembers, for tests and for trying things."""

from pipelines.integrations.notifications.base import Notifier
from pipelines.model import Notify


class MockNotifier(Notifier):
    """Keeps what it was told, in order."""

    name = "mock"

    def __init__(self) -> None:
        self.sent: list[Notify] = []

    async def send(self, notification: Notify) -> None:
        """Remember it."""
        self.sent.append(notification)

    async def close(self) -> None:
        """Hold nothing."""
