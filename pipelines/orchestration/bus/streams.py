"""The bus of many processes: queues in one Redis or Valkey, leases on its streams' ledgers.

What waits is sorted in lanes; what is leased is an entry of its queue's stream, pending with the
consumer group under the name of the worker that holds it. Every step is one script, so that a
message is in one place at any time, whoever dies. See ``pipelines/redis/lua``.
"""

import json
import logging
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from typing import Any
from uuid import uuid4

from pydantic import JsonValue, ValidationError

from pipelines.errors import LeaseLost, NotStored
from pipelines.orchestration.bus.base import READABLE_VERSION, Caps, Handler, MessageBus
from pipelines.orchestration.bus.dead import burial
from pipelines.orchestration.bus.remote_topics import RemoteTopics
from pipelines.orchestration.bus.shielded import Shielded
from pipelines.orchestration.bus.timers import Timer, Timers
from pipelines.orchestration.bus.waiting import Waiting
from pipelines.ports import Batch, Clock, Lease, Message
from pipelines.redis import scripts
from pipelines.redis.channels import Channels
from pipelines.redis.commits import milliseconds, shelf
from pipelines.redis.keyspace import Keyspace
from pipelines.stores.backend import StorageBackend
from pipelines.stores.codec import decode

_LOG = logging.getLogger(__name__)

_LOOKS_A_LEASE = 4
"""How often a claim that hears no bell looks by itself, in the time of its lease."""


