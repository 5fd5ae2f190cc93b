"""Brings in what GitHub could not hand over: lists failed deliveries and asks for them again.

GitHub repeats nothing by itself and advises to do this on a schedule:
https://docs.github.com/webhooks/using-webhooks/handling-failed-webhook-deliveries
"""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol, TypeVar

import structlog
from pydantic import AwareDatetime

from bot.deliveries.delivery import delivery_key
from bot.github.errors import Invalid, NotFound
from bot.github.hook_deliveries import KEPT, HookDelivery, Page
from pipelines.errors import Conflict
from pipelines.model import Frozen
from pipelines.ports import ABSENT, Batch, Clock, Write
from pipelines.stores.backend import StorageBackend, key

log = structlog.get_logger(__name__)

T = TypeVar("T")

GAP_SECONDS = 1.0
"""Between two requests for a redelivery."""
GRACE = timedelta(minutes=5)
"""How long a redelivery may take before it is asked for again; doubles with each that failed."""
LONGEST_GRACE = timedelta(hours=4)
MOST_ATTEMPTS = 8
"""How often one delivery is asked for while others get through."""
MOST_ASKED = 300
"""Redeliveries asked for in one pass, which bounds how long it takes."""
MOST_PAGES = 50
"""Pages of a hundred that one pass reads; the next one goes on where it stopped."""
LAG = timedelta(minutes=2)
"""How late a delivery may appear in GitHub's list: one that is under way is not in it."""

_MISSED = "undelivered/"
_PROGRESS = key("sweeper", "deliveries")


class Span(Frozen):
    """A stretch of GitHub's list that is still to be read, from a cursor back to a moment."""

    cursor: str = ""
    """"" is the newest."""
    until: AwareDatetime

    def after(self, page: Page) -> "Span | None":
        """Return what is left of the stretch when this page of it was read."""
        older = bool(page.deliveries) and page.deliveries[-1].delivered_at >= self.until
        return Span(cursor=page.cursor, until=self.until) if page.cursor and older else None


class Progress(Frozen):
    """How far GitHub's list was read: everything before ``until`` but what is ``left``."""

    until: AwareDatetime
    left: tuple[Span, ...] = ()


class Missed(Frozen):
    """A delivery that did not arrive, and what was done about it."""

    guid: str
    delivery_id: int
    """GitHub's number of the newest failed attempt."""
    failed_at: AwareDatetime
    """When the first failed attempt was made."""
    asked: int = 0
    """How often it was asked for while others got through."""
    asked_at: AwareDatetime | None = None

    def due(self, now: datetime) -> bool:
        """Whether it is time to ask for it (again)."""
        if self.asked >= MOST_ATTEMPTS:
            return False
        grace = min(GRACE * 2 ** max(self.asked - 1, 0), LONGEST_GRACE)
        return self.asked_at is None or self.asked_at + grace <= now


class Hook(Protocol):
    """The App's webhook as GitHub tells of it: ``bot.github.hook_deliveries``."""

    async def page(self, cursor: str = "") -> Page:
        """Return one page of deliveries, newest first."""
        ...

    async def redeliver(self, delivery_id: int) -> None:
        """Have GitHub send a delivery again."""
        ...


@dataclass(frozen=True, slots=True)
class Swept:
    """What one pass came to, in numbers of deliveries."""

    listed: int = 0
    missing: int = 0
    asked: int = 0


@dataclass(slots=True)
class _Listed:
    """What GitHub's list says; the newest attempt of a delivery decides, unless one arrived."""

    count: int = 0
    arrived: set[str] = field(default_factory=set[str])
    failed: dict[str, HookDelivery] = field(default_factory=dict[str, HookDelivery])
    outage: bool | None = None
    """Whether the newest attempt of all found nobody who could take it."""

    def take(self, deliveries: Iterable[HookDelivery]) -> None:
        """Note a page; newer pages come first."""
        for each in deliveries:
            self.count += 1
            if self.outage is None:
                self.outage = not (each.arrived or each.refused)
            if each.arrived:
                self.arrived.add(each.guid)
            else:
                self.failed.setdefault(each.guid, each)


@dataclass(frozen=True, slots=True)
class _Stored:
    missed: Missed
    version: int


