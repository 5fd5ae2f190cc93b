"""Exceptions, grouped by what the caller must do.

* ConductorError
  x Ignorable        nothing to do: the subject is gone, closed or out of scope
  x Retryable        a passing fault; try the same item again, no sooner than ``retry_after``
    - Ambiguous      the request may have been carried out: look before repeating it
    - LeaseLost      somebody else owns the item now; drop it without a word
    - Conflict       compare-and-set lost the race; read again
  x Parked           the whole installation (or provider) must wait until ``until``
  x Dropped          the installation is gone, suspended, or took a permission away
  x UserError        their input; the text is shown to them
    - BudgetExceeded, ModelUnavailable, ModelRefused: ends neutral, never red
  x NotStored        the store cannot take it; the sender must keep it

Anything else is our fault and is treated so.
"""

from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any


class ConductorError(Exception):
    """The root; ``str(error)`` is one sentence that says what happened and what to do."""

    reported: Mapping[str, Any] = MappingProxyType({})
    """Check states by step name that ``Reporter.report`` had brought about when it was stopped."""


class Ignorable(ConductorError):
    """There is nothing to do, and that is fine."""


class Retryable(ConductorError):
    """A passing fault.

    ``retry_after`` is in seconds and None if nobody said; ``dependency`` names the circuit breaker
    that counts it, e.g. ``github`` or ``anthropic``.
    """

    def __init__(
        self, message: str, *, retry_after: float | None = None, dependency: str | None = None
    ) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        self.dependency = dependency


class Ambiguous(Retryable):
    """The connection broke after a write was sent; it may or may not have happened."""


class LeaseLost(Retryable):
    """The lease on a message was lost, so whatever was done under it must not be stored."""

    def __init__(self, message_id: str) -> None:
        super().__init__(f"The lease on message {message_id!r} was lost to another worker.")
        self.message_id = message_id


class Conflict(Retryable):
    """A record changed between reading and writing it; ``actual`` is its version, 0 if absent."""

    def __init__(self, key: str, *, expected: int, actual: int) -> None:
        super().__init__(f"Record {key!r} is at version {actual}, not {expected}; read it again.")
        self.key = key
        self.expected = expected
        self.actual = actual


class Parked(ConductorError):
    """A limit was hit: nothing for ``scope`` may be sent before ``until`` (aware, UTC).

    ``own`` says that this moment was given to this work alone, in a line with others.
    """

    def __init__(self, message: str, *, until: datetime, scope: str, own: bool = False) -> None:
        super().__init__(message)
        self.until = until
        self.scope = scope
        self.own = own


class Dropped(ConductorError):
    """The installation, repository or permission is gone; queued work for it has no reader."""


class UserError(ConductorError):
    """Something only the user can mend; the message is shown to them as it is."""


class BudgetExceeded(UserError):
    """The next model call could cost more than what is left."""

    def __init__(self, *, needed_usd: float, left_usd: float) -> None:
        super().__init__(
            f"The budget has {left_usd:.4f} USD left and the next model call could cost "
            f"{needed_usd:.4f} USD; raise `budget` in .conductor.yml or make the change smaller."
        )
        self.needed_usd = needed_usd
        self.left_usd = left_usd


class ModelUnavailable(UserError):
    """No model of the chain gave a usable answer."""


class ModelRefused(UserError):
    """The provider takes the key or the model's name for wrong until the operator mends that.

    No other model of a chain is asked, so that nobody overlooks it; whoever wrote the change under
    review can do nothing about it.
    """


class NotStored(ConductorError):
    """The store did not take a record durably; answer the sender so that it keeps the original."""
