"""What was asked and answered: for budgets, for checks against GitHub's schemas, for the pages."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True)
class ApiCall:
    """One request that reached the API; ``permission`` is what allowed it, empty if refused."""

    at: datetime
    method: str
    template: str
    """The operation's path with its parameters' names; empty if there is no such operation."""
    path: str
    status: int
    """0 if the connection was cut."""
    permission: str = ""
    app_id: int | None = None
    installation_id: int | None = None


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request and its answer, whole."""

    method: str
    template: str
    path: str
    query: Mapping[str, str]
    request_headers: Mapping[str, str]
    request_body: bytes
    status: int
    media: str
    response_body: bytes
    injected: bool = False
    """Answered by a fault: not GitHub's own shape."""
    response_headers: Mapping[str, str] = field(default_factory=dict[str, str])


class Observer(Protocol):
    """Sees everything that goes over the wire, in order."""

    def exchange(self, exchange: Exchange) -> None:
        """An API request was answered."""
        ...

    def delivery(self, event: str, body: bytes) -> None:
        """A webhook is about to be sent."""
        ...


class Observers(list[Observer]):
    """Any number of observers as one."""

    def exchange(self, exchange: Exchange) -> None:
        """Show it to each."""
        for observer in self:
            observer.exchange(exchange)

    def delivery(self, event: str, body: bytes) -> None:
        """Show it to each."""
        for observer in self:
            observer.delivery(event, body)
