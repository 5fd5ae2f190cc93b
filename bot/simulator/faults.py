"""Misfortunes on order: the next requests that match answer something else, late or never."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, Literal


@dataclass
class Fault:
    """What happens to matching requests.

    ``path`` is a shell pattern over the request's path. With a ``status`` the operation is not
    carried out and that is the answer; ``body`` None gives GitHub's usual error document, bytes are
    sent as they are. ``cut`` closes the connection before the operation, or after it was applied.
    """

    method: str = "*"
    path: str = "*"
    times: int = 1
    status: int | None = None
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    delay: float = 0.0
    """Seconds of the simulator's clock before anything happens."""
    cut: Literal["", "before", "after"] = ""


class Faults:
    """The faults that wait for a request; the first that matches is used up by it."""

    def __init__(self) -> None:
        self._waiting: list[Fault] = []

    def add(self, fault: Fault) -> None:
        """Put one in the queue."""
        self._waiting.append(fault)

    def clear(self) -> None:
        """Forget those that were not met."""
        self._waiting.clear()

    @property
    def waiting(self) -> tuple[Fault, ...]:
        """Those that no request has used up yet."""
        return tuple(self._waiting)

    def take(self, method: str, path: str) -> Fault | None:
        """Return the fault of this request, if it has one."""
        for fault in self._waiting:
            if fault.method in ("*", method) and fnmatchcase(path, fault.path):
                fault.times -= 1
                if fault.times <= 0:
                    self._waiting.remove(fault)
                return fault
        return None
