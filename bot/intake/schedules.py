"""Schedules: which workflows come due when, and the deliveries that start them.

What a repository's configuration says at the default branch is kept as one record, with the minute
up to which each schedule was fired. A due schedule becomes a delivery in the batch that moves that
minute on, so that any number of workers may look at the same time and one of them fires it.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from pydantic import AwareDatetime, Field, ValidationError

from bot.deliveries.delivery import SCHEDULES, Delivery
from bot.deliveries.inbox import batch_of
from bot.intake.configuration import in_force
from pipelines.config import cron
from pipelines.errors import Conflict
from pipelines.model import Actor, Change, Frozen, PushTrigger, Repository, ScheduleTrigger, Trigger
from pipelines.orchestration.bus.base import MessageBus
from pipelines.ports import Batch, Clock, Message, Versioned, Write
from pipelines.stores.backend import StorageBackend, key
from pipelines.stores.codec import decode, encode
from pipelines.stores.tenants import tenant_segments

log = structlog.get_logger(__name__)

PREFIX = "schedule/"
REFRESH = timedelta(days=1)
"""After so long a repository with schedules is read again, in case a push was not heard of."""
MAX_LOOKS = 500
"""Repositories of a new installation that are looked into at once; others are with their pushes."""

CLOCK = Actor(id=0, login="schedule", type="Bot")
"""Nobody's account: a schedule has no permission on any repository."""


class Scheduled(Frozen):
    """One workflow's schedule and the minute up to which it was fired."""

    workflow: str
    cron: str
    fired: AwareDatetime


class ScheduleRecord(Frozen):
    """The schedules of a repository, as its default branch had them at ``read_at``."""

    repository: Repository
    scheduled: tuple[Scheduled, ...]
    read_at: AwareDatetime
    schema_version: int = 1


class _Installation(Frozen):
    id: int = Field(ge=0)


class Due(Frozen):
    """The body of a delivery of our own: a schedule came due, or without one: look what there is.

    ``installation`` and ``repository`` say whose it is, as in GitHub's own bodies.
    """

    installation: _Installation
    repository: Repository
    workflow: str = ""
    cron: str = ""
    due_at: AwareDatetime

    def trigger(self, repository: Repository, delivery_id: str) -> ScheduleTrigger:
        """Return the trigger that it is in the repository as that is now."""
        return ScheduleTrigger(
            repository=repository,
            actor=CLOCK,
            delivery_id=delivery_id,
            occurred_at=self.due_at,
            workflow=self.workflow,
            cron=self.cron,
            due_at=self.due_at,
        )


@dataclass(frozen=True, slots=True)
class Known:
    """A repository's record as it was before its default branch was read."""

    key: str
    record: ScheduleRecord | None
    version: int


def due_in(body: bytes) -> Due | None:
    """Return what a delivery of our own says, None if it is not ours."""
    try:
        return decode(Due, body)
    except ValidationError:
        return None