class RedisBus(MessageBus):
    """Leased queues that any number of processes share; ``worker`` names this one."""

    def __init__(
        self,
        backend: StorageBackend,
        keyspace: Keyspace,
        clock: Clock,
        worker: str,
        *,
        readable: int = READABLE_VERSION,
    ) -> None:
        """``readable`` is the latest form of messages that this process claims."""
        self._backend = backend
        self._keyspace = keyspace
        self._clock = clock
        self._worker = worker
        self._versions = range(1, readable + 1)
        self._timers = Timers(clock)
        self._channels = Channels(keyspace.connection, clock)
        self._topics = RemoteTopics(
            keyspace.connection, self._channels, self._timers, f"{worker}/{uuid4().hex}"
        )
        self._waiting = Waiting(self._timers)
        self._alarms: dict[str, Timer] = {}
        self._exhausted: dict[tuple[tuple[str, ...], Caps | None], tuple[int, float]] = {}
        """What had rung, and when, as the last claim of these queues was sent: it left nothing
        behind, or it has rung since."""
        self._shielded = Shielded()
        self._closed = False

    async def start(self) -> None:
        """Listen for new work, and remove what workers left that hold nothing."""
        await self._keyspace.write(scripts.TIDY, [])
        await self._channels.listen("bell", self._heard, self._waiting.wake_all)

    async def close(self) -> None:
        """Wake and end all waiting claims, subscriptions and requests; finish what is stored.

        What this worker still holds stays leased until it is renewed no more.
        """
        if self._closed:
            return
        self._closed = True
        self._waiting.wake_all()
        await self._shielded.close()
        await self._topics.close()
        await self._channels.aclose()
        await self._timers.close()
        try:
            await self._keyspace.write(scripts.TIDY, [])
        except NotStored as error:
            _LOG.info("consumer %s is left to others to remove: %s", self._worker, error)

    # work queues

    async def commit(self, batch: Batch) -> None:
        """Store the batch atomically; its messages are claimable and settled ones gone with it.

        A cancelled caller does not undo it: the batch is stored or refused all the same.
        """
        if self._closed:
            raise NotStored("The bus is closed.")
        await self._shielded.finish(self._backend.commit(batch))

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
        del early  # The server claims and counts in one step.
        deadline = self._clock.monotonic() + wait
        names, bell = tuple(dict.fromkeys(queues)), None
        look = lease / _LOOKS_A_LEASE
        try:
            while not self._closed:
                # It rings also for what is committed while the script is on its way.
                with self._waiting.bell(names) as bell:
                    if wait <= 0 or not self._is_exhausted(names, caps, look):
                        work = self._claim(names, limit, lease, caps)
                        if leases := await self._shielded.finish(work, self._give_back):
                            return leases
                    left = deadline - self._clock.monotonic()
                    if left <= 0 or self._closed:
                        break
                    await bell.wait(min(left, look))
            return []
        finally:
            for queue in names if bell is not None and bell.rung else ():
                self._waiting.pass_on(queue)

    async def renew(self, lease: Lease, seconds: float) -> Lease:
        """Return the lease extended to so many seconds from now; raises ``LeaseLost``."""
        ends = self._clock.monotonic() + seconds
        words = [lease.message.id, lease.token, lease.number, self._worker, milliseconds(seconds)]
        _check(await self._keyspace.write(scripts.RENEW, [self._keyspace.now(), *words]), lease)
        return replace(lease, expires_at=ends, seconds=seconds)

    async def release(self, lease: Lease, *, delay: float = 0.0) -> None:
        """Give the message back, claimable after ``delay`` seconds; raises ``LeaseLost``."""
        later = milliseconds(delay) if delay > 0 else 0
        words = [self._keyspace.now(), "", lease.message.id, lease.token, lease.number, later]
        _check(await self._keyspace.write(scripts.RELEASE, words, again_at=1), lease)

    async def bury(self, lease: Lease, reason: str) -> None:
        """Move the message to the dead letters, with the reason; raises ``LeaseLost``."""
        letter = burial(lease.message, reason, self._clock)
        await self.commit(Batch(writes=[letter], settled=[lease]))

    async def depth(self) -> dict[str, int]:
        """Return how many unsettled messages each queue has."""
        found = await self._keyspace.read(scripts.DEPTH, [])
        pairs = zip(found[::2], found[1::2], strict=True)
        return {queue.decode(): int(number) for queue, number in pairs}

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

    # claiming

    def _is_exhausted(self, queues: tuple[str, ...], caps: Caps | None, look: float) -> bool:
        """Whether the last claim left nothing behind, lately, and nothing has rung since."""
        rings, since = self._exhausted.get((queues, caps), (-1, 0.0))
        return rings == self._waiting.rings(queues) and self._clock.monotonic() < since + look

    async def _claim(
        self, queues: tuple[str, ...], limit: int, seconds: float, caps: Caps | None
    ) -> Sequence[Lease]:
        shelves = [shelf(queue, version) for queue in queues for version in self._versions]
        limits = (caps.per_tenant, caps.per_installation) if caps else (None, None)
        room = ["" if cap is None else cap for cap in limits]
        now, rings = self._clock.monotonic(), self._waiting.rings(queues)
        ends = now + seconds
        words = [self._keyspace.now(), "", uuid4().hex, self._worker, milliseconds(seconds)]
        answer = await self._keyspace.write(
            scripts.CLAIM, [*words, limit, *room, *shelves], again_at=1
        )
        at, more, times, found = answer
        self._exhausted[queues, caps] = (rings, now)
        self._set_alarms(queues, at, times)
        if more:
            self._wake(queues)
        rows = zip(found[::3], found[1::3], found[2::3], strict=True)
        leases = (_lease(body, int(token), int(number), ends) for body, token, number in rows)
        return [replace(lease, seconds=seconds) for lease in leases if lease is not None]

    def _set_alarms(self, queues: Sequence[str], now: int, times: Sequence[Any]) -> None:
        """Wake a claim when the next message of a queue comes due or its next lease runs out."""
        for at, queue in enumerate(queues):
            self._timers.cancel(self._alarms.pop(queue, None))
            of_queue = times[at * len(self._versions) : (at + 1) * len(self._versions)]
            if due := [int(time) for time in of_queue if time != b""]:
                wait = max(0, min(due) - now) / 1000
                self._alarms[queue] = self._timers.after(
                    wait, lambda queue=queue: self._waiting.wake(queue)
                )

    def _wake(self, queues: Iterable[str]) -> None:
        for queue in queues:
            self._waiting.wake(queue)

    def _heard(self, payload: bytes) -> None:
        """Wake as many claims as another process, or this one, says there is work for."""
        for queue, number in json.loads(payload).items():
            self._waiting.wake(queue, number)

    def _give_back(self, leases: Sequence[Lease]) -> None:
        """Let others have what was claimed for a caller that went away meanwhile."""
        for lease in leases:
            self._shielded.begin(self._release_abandoned(lease))

    async def _release_abandoned(self, lease: Lease) -> None:
        try:
            await self.release(lease)
        except (LeaseLost, NotStored) as error:
            _LOG.info("message %s comes back when its lease ends: %s", lease.message.id, error)


def _check(answer: bytes, lease: Lease) -> None:
    if answer == b"lost":
        raise LeaseLost(lease.message.id)


def _lease(body: bytes, token: int, number: int, ends: float) -> Lease | None:
    """Return the lease, or None for a message in a form that this version cannot read.

    That one stays leased, so it is looked at once a lease until a version comes that can.
    """
    try:
        message = decode(Message, body)
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]["msg"]
        _LOG.warning("a message stays pending, as this version cannot read it: %s", problem)
        return None
    return Lease(message.model_copy(update={"attempts": token}), ends, number)
