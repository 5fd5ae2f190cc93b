"""Durable storage in Redis or Valkey, shared by any number of processes.

A commit is one script: it checks everything, then changes everything. What is written is in
``pipelines/redis/lua``; the messages of a batch are put where a bus of any process claims them.
"""

import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any
from uuid import uuid4

from pydantic import ValidationError

from pipelines.errors import NotStored
from pipelines.ports import Batch, Message, Versioned
from pipelines.redis import commits, scripts
from pipelines.redis.commits import Word
from pipelines.redis.durability import fullness
from pipelines.redis.keyspace import Keyspace
from pipelines.redis.scripts import Script
from pipelines.redis.shared import OnRedis
from pipelines.stores.backend import StorageBackend
from pipelines.stores.checks import check_batch, check_key
from pipelines.stores.codec import decode, encode

_LOG = logging.getLogger(__name__)

_PAGE = 100
_PAGE_BYTES = 4 * 2**20
_MESSAGES = 500
_SWEPT = 500


class RedisBackend(OnRedis, StorageBackend):
    """Records, logs and messages in one keyspace; with ``read_only`` nothing is ever changed."""

    def __init__(self, keyspace: Keyspace, *, read_only: bool = False) -> None:
        super().__init__(keyspace)
        self._run = keyspace
        self._read_only = read_only

    async def get(self, key: str) -> Versioned | None:
        """Return the record, or None if there is none or it expired."""
        return (await self.get_many((key,))).get(key)

    async def get_many(self, keys: Sequence[str]) -> Mapping[str, Versioned]:
        """Return the records that exist, in one round trip."""
        for key in keys:
            check_key(key)
        found = await self._run.read(scripts.READ, [self._run.now(), *keys])
        values = zip(keys, found[::2], found[1::2], strict=True)
        return {key: Versioned(value, int(version)) for key, value, version in values if version}

    async def scan(self, prefix: str, *, after: str = "") -> AsyncIterator[tuple[str, Versioned]]:
        """Yield live records under a prefix in key order, read page by page."""
        while True:
            words = [self._run.now(), prefix, after, _PAGE, _PAGE_BYTES]
            last, found = await self._run.read(scripts.SCAN, words)
            for key, value, version in zip(found[::3], found[1::3], found[2::3], strict=True):
                yield key.decode(), Versioned(value, int(version))
            if not last:
                return
            after = last.decode()

    async def read_log(
        self, log: str, *, after: int = 0, limit: int = 1000
    ) -> Sequence[tuple[int, bytes]]:
        """Return items of a log with their numbers, oldest first."""
        check_key(log)
        found = await self._run.read(scripts.LOG, [log, after, limit])
        return list(zip(found[::2], found[1::2], strict=True))

    async def messages(self) -> Sequence[Message]:
        """Return every message that is not settled, in the order in which they were enqueued.

        One that this version cannot read is left where it is, for the version that can.
        """
        messages: list[Message] = []
        after = b"-inf"
        while after:
            after, found = await self._run.read(scripts.MESSAGES, [after, _MESSAGES])
            for identity, body, attempts in zip(found[::3], found[1::3], found[2::3], strict=True):
                try:
                    message = decode(Message, body)
                except ValidationError as error:
                    _LOG.warning(
                        "message %s (claimed %s times) stays pending, as this version cannot "
                        "read it: %s",
                        identity.decode(),
                        attempts.decode(),
                        error.errors(include_url=False, include_input=False)[0]["msg"],
                    )
                else:
                    messages.append(message.model_copy(update={"attempts": int(attempts)}))
        return messages

    async def commit(self, batch: Batch) -> None:
        """Store the whole batch durably or nothing."""
        check_batch(batch)
        bodies = [encode(message) for message in batch.queued]
        words = commits.words(batch, bodies, self._run.now(), uuid4().hex)
        commits.check(await self._write(scripts.COMMIT, words), batch)

    async def sweep(self) -> int:
        """Delete what has expired, a page a script, and consumers that hold nothing.

        Returns how many records that was.
        """
        await self._write(scripts.TIDY, [])
        total = 0
        while count := await self._write(scripts.SWEEP, [self._run.now(), _SWEPT]):
            total += count
        return total

    async def ping(self) -> None:
        """Write one key; raises ``NotStored`` with the reason if that is impossible."""
        await self._write(scripts.PING, [])

    async def fullness(self) -> float:
        """Return which share of the server's ``maxmemory`` is used, whoever uses it."""
        return await fullness(self._run.connection)

    async def close(self) -> None:
        """Finish what was accepted and release the connections."""
        await self._run.close()

    async def _write(self, script: Script, words: Sequence[Word]) -> Any:
        if self._read_only:
            raise NotStored("The store was opened for reading only.")
        return await self._run.write(script, words)
