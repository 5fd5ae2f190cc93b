"""The fence before every write to the outside: nothing is sent once its lease has run out.

Losing a lease cancels the work at the next renewal, but a process that was stopped and goes on may
run the work first. So whoever writes asks here right before. The clock is the one that leases are
counted on; it does not stand still while a process is stopped.
"""

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar

from pipelines.errors import LeaseLost
from pipelines.ports import Clock, Lease


class Fence:
    """The lease that work is done under, as it was last renewed."""

    def __init__(self, lease: Lease, clock: Clock) -> None:
        self.lease = lease
        self._clock = clock

    def check(self) -> None:
        """Raise LeaseLost if somebody else may have the message by now."""
        if self._clock.monotonic() >= self.lease.expires_at:
            raise LeaseLost(self.lease.message.id)


_FENCE: ContextVar[Fence | None] = ContextVar("fence", default=None)


def current() -> Fence | None:
    """Return what holds the present work, to take it along to where it is not inherited."""
    return _FENCE.get()


@contextmanager
def behind(fence: Fence | None) -> Generator[None]:
    """Let whatever begins in this context, and tasks that it starts, be held by the fence."""
    token = _FENCE.set(fence)
    try:
        yield
    finally:
        _FENCE.reset(token)


def check() -> None:
    """Raise LeaseLost if this work's lease has run out; work under no lease is not held."""
    fence = _FENCE.get()
    if fence is not None:
        fence.check()