class Schedules:
    """Keeps the records, and makes deliveries of what comes due."""

    def __init__(self, store: StorageBackend, bus: MessageBus, clock: Clock) -> None:
        self._store = store
        self._bus = bus
        self._clock = clock

    # --- what is known ---------------------------------------------------------------------------

    async def before(self, trigger: Trigger) -> Known | None:
        """Return what is known before the trigger's subject is read, if that is a default branch.

        Read first, stored last: a record that moved on in between makes the reader look again.
        """
        if not _about_default_branch(trigger):
            return None
        place = _key(trigger.repository.tenant)
        stored = await self._store.get(place)
        record = decode(ScheduleRecord, stored.value) if stored else None
        return Known(place, record, stored.version if stored else 0)

    def learned(self, known: Known | None, change: Change) -> Sequence[Write]:
        """Return what brings the record in line with the default branch as it was read now.

        What is new counts from now on; a file that is gone or broken has no schedules.
        """
        if known is None:
            return ()
        file, now = in_force(change).file, self._clock.now()
        fired = {
            (each.workflow, each.cron): each.fired
            for each in (known.record.scheduled if known.record else ())
        }
        scheduled = tuple(
            Scheduled(workflow=name, cron=on.cron, fired=fired.get((name, on.cron), now))
            for name, workflow in (file.workflows.items() if file else ())
            if (on := workflow.on.schedule) is not None
        )
        if not scheduled:
            return self.forgotten(known)
        record = ScheduleRecord(repository=change.repository, scheduled=scheduled, read_at=now)
        return (Write(known.key, encode(record), expect=known.version),)

    def forgotten(self, known: Known | None) -> Sequence[Write]:
        """Return what deletes the record, if there is one."""
        if known is None or known.record is None:
            return ()
        return (Write(known.key, None, expect=known.version),)

    async def forget(self, installation_id: int) -> None:
        """Delete the schedules of an installation that the App may not work for at the moment."""
        found = self._store.scan(f"{PREFIX}{key(str(installation_id))}/")
        for write in [Write(place, None) async for place, _ in found]:
            await self._bus.commit(Batch(writes=[write]))

    async def look(self, repositories: Iterable[Repository], occasion: str) -> int:
        """Have the default branches of repositories read; return of how many.

        Each once for an ``occasion``, however often this is called for it.
        """
        count = 0
        for repository in repositories:
            due = _due(repository, "", "", self._clock.now())
            delivery, body = self._delivery(due, occasion)
            count += await self._store_once(batch_of(delivery, repository.tenant, body))
        return count

    # --- what comes due --------------------------------------------------------------------------

    async def sweep(self) -> None:
        """Make a delivery of each schedule that has come due, once over all workers.

        Meant for once a minute. What was missed meanwhile is one delivery for each schedule.
        """
        now = self._clock.now()
        async for place, stored in self._store.scan(PREFIX):
            try:
                record = decode(ScheduleRecord, stored.value)
            except ValidationError:
                log.exception("schedule not readable", key=place)
                continue
            await self._fire(place, record, stored, now)

    async def _fire(
        self, place: str, record: ScheduleRecord, stored: Versioned, now: datetime
    ) -> None:
        moments = [cron.parse(each.cron).latest(each.fired, now) for each in record.scheduled]
        stale = now - record.read_at >= REFRESH
        if not stale and not any(moments):
            return
        pairs = list(zip(record.scheduled, moments, strict=True))
        dues = [_due(record.repository, e.workflow, e.cron, at) for e, at in pairs if at]
        if not dues:
            dues = [_due(record.repository, "", "", now)]
        after = record.model_copy(
            update={
                "scheduled": tuple(
                    each.model_copy(update={"fired": at or each.fired}) for each, at in pairs
                ),
                "read_at": now,
            }
        )
        batch = self._deliveries(dues, record.repository.tenant)
        moved = Write(place, encode(after), expect=stored.version)
        fired = await self._store_once(Batch([moved, *batch.writes], messages=batch.messages))
        if fired:
            log.info("schedules came due", key=place, workflows=[due.workflow for due in dues])

    def _deliveries(self, dues: Sequence[Due], tenant: str) -> Batch:
        writes: list[Write] = []
        messages: list[Message] = []
        for due in dues:
            delivery, body = self._delivery(due, due.due_at.isoformat())
            stored = batch_of(delivery, tenant, body)
            writes += stored.writes
            messages += stored.messages
        return Batch(writes=writes, messages=messages)

    def _delivery(self, due: Due, occasion: str) -> tuple[Delivery, bytes]:
        said = json.dumps([due.repository.tenant, due.workflow, due.cron, occasion])
        guid = f"schedule-{hashlib.sha256(said.encode()).hexdigest()[:40]}"
        now = self._clock.now()
        return Delivery(guid=guid, event=SCHEDULES, received_at=now), encode(due)

    async def _store_once(self, batch: Batch) -> bool:
        try:
            await self._bus.commit(batch)
        except Conflict:
            return False  # Another worker was faster, or the repository was read meanwhile.
        return True


def _due(repository: Repository, workflow: str, text: str, at: datetime) -> Due:
    return Due(
        installation=_Installation(id=repository.installation_id),
        repository=repository,
        workflow=workflow,
        cron=text,
        due_at=at,
    )


def _about_default_branch(trigger: Trigger) -> bool:
    if isinstance(trigger, PushTrigger):
        return trigger.branch == trigger.repository.default_branch
    return isinstance(trigger, ScheduleTrigger)


def _key(tenant: str) -> str:
    return PREFIX + key(*tenant_segments(tenant))
