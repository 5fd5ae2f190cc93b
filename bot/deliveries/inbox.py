"""Where a verified delivery becomes durable, exactly once, before it is answered."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from bot.deliveries.delivery import (
    QUEUE,
    Delivery,
    DeliveryStatus,
    body_key,
    delivery_key,
    priority_of,
)
from bot.deliveries.pressure import Pressure
from pipelines.errors import Conflict
from pipelines.ports import ABSENT, URGENT, Batch, Clock, Journal, Message, Write

REMEMBERED_SECONDS = 7 * 24 * 3600.0
"""How long a delivery is recognised; GitHub redelivers for 3 days, Enterprise Server for 7."""


@dataclass(frozen=True, slots=True)
class Triaged:
    """What a delivery says by itself: whose turn it takes, and why nothing is to be done, if so."""

    tenant: str
    reason: str | None = None


Triage = Callable[[str, str, bytes], Triaged]
"""Judges ``(event, guid, body)``; raises UserError if the body is malformed."""


class Verdict(StrEnum):
    """What the inbox did with a delivery."""

    STORED = "stored"
    DUPLICATE = "duplicate"
    IGNORED = "ignored"


@dataclass(frozen=True, slots=True)
class Accepted:
    """The inbox's answer, with the reason where nothing will happen."""

    verdict: Verdict
    reason: str = ""


class Inbox:
    """Stores deliveries; the same GUID, or the same signed body under another GUID, only once.

    The GUID is a header and so not covered by the signature: whoever captured a delivery can send
    it again under a new one, which is why the body's digest is remembered too.
    """

    def __init__(
        self, journal: Journal, clock: Clock, triage: Triage, pressure: Pressure | None = None
    ) -> None:
        """Without ``pressure`` there is always room, as far as the store takes it."""
        self._pressure = pressure
        self._journal = journal
        self._clock = clock
        self._triage = triage

    async def accept(self, guid: str, event: str, body: bytes) -> Accepted:
        """Store the delivery durably, or say why that is not needed.

        Raises UserError for a malformed body and NotStored when it could not be stored, before
        anything is stored if there is no room (Overloaded).
        """
        if self._pressure is not None:
            self._pressure.check(len(body), urgent=priority_of(event) == URGENT)
        accepted = await self._accept(guid, event, body)
        if self._pressure is not None and accepted.verdict is Verdict.STORED:
            self._pressure.took(len(body))
        return accepted

    async def _accept(self, guid: str, event: str, body: bytes) -> Accepted:
        triaged = self._triage(event, guid, body)
        reason = triaged.reason
        delivery = Delivery(
            guid=guid,
            event=event,
            received_at=self._clock.now(),
            status=DeliveryStatus.IGNORED if reason else DeliveryStatus.ACCEPTED,
            reason=reason or "",
            finished_at=self._clock.now() if reason else None,
        )
        try:
            await self._journal.commit(batch_of(delivery, triaged.tenant, body))
        except Conflict:
            return await self._seen_before(delivery, triaged.tenant, body)
        if reason:
            return Accepted(Verdict.IGNORED, reason)
        return Accepted(Verdict.STORED)

    async def _seen_before(self, delivery: Delivery, tenant: str, body: bytes) -> Accepted:
        """Take a redelivered dead letter in again; everything else is a duplicate."""
        stored = await self._journal.get(delivery_key(delivery.guid))
        if stored is None:
            return Accepted(Verdict.DUPLICATE, "this body was delivered before under another id")
        kept = await self._journal.get(body_key(delivery.guid))
        known = Delivery.model_validate_json(stored.value)
        same = kept is not None and kept.value == body
        if known.status is not DeliveryStatus.DEAD or not same:
            return Accepted(Verdict.DUPLICATE, "this delivery was accepted before")
        revived = Batch(
            writes=[_record(delivery, expect=stored.version)], messages=[_message(delivery, tenant)]
        )
        try:
            await self._journal.commit(revived)
        except Conflict:
            return Accepted(Verdict.DUPLICATE, "this delivery was accepted before")
        return Accepted(Verdict.STORED)


def batch_of(delivery: Delivery, tenant: str, body: bytes) -> Batch:
    """Return what stores a new delivery, once under its GUID and once with this body."""
    seen = Write(
        key=f"digest/{hashlib.sha256(body).hexdigest()}",
        value=delivery.guid.encode(),
        expect=ABSENT,
        ttl=REMEMBERED_SECONDS,
    )
    writes = [_record(delivery, expect=ABSENT), seen]
    if delivery.status is not DeliveryStatus.ACCEPTED:
        return Batch(writes=writes)
    kept = Write(key=body_key(delivery.guid), value=body, ttl=REMEMBERED_SECONDS)
    return Batch(writes=[*writes, kept], messages=[_message(delivery, tenant)])


def _record(delivery: Delivery, *, expect: int) -> Write:
    return Write(
        key=delivery_key(delivery.guid),
        value=delivery.model_dump_json().encode(),
        expect=expect,
        ttl=REMEMBERED_SECONDS,
    )


def _message(delivery: Delivery, tenant: str) -> Message:
    return Message(
        id=delivery_key(delivery.guid),
        queue=QUEUE,
        tenant=tenant,
        body={"guid": delivery.guid},
        priority=priority_of(delivery.event),
        enqueued_at=delivery.received_at,
    )
