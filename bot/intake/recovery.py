"""A pull request taken up again: its lost checks are ended, and what it is owed begins anew."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import structlog
from pydantic import ValidationError

from bot.deliveries.delivery import Delivery, DeliveryStatus, body_key, delivery_key
from bot.deliveries.inbox import REMEMBERED_SECONDS
from bot.events.filters import AppIdentity
from bot.intake.bodiless import ended
from bot.intake.evaluation import Evaluation, as_pull_request
from bot.intake.verdicts import status_of
from pipelines.errors import Ignorable
from pipelines.model import Change, Provenance, PullRequestTrigger, Repository
from pipelines.orchestration import log_keys
from pipelines.orchestration.bus.base import MessageBus
from pipelines.orchestration.changes import Changes
from pipelines.orchestration.coordinator import Coordinator
from pipelines.orchestration.dispatch import remains
from pipelines.orchestration.error_handler import Decision
from pipelines.orchestration.leases import under_lease
from pipelines.orchestration.standing import Standing
from pipelines.ports import Clock, Lease, Source, Write
from pipelines.stores.backend import StorageBackend, key

log = structlog.get_logger(__name__)

RECOVERIES = "recoveries"
"""The work queue of pull requests that are taken up again."""
EVENT = "recovery"
"""The event of a delivery that says so; it is our own and not GitHub's."""


class LostChecks(Protocol):
    """Our check runs that no run will end: ``bot.reporting.lost_checks``."""

    async def unfinished(self, repository: Repository, head_sha: str) -> Mapping[int, str]:
        """Return the run's id for each of our check runs on the commit that is not completed."""
        ...

    async def conclude(self, repository: Repository, check_run_id: int) -> None:
        """End a check run whose run was lost."""
        ...


@dataclass(frozen=True, slots=True)
class _Stored:
    delivery: Delivery
    version: int
    trigger: PullRequestTrigger


@dataclass(frozen=True, slots=True)
class _Ending:
    status: DeliveryStatus
    reason: str = ""
    run_ids: tuple[str, ...] = ()


class Recovery:
    """Handles ``recoveries`` like deliveries: each comes to its one terminal record."""

    def __init__(
        self,
        *,
        coordinator: Coordinator,
        standing: Standing,
        source: Source,
        checks: LostChecks,
        store: StorageBackend,
        bus: MessageBus,
        clock: Clock,
        identity: AppIdentity,
    ) -> None:
        self._coordinator = coordinator
        self._evaluation = Evaluation(coordinator, source)
        self._standing = standing
        self._source = source
        self._checks = checks
        self._store = store
        self._bus = bus
        self._clock = clock
        self._identity = identity

    async def handle(self, lease: Lease) -> None:
        """End the lost checks and start what the pull request is owed."""
        await under_lease(lease, self._handle(lease), bus=self._bus, clock=self._clock)

    async def end(self, lease: Lease, decision: Decision) -> None:
        """Record that it was given up; the next walk takes it up again."""
        stored = await self._stored(lease)
        if stored is None:
            gone = await ended(self._store, lease, self._clock)
            await self._coordinator.settle(lease, writes=gone)
            return
        ending = _Ending(status_of(decision), decision.message)
        writes = (*remains(lease, decision, self._clock), self._record(stored, ending))
        await self._coordinator.settle(lease, writes=writes)

    async def _handle(self, lease: Lease) -> None:
        stored = await self._stored(lease)
        if stored is None:
            log.warning("message without a delivery", message_id=lease.message.id)
            gone = await ended(self._store, lease, self._clock)
            await self._coordinator.settle(lease, writes=gone)
            return
        log_keys.bind(stored.trigger.repository, stored.trigger.number)
        await self._end_lost_checks(stored.trigger)

        async def decide(changes: Changes) -> _Ending:
            ending = await self._start(changes, stored.trigger)
            changes.settle(lease)
            changes.write(self._record(stored, ending))
            return ending

        try:
            ending = await self._coordinator.decide(decide)
        except Ignorable as why:
            ending = _Ending(DeliveryStatus.IGNORED, str(why))
            await self._coordinator.settle(lease, writes=(self._record(stored, ending),))
        log.info("pull request taken up again", status=ending.status, reason=ending.reason)

    async def _end_lost_checks(self, trigger: PullRequestTrigger) -> None:
        """End the checks on the head whose runs are not on record; nobody else will."""
        repository = trigger.repository
        found = await self._checks.unfinished(repository, trigger.head_sha)
        for number, run_id in found.items():
            known = await self._coordinator.run(repository.tenant, run_id) if run_id else None
            if known is None:
                await self._checks.conclude(repository, number)

    async def _start(self, changes: Changes, trigger: PullRequestTrigger) -> _Ending:
        turn = await self._turnstile(trigger)
        change = await self._standing.informed(await self._source.change(trigger))
        if not change.open:
            raise Ignorable("The pull request is closed.")
        if pause := await self._standing.pause(change.repository.tenant, trigger.subject):
            raise Ignorable(f"Paused by {pause.by.login}.")
        trigger = self._followed(trigger, change)
        outcome = await self._evaluation.start(
            changes, trigger, change, as_if=as_pull_request(trigger, change), anew=True
        )
        changes.write(turn)
        ids = tuple(admission.run_id for admission in outcome.admissions if admission.run_id)
        status = DeliveryStatus.DONE if outcome.started else DeliveryStatus.IGNORED
        return _Ending(status, outcome.reason, ids)

    def _followed(self, trigger: PullRequestTrigger, change: Change) -> PullRequestTrigger:
        """Return the trigger; on a pull request of our own it is one link beyond a person's.

        How long its chain was went with the store: only we could have opened it, so it is ours.
        """
        if change.author is None or change.author.id != self._identity.bot_user_id:
            return trigger
        return trigger.model_copy(update={"provenance": Provenance(depth=1)})

    async def _turnstile(self, trigger: PullRequestTrigger) -> Write:
        """Return the write that holds only if nobody started anything here since now."""
        place = key("turnstile", *trigger.repository.tenant.split("/"), trigger.subject)
        before = await self._store.get(place)
        expect = before.version if before else 0
        return Write(place, trigger.delivery_id.encode(), expect=expect, ttl=REMEMBERED_SECONDS)

    async def _stored(self, lease: Lease) -> _Stored | None:
        guid = str(lease.message.body.get("guid"))
        places = (delivery_key(guid), body_key(guid))
        found = await self._store.get_many(places)
        if not all(place in found for place in places):
            return None
        record, body = (found[place] for place in places)
        try:
            trigger = PullRequestTrigger.model_validate_json(body.value)
        except ValidationError:
            return None
        return _Stored(Delivery.model_validate_json(record.value), record.version, trigger)

    def _record(self, stored: _Stored, ending: _Ending) -> Write:
        ended = stored.delivery.model_copy(
            update={
                "status": ending.status,
                "reason": ending.reason,
                "run_ids": ending.run_ids,
                "finished_at": self._clock.now(),
            }
        )
        return Write(
            delivery_key(ended.guid),
            ended.model_dump_json().encode(),
            expect=stored.version,
            ttl=REMEMBERED_SECONDS,
        )
