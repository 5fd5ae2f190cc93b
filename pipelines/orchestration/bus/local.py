"""The bus of one process: queues in memory, rebuilt from the store's messages at the start.

The store is asked before anything changes here. While a batch is being stored, nobody can claim
the messages it touches, so the store applies a claim and a replacement in the order seen here.
"""

import itertools
import logging
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace

from pydantic import JsonValue

from pipelines.errors import ConductorError, LeaseLost, NotStored
from pipelines.orchestration.bus.base import READABLE_VERSION, Caps, Handler, MessageBus
from pipelines.orchestration.bus.dead import burial
from pipelines.orchestration.bus.lanes import Entry, ReadyMessages
from pipelines.orchestration.bus.shielded import Shielded
from pipelines.orchestration.bus.timers import Timers
from pipelines.orchestration.bus.topics import Topics
from pipelines.orchestration.bus.waiting import Waiting
from pipelines.ports import Batch, Clock, Lease, Message
from pipelines.stores.backend import StorageBackend

_LOG = logging.getLogger(__name__)


class LocalBus(MessageBus):
    """Leased queues over a store that only this process uses."""

    def __init__(self, backend: StorageBackend, clock: Clock) -> None:
        self._backend = backend
        self._clock = clock
        self._timers = Timers(clock)
        self._topics = Topics(self._timers)
        self._ready = ReadyMessages()
        self._entries: dict[str, Entry] = {}
        self._depth: Counter[str] = Counter()
        self._changing: Counter[str] = Counter()
        """How many batches that touch a message are being stored, by its id."""
        self._waiting = Waiting(self._timers)
        self._shielded = Shielded()
        self._numbers = itertools.count(1)
        self._closed = False

    async def start(self) -> None:
        """Make all unsettled messages of the store claimable."""
        for message in await self._backend.messages():
            self._put(message)

    async def close(self) -> None:
        """Wake and end all waiting claims, subscriptions and requests; finish what is stored."""
        self._closed = True
        self._topics.close()
        self._waiting.wake_all()
        await self._shielded.close()
        await self._timers.close()

    # work queues

    async def commit(self, batch: Batch) -> None:
        """Store the batch atomically, then make its messages claimable and forget settled ones.

        A cancelled caller does not undo it: the batch is stored or refused all the same.
        """
        if self._closed:
            raise NotStored("The bus is closed.")
        settled = [self._held(lease) for lease in batch.settled]
        touched = [entry.message.id for entry in settled] + [m.id for m in batch.queued]
        batch = self._reminded(batch, settled)
        self._withhold(touched)
        await self._shielded.finish(self._commit(batch, settled, touched))

    async def claim(
        self,
        queues: Sequence[str],
        *,
        limit: int,
        wait: float,
        lease: float,
        caps: Caps | None = None,
        early: bool = False,
    ) -> Sequence[Lease]:
        """Return up to ``limit`` due messages, or none after ``wait`` seconds."""
        deadline = self._clock.monotonic() + wait
        try:
            while not self._closed:
                taken = self._take(queues, limit, caps or Caps())
                if taken and early:
                    return self._lease_early(taken, lease)
                if taken and (leases := await self._lease(taken, lease)):
                    return leases
                left = deadline - self._clock.monotonic()
                if left <= 0:
                    break
                if not taken:
                    with self._waiting.bell(queues) as bell:
                        await bell.wait(left)
            return []
        finally:
            # This claim may have been woken for a message that it leaves behind.
            for queue in queues:
                if self._ready.has(queue):
                    self._waiting.wake(queue)

    async def renew(self, lease: Lease, seconds: float) -> Lease:
        """Return the lease extended to so many seconds from now; raises ``LeaseLost``."""
        return self._hold(self._held(lease), seconds)

    async def release(self, lease: Lease, *, delay: float = 0.0) -> None:
        """Give the message back, claimable after ``delay`` seconds or a restart."""
        entry = self._held(lease)
        entry.due = self._clock.monotonic() + delay
        self._offer(entry)

    async def bury(self, lease: Lease, reason: str) -> None:
        """Move the message to the dead letters, with the reason; raises ``LeaseLost``."""
        letter = burial(self._held(lease).message, reason, self._clock)
        await self.commit(Batch(writes=[letter], settled=[lease]))

    async def depth(self) -> dict[str, int]:
        """Return how many unsettled messages each queue has."""
        return {queue: count for queue, count in self._depth.items() if count}

    # publish/subscribe and request/response

    async def publish(self, topic: str, payload: JsonValue) -> None:
        """Hand the payload to everybody who subscribed to the topic before now."""
        self._topics.publish(topic, payload)

    def subscribe(self, topic: str) -> AbstractAsyncContextManager[AsyncIterator[JsonValue]]:
        """Listen to a topic while the context is open; a slow listener loses its oldest items."""
        return self._topics.subscribe(topic)

    async def request(self, topic: str, payload: JsonValue, *, timeout: float) -> JsonValue:
        """Return the answer of one responder; raises ``Retryable`` after ``timeout`` seconds."""
        return await self._topics.request(topic, payload, timeout)

    def respond(self, topic: str, handler: Handler) -> AbstractAsyncContextManager[None]:
        """Answer requests on a topic while the context is open."""
        return self._topics.respond(topic, handler)

    # storing

    def _reminded(self, batch: Batch, settled: Sequence[Entry]) -> Batch:
        """Return the batch with reminders among its messages where they are needed now."""
        due = [entry.reminder for entry in settled if entry.reminder is not None]
        due += [each for each in batch.reminders if self._is_due(each, settled)]
        if not (due or batch.reminders):
            return batch
        messages = {message.id: message for message in batch.messages}
        for reminder in due:
            messages.setdefault(reminder.id, reminder)
        return replace(batch, messages=tuple(messages.values()), reminders=())

    def _is_due(self, reminder: Message, settled: Sequence[Entry]) -> bool:
        """Whether nothing waits for it; a holder that may not see the batch is followed by it."""
        entry = self._entries.get(reminder.id)
        if entry is None or entry in settled:
            return True
        if entry.leased_until is not None and reminder.id in self._changing:
            return True  # What is being stored settles it.
        if entry.taken:
            entry.reminder = reminder
        return False

    async def _commit(self, batch: Batch, settled: Iterable[Entry], touched: Iterable[str]) -> None:
        try:
            await self._backend.commit(batch)
            for entry in settled:
                self._forget(entry)
            for message in batch.messages:
                self._put(message)
        finally:
            self._readmit(touched)

    def _take(self, queues: Sequence[str], limit: int, caps: Caps) -> Sequence[Entry]:
        taken: list[Entry] = []
        while len(taken) < limit and (entry := self._ready.take(queues, caps)):
            taken.append(entry)
        return taken

    async def _lease(self, taken: Sequence[Entry], seconds: float) -> Sequence[Lease]:
        """Store that the messages were claimed once more, so that a crash is counted."""
        self._withhold(entry.message.id for entry in taken)
        return await self._shielded.finish(self._store_claims(taken, seconds), self._give_back)

    def _lease_early(self, taken: Sequence[Entry], seconds: float) -> Sequence[Lease]:
        """As ``_lease``, but not awaited: the store takes what the holders commit after it."""
        for entry in taken:
            entry.message = _claimed(entry.message)
        leases = [self._hold(entry, seconds) for entry in taken]
        self._shielded.begin(self._store_early(leases))
        return leases

    async def _store_early(self, leases: Sequence[Lease]) -> None:
        claimed = [lease.message for lease in leases]
        try:
            await self._backend.commit(Batch(messages=claimed))
        except ConductorError as error:
            _LOG.warning("claims are not stored and given back: %s", error)
            self._give_back(leases)

    async def _store_claims(self, taken: Sequence[Entry], seconds: float) -> Sequence[Lease]:
        claimed = [_claimed(entry.message) for entry in taken]
        leases: list[Lease] = []
        try:
            await self._backend.commit(Batch(messages=claimed))
            for entry, message in zip(taken, claimed, strict=True):
                if self._entries.get(message.id) is entry:
                    entry.message = message
                    leases.append(self._hold(entry, seconds))
        finally:
            self._readmit(message.id for message in claimed)
        return leases

    def _give_back(self, leases: Iterable[Lease]) -> None:
        """Let others have what was claimed for a caller that went away meanwhile."""
        for lease in leases:
            entry = self._entries.get(lease.message.id)
            if entry is not None and entry.number == lease.number:
                self._offer(entry)

    # where each message is

    def _put(self, message: Message) -> None:
        """Take in a stored message, in place of one with the same id."""
        number = next(self._numbers)
        before = self._entries.get(message.id)
        order = number if before is None else before.order
        if before is not None:
            self._forget(before)
        due = self._clock.monotonic()
        if message.not_before is not None:
            due += (message.not_before - self._clock.now()).total_seconds()
        entry = self._entries[message.id] = Entry(message, number, order, due)
        self._depth[message.queue] += 1
        self._offer(entry)

    def _forget(self, entry: Entry) -> None:
        if self._entries.get(entry.message.id) is entry:
            del self._entries[entry.message.id]
            self._depth[entry.message.queue] -= 1
            self._ready.remove(entry)
            self._free(entry)
            self._timers.cancel(entry.timer)

    def _free(self, entry: Entry) -> None:
        """Make room for another message of the entry's tenant."""
        for queue in self._ready.free(entry):
            self._waiting.wake(queue)

    def _withhold(self, ids: Iterable[str]) -> None:
        """Let nobody claim these messages before the store has decided about them."""
        for identity in ids:
            self._changing[identity] += 1
            if (entry := self._entries.get(identity)) is not None:
                self._ready.remove(entry)

    def _readmit(self, ids: Iterable[str]) -> None:
        now = self._clock.monotonic()
        for identity in ids:
            self._changing[identity] -= 1
            if self._changing[identity]:
                continue
            del self._changing[identity]
            entry = self._entries.get(identity)
            if entry is not None and (entry.leased_until is None or entry.leased_until <= now):
                self._offer(entry)

    def _offer(self, entry: Entry) -> None:
        """Make the message claimable as soon as it is due and nothing about it is being stored."""
        entry.leased_until = None
        self._free(entry)
        self._timers.cancel(entry.timer)
        message = entry.message
        if message.schema_version > READABLE_VERSION or message.id in self._changing:
            return
        wait = entry.due - self._clock.monotonic()
        if wait > 0:
            entry.timer = self._timers.after(wait, lambda: self._offer(entry))
        else:
            self._ready.add(entry)
            self._waiting.wake(message.queue)

    def _hold(self, entry: Entry, seconds: float) -> Lease:
        self._timers.cancel(entry.timer)
        entry.timer = self._timers.after(seconds, lambda: self._offer(entry))
        entry.leased_until = entry.timer.when
        return Lease(entry.message, entry.leased_until, entry.number, seconds)

    def _held(self, lease: Lease) -> Entry:
        """Return the entry that the lease is on, if it still is."""
        entry = self._entries.get(lease.message.id)
        if (
            entry is None
            or entry.number != lease.number
            or entry.message.attempts != lease.token
            or entry.leased_until is None
            or entry.leased_until <= self._clock.monotonic()
        ):
            raise LeaseLost(lease.message.id)
        return entry


def _claimed(message: Message) -> Message:
    return message.model_copy(update={"attempts": message.attempts + 1})
