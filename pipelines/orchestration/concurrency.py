"""Concurrency groups: runs of one repository of which one at a time may work.

A run enters its group in the batch that stores it: it begins, or it waits without one step of it
begun, or it replaces who is there. Whose turn it is next is decided in the batch that stores the
end of the run before it, so that no crash leaves a group without a holder that has one waiting.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from pipelines.model import Frozen, StepState, WorkflowRun
from pipelines.orchestration import keys
from pipelines.orchestration.records import read
from pipelines.ports import Versioned, Write
from pipelines.stores.codec import encode

KEPT_SECONDS = 24 * 3600.0
"""How long an empty group is remembered, so that nobody decides on a version that was reused."""

Get = Callable[[str], Awaitable[Versioned | None]]
Live = Callable[[str, str], Awaitable[WorkflowRun | None]]
"""Returns the run of a tenant as the decision has it, or None if it is not live."""


class ConcurrencyRecord(Frozen):
    """Which run of a group works, and which one is next."""

    holder: str | None = None
    waiting: str | None = None
    version: int = Field(default=0, ge=0)
    """The store's version when it was read; 0 for a record that is new."""
    schema_version: Literal[1] = 1


@dataclass(frozen=True, slots=True)
class Entry:
    """What follows from a run's entering its group: who goes, and which run begins, if any."""

    replaced: tuple[str, ...] = ()
    begins: str | None = None


def waits_for_turn(run: WorkflowRun) -> bool:
    """Whether the run has not begun because another one of its group works."""
    if run.concurrency_group is None or not run.live:
        return False
    return all(step.state is StepState.PENDING for step in run.steps)


def waiting(run: WorkflowRun) -> WorkflowRun:
    """Return a run that has not begun with the reason on the steps that would be first."""
    title = f"Waits for another run in the concurrency group {run.concurrency_group!r}"
    steps = tuple(
        step if step.needs else step.model_copy(update={"title": title}) for step in run.steps
    )
    return run.model_copy(update={"steps": steps})


class Turns:
    """The groups that one decision touches, as they will be once it is stored."""

    def __init__(self, get: Get, live: Live) -> None:
        self._get = get
        self._live = live
        self._records: dict[str, ConcurrencyRecord] = {}
        self._changed: set[str] = set()

    async def enter(self, run: WorkflowRun, *, cancel: bool) -> Entry:
        """Take the group, the place behind who has it, or with ``cancel`` everybody's place."""
        place, record = await self._of(run)
        others = [other for other in (record.holder, record.waiting) if other not in (None, run.id)]
        live = [other for other in others if other and await self._live(_tenant(run), other)]
        if cancel or not live:
            self._set(place, record, holder=run.id, waiting=None)
            return Entry(replaced=tuple(live), begins=run.id)
        # Usually the holder; if that one is gone, who waited for it goes first.
        first, *rest = live
        self._set(place, record, holder=first, waiting=run.id)
        return Entry(replaced=tuple(rest), begins=first if first != record.holder else None)

    async def resume(self, run: WorkflowRun) -> bool:
        """Return whether a run that waits begins, because nobody is left who would let it."""
        place, record = await self._of(run)
        holder = record.holder and await self._live(_tenant(run), record.holder)
        if not holder or record.holder == run.id:
            rest = None if record.waiting == run.id else record.waiting
            self._set(place, record, holder=run.id, waiting=rest)
            return True
        next_one = record.waiting and await self._live(_tenant(run), record.waiting)
        if not next_one:
            self._set(place, record, holder=record.holder, waiting=run.id)
        return False

    async def leave(self, run: WorkflowRun) -> str | None:
        """Give up the place of a run that ended; return the run that begins, if one waited."""
        place, record = await self._of(run)
        if record.waiting == run.id:
            self._set(place, record, holder=record.holder, waiting=None)
            return None
        if record.holder != run.id:
            return None
        next_one = record.waiting and await self._live(_tenant(run), record.waiting)
        begins = next_one.id if next_one else None
        self._set(place, record, holder=begins, waiting=None)
        return begins

    def writes(self) -> list[Write]:
        """Return what stores the groups, unless they changed since they were read."""
        found: Mapping[str, ConcurrencyRecord] = self._records
        return [_write(place, found[place]) for place in sorted(self._changed)]

    async def _of(self, run: WorkflowRun) -> tuple[str, ConcurrencyRecord]:
        assert run.concurrency_group is not None
        place = keys.concurrency_key(_tenant(run), run.concurrency_group)
        if place not in self._records:
            stored = await self._get(place)
            known = read(ConcurrencyRecord, place, stored) if stored else ConcurrencyRecord()
            version = stored.version if stored else 0
            self._records[place] = known.model_copy(update={"version": version})
        return place, self._records[place]

    def _set(
        self, place: str, record: ConcurrencyRecord, *, holder: str | None, waiting: str | None
    ) -> None:
        if (record.holder, record.waiting) != (holder, waiting):
            self._changed.add(place)
            update = {"holder": holder, "waiting": waiting}
            self._records[place] = record.model_copy(update=update)


def _write(place: str, record: ConcurrencyRecord) -> Write:
    value = encode(record.model_copy(update={"version": 0}))
    ttl = None if record.holder else KEPT_SECONDS
    return Write(place, value, expect=record.version, ttl=ttl)


def _tenant(run: WorkflowRun) -> str:
    return run.change.repository.tenant
