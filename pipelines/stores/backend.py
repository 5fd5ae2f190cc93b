"""The one interface to durable data; every implementation passes the same contract suite."""

import hashlib
import re
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping, Sequence
from functools import lru_cache
from urllib.parse import quote

from pipelines.ports import Batch, Message, Versioned

MAX_KEY = 512
"""Bytes in a key or a log's name."""

_MAX_SEGMENT = 100
_PLAIN = re.compile(rf"[A-Za-z0-9_.~@:+=,-]{{1,{_MAX_SEGMENT}}}")
"""What percent-encoding would leave as it is, which is nearly every segment."""


@lru_cache(maxsize=4096)
def key(*segments: str) -> str:
    """Join segments to a key in which no segment, whatever its text, reaches into another.

    What is not plain is percent-encoded; a segment that would be too long becomes its SHA-256.
    Neither mark below can come out of percent-encoding, so no two texts share a segment.
    """
    return "/".join(_segment(text) for text in segments)


def _segment(text: str) -> str:
    if _PLAIN.fullmatch(text):
        return text
    if not text:
        return "%"
    plain = quote(text, safe="@:+=,", errors="surrogatepass")
    if len(plain) <= _MAX_SEGMENT:
        return plain
    return "%h" + hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()


class StorageBackend(ABC):
    """Versioned records, bounded logs and queued messages under one atomic ``commit``.

    Keys are ``/``-separated, at most 512 bytes of printable ASCII; values are bytes. Every method
    raises ``NotStored`` when the store is out of reach or full, and then nothing was changed.
    """

    @abstractmethod
    async def get(self, key: str) -> Versioned | None:
        """Return the record, or None if there is none or it expired."""

    @abstractmethod
    async def get_many(self, keys: Sequence[str]) -> Mapping[str, Versioned]:
        """Return the records that exist, in one round trip."""

    @abstractmethod
    def scan(self, prefix: str, *, after: str = "") -> AsyncIterator[tuple[str, Versioned]]:
        """Yield live records under a prefix in key order, from the first key above ``after``.

        Reads page by page: a record that changes meanwhile is seen before or after its change.
        """

    @abstractmethod
    async def read_log(
        self, log: str, *, after: int = 0, limit: int = 1000
    ) -> Sequence[tuple[int, bytes]]:
        """Return items of a log with their numbers, oldest first; numbers grow and never repeat."""

    @abstractmethod
    async def messages(self) -> Sequence[Message]:
        """Return every message that is not settled, in the order in which they were enqueued."""

    @abstractmethod
    async def commit(self, batch: Batch) -> None:
        """Store the whole batch durably or nothing.

        Raises ``Conflict`` if an expected version does not hold, ``LeaseLost`` if a settled lease's
        token is not the message's current one or the message is gone.
        """

    @abstractmethod
    async def sweep(self) -> int:
        """Delete what has expired and return how many records that was."""

    @abstractmethod
    async def ping(self) -> None:
        """Return if a write would be accepted now; raises ``NotStored`` with the reason if not."""

    async def fullness(self) -> float:
        """Return which share of the room that it could have the store takes, 0 to 1.

        0 where nobody knows. Cheap enough to be asked each second; raises ``NotStored``.
        """
        return 0.0

    @abstractmethod
    async def close(self) -> None:
        """Finish what was accepted and release everything; safe to call twice."""
