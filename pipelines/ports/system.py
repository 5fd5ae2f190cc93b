"""Time, identity and randomness, passed in so that a test can own them."""

import random
from datetime import datetime
from typing import Protocol


class Clock(Protocol):
    """Time, passed in so that a test can own it."""

    def now(self) -> datetime:
        """The wall clock, aware, in UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds that never go backwards, from an arbitrary start."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return after so many seconds of this clock."""
        ...


class Ids(Protocol):
    """A source of unique identifiers: URL-safe, sortable by creation, at most 40 characters."""

    def __call__(self) -> str:
        """Return a new one."""
        ...


Rng = random.Random
"""Randomness is passed in; nothing draws from the global generator."""
