"""How operators are told."""

from abc import ABC, abstractmethod

from pipelines.model import Notify


class Notifier(ABC):
    """One channel; ``Retryable`` if it could not be reached, ``UserError`` if it refused."""

    name: str

    @abstractmethod
    async def send(self, notification: Notify) -> None:
        """Tell; a repeat of the same key may be told again."""

    @abstractmethod
    async def close(self) -> None:
        """Close connections."""
