"""The real clock and the real identifiers; everything else is given them."""

import asyncio
import random
import time
from datetime import UTC, datetime

from pipelines.ports import Clock

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"


class SystemClock:
    """Time as the machine has it."""

    def now(self) -> datetime:
        """The wall clock in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """The loop's kind of time."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Sleep for so many seconds."""
        await asyncio.sleep(seconds)


class SortableIds:
    """26 characters of Crockford base 32: 48 bits of milliseconds, then 80 random bits.

    The layout is that of a ULID (https://github.com/ulid/spec), in lower case.
    """

    def __init__(self, clock: Clock | None = None, rng: random.Random | None = None) -> None:
        self._clock: Clock = clock or SystemClock()
        self._rng = rng or random.SystemRandom()

    def __call__(self) -> str:
        """Return a new identifier, sortable by millisecond of creation."""
        number = int(self._clock.now().timestamp() * 1000) << 80 | self._rng.getrandbits(80)
        return "".join(_ALPHABET[number >> shift & 31] for shift in range(125, -1, -5))
