"""After the store was lost: every open pull request that is owed something is taken up again.

GitHub is the truth. A store that does not know when it was born is a new one, and then each
installation's open pull requests are looked through, once; later, from time to time, only for
checks whose run is not on record. ``docs/decisions/0008-what-is-taken-up-after-a-loss.md``.
"""

import hashlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Protocol

import structlog
from pydantic import AwareDatetime, Field

from bot.deliveries.delivery import Delivery
from bot.deliveries.inbox import batch_of
from bot.github.census import Installed, OpenPull
from bot.intake.recovery import EVENT, RECOVERIES
from pipelines.errors import ConductorError, Conflict, Dropped, Ignorable, NotStored
from pipelines.model import Frozen, PullRequestTrigger, Repository
from pipelines.orchestration import keys
from pipelines.orchestration.bus.base import MessageBus
from pipelines.orchestration.work import RECOVERED
from pipelines.ports import ABSENT, PATIENT, Batch, Clock, Write
from pipelines.stores.backend import StorageBackend, key

log = structlog.get_logger(__name__)

RECENT = timedelta(days=3)
"""How old a pull request may be of which we know nothing: as long as GitHub repeats deliveries."""
WALK_EVERY = timedelta(hours=6)
"""Between two walks in search of checks that no run will end."""

_BIRTH = key("birth")


class Sights(Protocol):
    """What the App can see: ``bot.github.census``."""

    def installations(self) -> AsyncIterator[Installed]:
        """Yield the installations that are not suspended."""
        ...

    def repositories(self, installation: int) -> AsyncIterator[Repository]:
        """Yield the repositories of an installation that take writes."""
        ...

    def open_pulls(self, repository: Repository) -> AsyncIterator[OpenPull]:
        """Yield the open pull requests of a repository."""
        ...


class Walk(Frozen):
    """One look through all open pull requests, and how far it came."""

    at: AwareDatetime
    first: bool = True
    """Whether nothing at all was known when it began."""
    finished: bool = False
    reached: Mapping[str, int] = Field(default_factory=dict[str, int])
    """By installation, the highest id of a repository that was looked through."""
    seen: tuple[str, ...] = ()
    """Installations that were looked through."""


class Convergence:
    """Finds what is owed and leaves it to the queue; harmless whenever, and beside another."""

    def __init__(
        self, sights: Sights, store: StorageBackend, bus: MessageBus, clock: Clock
    ) -> None:
        self._sights = sights
        self._store = store
        self._bus = bus
        self._clock = clock

    async def sweep(self) -> int:
        """Walk if it is time to; return how many pull requests are taken up again."""
        try:
            walk, version = await self._walk()
            return 0 if walk.finished else await self._look_through(walk, version)
        except Conflict as conflict:
            log.info("another worker looks through pull requests", key=conflict.key)
            return 0

    async def _walk(self) -> tuple[Walk, int]:
        """Return the walk under way, or a new one if it is time for it."""
        now, record = self._clock.now(), await self._store.get(_BIRTH)
        if record is None:
            log.warning("the store is new; open pull requests are looked through")
            return await self._kept(Walk(at=now), ABSENT)
        walk = Walk.model_validate_json(record.value)
        if walk.finished and walk.at + WALK_EVERY <= now:
            return await self._kept(Walk(at=now, first=False), record.version)
        return walk, record.version

    async def _kept(self, walk: Walk, version: int) -> tuple[Walk, int]:
        """Store how far the walk came; Conflict if somebody else walks too."""
        write = Write(_BIRTH, walk.model_dump_json().encode(), expect=version)
        await self._store.commit(Batch(writes=[write]))
        return walk, version + 1

    # --- walking ---------------------------------------------------------------------------------

    async def _look_through(self, walk: Walk, version: int) -> int:
        taken, whole = 0, True
        async for installed in self._sights.installations():
            name = str(installed.id)
            if name in walk.seen:
                continue
            try:
                async for repository in self._left(walk, installed):
                    taken += await self._repository(walk, installed, repository)
                    reached = {**walk.reached, name: repository.id}
                    walk, version = await self._kept(
                        walk.model_copy(update={"reached": reached}), version
                    )
            except (Conflict, NotStored):
                raise
            except Dropped as why:
                log.info("installation left out", installation=name, reason=str(why))
            except ConductorError as error:
                # Its turn comes again with the next sweep; the others need not wait for it.
                log.warning("installation put off", installation=name, reason=str(error))
                whole = False
                continue
            seen = walk.model_copy(update={"seen": (*walk.seen, name)})
            walk, version = await self._kept(seen, version)
        if whole:
            await self._kept(Walk(at=walk.at, first=walk.first, finished=True), version)
        log.info("open pull requests looked through", taken_up=taken, finished=whole)
        return taken

    async def _left(self, walk: Walk, installed: Installed) -> AsyncIterator[Repository]:
        """Yield the installation's repositories that were not looked through, by their ids."""
        found = [each async for each in self._sights.repositories(installed.id)]
        for repository in sorted(found, key=lambda each: each.id):
            if repository.id > walk.reached.get(str(installed.id), -1):
                yield repository

    async def _repository(self, walk: Walk, installed: Installed, repository: Repository) -> int:
        taken = 0
        try:
            async for pull in self._sights.open_pulls(repository):
                if await self._owed(walk, installed, pull):
                    taken += await self._take_up(walk, pull)
        except Ignorable as why:
            log.info("repository left out", repository=repository.full_name, reason=str(why))
        return taken

    async def _owed(self, walk: Walk, installed: Installed, pull: OpenPull) -> bool:
        """Whether something is missing on the pull request that it would have without the loss."""
        if pull.unfinished:
            return not await self._known(pull)
        if pull.checks or not walk.first:
            return False
        return pull.own or pull.opened_at >= max(installed.since, walk.at - RECENT)

    async def _known(self, pull: OpenPull) -> bool:
        """Whether every unfinished check has a run on record, which will bring it to its end."""
        tenant = pull.repository.tenant
        places = {
            keys.run_key(tenant, external_id.partition("/")[0]) for external_id in pull.unfinished
        }
        return len(await self._store.get_many(list(places))) == len(places)

    async def _take_up(self, walk: Walk, pull: OpenPull) -> bool:
        """Store it as a delivery of our own, once a walk and head; whether that was new."""
        trigger = _trigger(pull, walk.at)
        delivery = Delivery(guid=trigger.delivery_id, event=EVENT, received_at=self._clock.now())
        tenant, body = pull.repository.tenant, trigger.model_dump_json().encode()
        batch = batch_of(delivery, tenant, body)
        messages = [
            message.model_copy(update={"queue": RECOVERIES, "priority": PATIENT})
            for message in batch.messages
        ]
        try:
            await self._bus.commit(replace(batch, messages=messages))
        except Conflict:
            return False
        return True


def _trigger(pull: OpenPull, at: datetime) -> PullRequestTrigger:
    named = f"{at.isoformat()}/{pull.repository.tenant}/{pull.number}/{pull.head_sha}"
    return PullRequestTrigger(
        repository=pull.repository,
        actor=pull.author,
        delivery_id=f"recovery-{hashlib.sha256(named.encode()).hexdigest()[:40]}",
        action=RECOVERED,
        number=pull.number,
        head_sha=pull.head_sha,
        head_ref=pull.head_ref,
        base_ref=pull.base_ref,
        base_sha=pull.base_sha,
        head_repository_id=pull.head_repository_id,
        author=pull.author,
        draft=pull.draft,
    )
