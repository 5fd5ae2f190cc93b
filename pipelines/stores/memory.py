"""Storage in this process's memory: for tests, and gone with the process."""

import bisect
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from itertools import islice

from pipelines.errors import Conflict, LeaseLost, NotStored
from pipelines.ports import Append, Batch, Clock, Message, Versioned, Write
from pipelines.stores.backend import StorageBackend
from pipelines.stores.checks import check_batch, check_key

_PAGE = 100


class MemoryBackend(StorageBackend):
    """Dictionaries; a commit is atomic because nothing in it waits."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._records: dict[str, Versioned] = {}
        self._expiry: dict[str, float] = {}
        self._keys: list[str] = []
        self._logs: dict[str, deque[tuple[int, bytes]]] = {}
        self._messages: dict[str, Message] = {}
        self._closed = False

    async def get(self, key: str) -> Versioned | None:
        """Return the record, or None if there is none or it expired."""
        self._check_open()
        check_key(key)
        return self._live(key)

    async def get_many(self, keys: Sequence[str]) -> Mapping[str, Versioned]:
        """Return the records that exist."""
        self._check_open()
        for key in keys:
            check_key(key)
        found = ((key, self._live(key)) for key in keys)
        return {key: record for key, record in found if record is not None}

    async def scan(self, prefix: str, *, after: str = "") -> AsyncIterator[tuple[str, Versioned]]:
        """Yield live records under a prefix in key order."""
        last = after
        while page := self._page(prefix, last):
            for key in page:
                record = self._live(key)
                if record is not None:
                    yield key, record
            last = page[-1]

    async def read_log(
        self, log: str, *, after: int = 0, limit: int = 1000
    ) -> Sequence[tuple[int, bytes]]:
        """Return items of a log with their numbers, oldest first."""
        self._check_open()
        check_key(log)
        newer = (item for item in self._logs.get(log, ()) if item[0] > after)
        return list(islice(newer, limit))

    async def messages(self) -> Sequence[Message]:
        """Return every message that is not settled, in the order in which they were enqueued."""
        self._check_open()
        return list(self._messages.values())

    async def commit(self, batch: Batch) -> None:
        """Store the whole batch or nothing."""
        check_batch(batch)
        self._check_open()
        for write in batch.writes:
            live = self._live(write.key)
            actual = live.version if live else 0
            if write.expect is not None and write.expect != actual:
                raise Conflict(write.key, expected=write.expect, actual=actual)
        for lease in batch.settled:
            message = self._messages.get(lease.message.id)
            if message is None or message.attempts != lease.token:
                raise LeaseLost(lease.message.id)
        self._apply(batch)

    async def sweep(self) -> int:
        """Delete what has expired and return how many records that was."""
        self._check_open()
        now = self._clock.now().timestamp()
        expired = [key for key, at in self._expiry.items() if at <= now]
        for key in expired:
            self._delete(key)
        return len(expired)

    async def ping(self) -> None:
        """Return unless the store is closed."""
        self._check_open()

    async def close(self) -> None:
        """Refuse everything from now on."""
        self._closed = True

    def _check_open(self) -> None:
        if self._closed:
            raise NotStored("The store is closed.")

    def _live(self, key: str) -> Versioned | None:
        expiry = self._expiry.get(key)
        if expiry is not None and expiry <= self._clock.now().timestamp():
            return None
        return self._records.get(key)

    def _page(self, prefix: str, after: str) -> Sequence[str]:
        self._check_open()
        if after < prefix:
            start = bisect.bisect_left(self._keys, prefix)
        else:
            start = bisect.bisect_right(self._keys, after)
        page = self._keys[start : start + _PAGE]
        return [key for key in page if key.startswith(prefix)]

    def _apply(self, batch: Batch) -> None:
        for write in batch.writes:
            self._write(write)
        for append in batch.appends:
            self._append(append)
        for lease in batch.settled:
            del self._messages[lease.message.id]
        for message in batch.queued:
            self._messages[message.id] = message

    def _write(self, write: Write) -> None:
        before = self._live(write.key)
        if write.value is None:
            self._delete(write.key)
            return
        if write.key not in self._records:
            bisect.insort(self._keys, write.key)
        version = before.version + 1 if before else 1
        self._records[write.key] = Versioned(write.value, version)
        self._expiry.pop(write.key, None)
        if write.ttl is not None:
            self._expiry[write.key] = self._clock.now().timestamp() + write.ttl

    def _delete(self, key: str) -> None:
        self._expiry.pop(key, None)
        if self._records.pop(key, None) is not None:
            del self._keys[bisect.bisect_left(self._keys, key)]

    def _append(self, append: Append) -> None:
        items = self._logs.setdefault(append.log, deque())
        items.append((items[-1][0] + 1 if items else 1, append.item))
        while len(items) > append.keep:
            items.popleft()