class Sweeper:
    """Asks for each delivery of the last three days that failed and that we do not have.

    What was asked for is on record before it is asked, so that neither a restart nor a second
    worker asks twice. While nothing gets through, one delivery a pass is tried, and counted for
    nobody; as soon as that arrives, the next pass asks for all others.
    """

    def __init__(self, hook: Hook, store: StorageBackend, clock: Clock) -> None:
        self._hook = hook
        self._store = store
        self._clock = clock

    async def sweep(self) -> Swept:
        """Do one pass; harmless whenever, and beside another."""
        try:
            known = {one.missed.guid: one async for one in self._missed()}
            listed = await self._look(known)
            known = {one.missed.guid: one async for one in self._missed()}
            swept = Swept(listed.count, len(known), await self._ask(known, listed))
        except Conflict as conflict:
            log.info("another worker sweeps deliveries", key=conflict.key)
            return Swept()
        if swept.missing:
            log.info(
                "deliveries swept", listed=swept.listed, missing=swept.missing, asked=swept.asked
            )
        return swept

    # --- what GitHub says ------------------------------------------------------------------------

    async def _look(self, known: Mapping[str, _Stored]) -> _Listed:
        """Read what is new in GitHub's list, and keep what did not arrive."""
        now, (progress, version) = self._clock.now(), await self._progress()
        horizon = now - KEPT
        listed, left, pages = _Listed(), list[Span](), 0
        before = progress or Progress(until=horizon)
        for span in (Span(until=before.until), *before.left):
            rest: Span | None = Span(cursor=span.cursor, until=max(span.until, horizon))
            while rest is not None and pages < MOST_PAGES:
                page = await self._page(rest.cursor)
                listed.take(page.deliveries)
                rest, pages = rest.after(page), pages + 1
            left += [rest] if rest is not None else []
        await self._keep(known, listed)
        done = Progress(until=now - LAG, left=tuple(left))
        await self._store.commit(
            Batch(writes=[Write(_PROGRESS, done.model_dump_json().encode(), expect=version)])
        )
        return listed

    async def _page(self, cursor: str) -> Page:
        try:
            return await self._hook.page(cursor)
        except (NotFound, Invalid) as error:
            if not cursor:
                raise
            log.warning("cursor of deliveries refused", error=str(error))
            return Page((), "")

    async def _progress(self) -> tuple[Progress | None, int]:
        record = await self._store.get(_PROGRESS)
        if record is None:
            return None, ABSENT
        return Progress.model_validate_json(record.value), record.version

    async def _missed(self) -> AsyncIterator[_Stored]:
        async for _, record in self._store.scan(_MISSED):
            yield _Stored(Missed.model_validate_json(record.value), record.version)

    async def _keep(self, known: Mapping[str, _Stored], listed: _Listed) -> None:
        """Bring the records in line with the list."""
        writes = [_removal(known[guid]) for guid in listed.arrived if guid in known]
        for guid, failed in listed.failed.items():
            stored = known.get(guid)
            if guid in listed.arrived or (stored and stored.missed.delivery_id >= failed.id):
                continue
            missed = Missed(guid=guid, delivery_id=failed.id, failed_at=failed.delivered_at)
            if stored:
                missed = stored.missed.model_copy(update={"delivery_id": failed.id})
            writes.append(self._write(missed, stored.version if stored else ABSENT))
        for some in _hundreds(writes):
            await self._store.commit(Batch(writes=some))

    # --- asking ----------------------------------------------------------------------------------

    async def _ask(self, known: Mapping[str, _Stored], listed: _Listed) -> int:
        """Ask for what is due and return how many that were."""
        here = await self._here(list(known))
        removals = [_removal(known[guid]) for guid in here]
        for some in _hundreds(removals):
            await self._store.commit(Batch(writes=some))
        now = self._clock.now()
        due = [one for guid, one in known.items() if guid not in here and one.missed.due(now)]
        due.sort(key=lambda one: one.missed.failed_at)
        asked = 0
        for one in due[: 1 if listed.outage else MOST_ASKED]:
            if asked:
                await self._clock.sleep(GAP_SECONDS)
            asked += await self._redeliver(one, counted=not listed.outage)
        return asked

    async def _here(self, guids: Sequence[str]) -> set[str]:
        """Return those that were stored, though GitHub saw them fail."""
        found = set[str]()
        for some in _hundreds(guids):
            places = {delivery_key(guid): guid for guid in some}
            found |= {places[place] for place in await self._store.get_many(list(places))}
        return found

    async def _redeliver(self, one: _Stored, *, counted: bool) -> bool:
        """Ask for one delivery unless somebody else just did; whether it was asked for."""
        asked = one.missed.asked + 1 if counted else one.missed.asked
        claimed = one.missed.model_copy(update={"asked": asked, "asked_at": self._clock.now()})
        try:
            await self._store.commit(Batch(writes=[self._write(claimed, one.version)]))
        except Conflict:
            return False
        try:
            await self._hook.redeliver(claimed.delivery_id)
        except (NotFound, Invalid) as error:
            log.warning("delivery not repeated", guid=claimed.guid, error=str(error))
            hopeless = claimed.model_copy(update={"asked": MOST_ATTEMPTS})
            await self._store.commit(Batch(writes=[self._write(hopeless, one.version + 1)]))
        if asked == MOST_ATTEMPTS:
            log.error("delivery asked for the last time", guid=claimed.guid, attempts=asked)
        return True

    def _write(self, missed: Missed, version: int) -> Write:
        left = (missed.failed_at + KEPT - self._clock.now()).total_seconds()
        value = missed.model_dump_json().encode()
        return Write(_place(missed.guid), value, expect=version, ttl=max(left, 60.0))


def _place(guid: str) -> str:
    return _MISSED + key(guid)


def _removal(one: _Stored) -> Write:
    return Write(_place(one.missed.guid), None, expect=one.version)


def _hundreds(items: Sequence[T]) -> Iterable[Sequence[T]]:
    return (items[start : start + 100] for start in range(0, len(items), 100))
