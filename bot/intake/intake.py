"""The intake: each accepted delivery is brought to its one terminal record."""

from collections.abc import Callable
from dataclasses import dataclass

import structlog

from bot.commands.permissions import Permissions
from bot.deliveries.delivery import (
    ALERTS,
    SCHEDULES,
    Delivery,
    DeliveryStatus,
    body_key,
    delivery_key,
)
from bot.deliveries.inbox import REMEMBERED_SECONDS
from bot.events.decoding import Malformed, decode
from bot.events.filters import AppIdentity, Ignored
from bot.events.installations import InstallationChanged
from bot.events.triggers import trigger_of
from bot.intake.alerts import Repositories, alert_trigger
from bot.intake.bodiless import ended
from bot.intake.evaluation import Evaluation, Outcome, as_pull_request
from bot.intake.installations import Installations
from bot.intake.learning import History, is_own_fix, of_ending, of_push
from bot.intake.orders import Ordered, Orders
from bot.intake.schedules import MAX_LOOKS, Due, Schedules, due_in
from bot.intake.verdicts import lost, status_of
from pipelines.errors import Dropped, Ignorable
from pipelines.integrations.observability.alerts import Alerts
from pipelines.integrations.observability.alerts import parse as parse_alerts
from pipelines.model import (
    Change,
    CheckTrigger,
    CommandTrigger,
    PullRequestTrigger,
    PushTrigger,
    Repository,
    Trigger,
    WorkflowRun,
)
from pipelines.orchestration import log_keys
from pipelines.orchestration.bus.base import MessageBus
from pipelines.orchestration.changes import Changes
from pipelines.orchestration.coordinator import Coordinator
from pipelines.orchestration.dispatch import remains
from pipelines.orchestration.error_handler import Decision
from pipelines.orchestration.leases import under_lease
from pipelines.orchestration.standing import Standing, subject_of
from pipelines.ports import Clock, Lease, Write
from pipelines.stores.backend import StorageBackend, key

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Ending:
    """How a delivery ended."""

    status: DeliveryStatus
    reason: str = ""
    run_ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Stored:
    """A delivery as it was found in the store: its record, its version, its signed body."""

    delivery: Delivery
    version: int
    body: bytes


Meaning = Trigger | Ignored | InstallationChanged | Alerts | Due


class Intake:
    """Handles ``deliveries``: reads the subject as it is now and stores what follows from it.

    The record's end, the runs and the settled message are one atomic step. Two deliveries about
    one subject cannot both act on what they read: each start moves the subject's turnstile, so the
    one that read earlier and stores later reads again.
    """

    def __init__(
        self,
        *,
        coordinator: Coordinator,
        evaluation: Evaluation,
        orders: Orders,
        installations: Installations,
        schedules: Schedules,
        standing: Standing,
        source: History,
        permissions: Permissions,
        store: StorageBackend,
        bus: MessageBus,
        clock: Clock,
        identity: AppIdentity,
        repositories: Repositories,
    ) -> None:
        self._coordinator = coordinator
        self._evaluation = evaluation
        self._orders = orders
        self._installations = installations
        self._schedules = schedules
        self._standing = standing
        self._source = source
        self._permissions = permissions
        self._store = store
        self._bus = bus
        self._clock = clock
        self._identity = identity
        self._repositories = repositories

    async def handle(self, lease: Lease) -> None:
        """Bring the delivery to its end."""
        await under_lease(lease, self._handle(lease), bus=self._bus, clock=self._clock)

    async def end(self, lease: Lease, decision: Decision) -> None:
        """Record that the delivery was given up, and show it where it can be seen."""
        stored = await self._stored(lease)
        if stored is None:
            gone = await ended(self._store, lease, self._clock)
            await self._coordinator.settle(lease, writes=gone)
            return
        trigger = self._meaning(stored)
        buried = remains(lease, decision, self._clock)
        ending = Ending(status_of(decision), decision.message)

        async def give_up(changes: Changes) -> None:
            run_ids: tuple[str, ...] = ()
            if isinstance(trigger, PullRequestTrigger) and ending.status in _VISIBLE:
                run_ids = (await lost(changes, trigger, decision),)
            changes.settle(lease)
            changes.write(*buried, self._record(stored, ending, run_ids))

        await self._coordinator.decide(give_up)

    # --- one delivery ----------------------------------------------------------------------------

    async def _handle(self, lease: Lease) -> None:
        stored = await self._stored(lease)
        if stored is None:
            log.warning("message without a delivery", message_id=lease.message.id)
            gone = await ended(self._store, lease, self._clock)
            await self._coordinator.settle(lease, writes=gone)
            return
        meaning = self._meaning(stored)
        _bind(stored.delivery, meaning)
        learn = await self._taught_by(meaning)

        async def decide(changes: Changes) -> Ending:
            ending = await self._decide(changes, meaning, stored.delivery)
            learn(changes)
            changes.settle(lease)
            changes.write(self._record(stored, ending))
            return ending

        async def ignore(changes: Changes) -> None:
            learn(changes)
            changes.settle(lease)
            changes.write(self._record(stored, nothing))

        try:
            ending = await self._coordinator.decide(decide)
        except Ignorable as why:
            nothing = ending = Ending(DeliveryStatus.IGNORED, str(why))
            await self._coordinator.decide(ignore)
        log.info("delivery handled", status=ending.status, reason=ending.reason)

    async def _decide(self, changes: Changes, meaning: Meaning, delivery: Delivery) -> Ending:
        match meaning:
            case Ignored(reason=reason):
                ending = Ending(DeliveryStatus.IGNORED, reason)
            case InstallationChanged():
                ending = await self._installation(meaning, delivery)
            case Due():
                ending = await self._due(changes, meaning, delivery)
            case Alerts():
                ending = await self._alerts(changes, meaning)
            case CheckTrigger():
                ending = _ordered(await self._check(changes, meaning))
            case CommandTrigger():
                ending = _ordered(await self._command(changes, meaning))
            case _:
                ending = await self._event(changes, meaning)
        return ending

    def _meaning(self, stored: Stored) -> Meaning:
        delivery = stored.delivery
        if delivery.event == ALERTS:
            called = parse_alerts(stored.body)
            return Ignored(reason=called) if isinstance(called, str) else called
        if delivery.event == SCHEDULES:
            return due_in(stored.body) or Ignored(reason="It is no schedule of ours.")
        try:
            payload = decode(stored.body)
        except Malformed as error:
            return Ignored(reason=str(error))
        return trigger_of(delivery.event, delivery.guid, payload, self._identity)

    async def _event(self, changes: Changes, trigger: Trigger) -> Ending:
        turn = await self._turnstile(changes, trigger)
        known = await self._schedules.before(trigger)
        change = await self._change(trigger)
        changes.write(*self._schedules.learned(known, change))
        return await self._start(changes, trigger, change, turn)

    async def _start(
        self, changes: Changes, trigger: Trigger, change: Change, turn: Write
    ) -> Ending:
        if isinstance(trigger, PullRequestTrigger) and trigger.action == "closed":
            await self._learn(changes, trigger, change)
        subject = subject_of(change)
        if subject and (pause := await self._standing.pause(change.repository.tenant, subject)):
            return Ending(DeliveryStatus.IGNORED, f"Paused by {pause.by.login}.")
        if isinstance(trigger, PullRequestTrigger):
            if trigger.action == "closed" and change.open:
                raise Ignorable("The pull request is open again.")
            if not change.open:
                stopped = await self._evaluation.close(changes, change)
                if trigger.action != "closed":
                    return Ending(DeliveryStatus.IGNORED, "The pull request is closed.", stopped)
        trigger = await self._evaluation.continued(trigger, change)
        outcome = await self._evaluation.start(changes, trigger, change)
        changes.write(turn)
        return _ending(trigger, change, outcome)

    async def _installation(self, changed: InstallationChanged, delivery: Delivery) -> Ending:
        done = await self._installations.follow(changed)
        if changed.action == "suspend":
            await self._schedules.forget(changed.installation_id)
        await self._schedules.look(changed.repositories[:MAX_LOOKS], delivery.guid)
        return Ending(DeliveryStatus.DONE, done)

    async def _due(self, changes: Changes, due: Due, delivery: Delivery) -> Ending:
        """Start what a schedule starts, and forget it where the App has nothing to do any more."""
        trigger = due.trigger(due.repository, delivery.guid)
        turn = await self._turnstile(changes, trigger)
        known = await self._schedules.before(trigger)
        try:
            trigger = due.trigger(await self._still(due.repository), delivery.guid)
            change = await self._change(trigger)
        except (Ignorable, Dropped) as why:
            changes.write(*self._schedules.forgotten(known))
            return Ending(DeliveryStatus.IGNORED, str(why))
        changes.write(*self._schedules.learned(known, change))
        if not due.workflow:
            return Ending(DeliveryStatus.DONE, "The schedules of the default branch were read.")
        return await self._start(changes, trigger, change, turn)

    async def _still(self, known: Repository) -> Repository:
        """Return the repository as it is now; raises Ignorable if it is not ours to work in."""
        found = await self._repositories(known.full_name)
        if found is None or found.tenant != known.tenant:
            raise Ignorable(f"The App is not at work in {known.full_name} any more.")
        return found

    async def _learn(self, changes: Changes, trigger: PullRequestTrigger, change: Change) -> None:
        """Keep what becomes of a pull request of our own, as it is now and not as it was told."""
        if change.open or not is_own_fix(change, self._identity.bot_user_id):
            return
        level = await self._permissions.level(trigger.repository, trigger.actor)
        at = trigger.occurred_at or self._clock.now()
        outcome = of_ending(change, trigger.actor, level, at)
        changes.learn(change.repository.tenant, *([outcome] if outcome else []))

    async def _taught_by(self, meaning: Meaning) -> Callable[[Changes], None]:
        """Return what keeps the lessons of a push, which nothing that starts from it changes."""
        if not isinstance(meaning, PushTrigger):
            return lambda changes: None
        bot_id, now = self._identity.bot_user_id, self._clock.now()
        outcomes = await of_push(meaning, self._source, bot_id, now)
        return lambda changes: changes.learn(meaning.repository.tenant, *outcomes)

    async def _alerts(self, changes: Changes, called: Alerts) -> Ending:
        """Start what each alert starts; one that nothing can be done about stops no other."""
        endings: list[Ending] = []
        for alert in called.alerts:
            try:
                trigger = await alert_trigger(alert, self._repositories)
                endings.append(await self._event(changes, trigger))
            except Ignorable as why:
                endings.append(Ending(DeliveryStatus.IGNORED, str(why)))
        done = any(ending.status is DeliveryStatus.DONE for ending in endings)
        reasons = [*called.left_out, *(ending.reason for ending in endings if ending.reason)]
        return Ending(
            DeliveryStatus.DONE if done else DeliveryStatus.IGNORED,
            " ".join(dict.fromkeys(reasons)),
            tuple(run_id for ending in endings for run_id in ending.run_ids),
        )

    async def _command(self, changes: Changes, trigger: CommandTrigger) -> Ordered:
        turn = await self._turnstile(changes, trigger)
        level = await self._permissions.level(trigger.repository, trigger.actor)
        change = await self._change(trigger)
        ordered = await self._orders.command(changes, trigger, change, level)
        changes.write(turn)
        return ordered

    async def _check(self, changes: Changes, trigger: CheckTrigger) -> Ordered:
        run, step = await self._run_of(trigger)
        turn = await self._turnstile(changes, run.trigger if run else trigger)
        changes.write(turn)
        if run is not None and trigger.action == "requested_action":
            return await self._orders.button(changes, trigger, run, step)
        if trigger.action == "requested_action":
            return Ordered(refusal="The run that this button belongs to is no longer stored.")
        if run is not None:
            return await self._orders.rerun(changes, trigger, run)
        change = await self._change(trigger)
        if change.number is None:
            raise Ignorable("The commit is the head of no open pull request.")
        cause = as_pull_request(trigger, change)
        outcome = await self._evaluation.start(changes, trigger, change, as_if=cause, asked=True)
        return Ordered(outcome.started, "" if outcome.started else outcome.reason)

    # --- what they share -------------------------------------------------------------------------

    async def _change(self, trigger: Trigger) -> Change:
        return await self._standing.informed(await self._source.change(trigger))

    async def _run_of(self, trigger: CheckTrigger) -> tuple[WorkflowRun | None, str]:
        run_id, _, step = trigger.external_id.partition("/")
        if not run_id:
            return None, ""
        return await self._coordinator.run(trigger.repository.tenant, run_id), step

    async def _turnstile(self, changes: Changes, trigger: Trigger) -> Write:
        """Return the write that holds only if nobody started anything here since now."""
        place = key("turnstile", *trigger.repository.tenant.split("/"), trigger.subject)
        before = await self._store.get(place)
        expect = before.version if before else 0
        return Write(place, trigger.delivery_id.encode(), expect=expect, ttl=REMEMBERED_SECONDS)

    async def _stored(self, lease: Lease) -> Stored | None:
        guid = str(lease.message.body.get("guid"))
        places = (delivery_key(guid), body_key(guid))
        found = await self._store.get_many(places)
        if not all(place in found for place in places):
            return None
        record, body = (found[place] for place in places)
        return Stored(Delivery.model_validate_json(record.value), record.version, body.value)

    def _record(self, stored: Stored, ending: Ending, run_ids: tuple[str, ...] = ()) -> Write:
        ended = stored.delivery.model_copy(
            update={
                "status": ending.status,
                "reason": ending.reason,
                "run_ids": ending.run_ids or run_ids,
                "finished_at": self._clock.now(),
            }
        )
        return Write(
            delivery_key(ended.guid),
            ended.model_dump_json().encode(),
            expect=stored.version,
            ttl=REMEMBERED_SECONDS,
        )


_VISIBLE = (DeliveryStatus.DEAD, DeliveryStatus.FAILED)


def _bind(delivery: Delivery, meaning: Meaning) -> None:
    structlog.contextvars.bind_contextvars(
        github_delivery_id=delivery.guid, github_event_type=delivery.event
    )
    if not isinstance(meaning, Ignored | InstallationChanged | Alerts | Due):
        log_keys.bind(meaning.repository, getattr(meaning, "number", None))


def _ending(trigger: Trigger, change: Change, outcome: Outcome) -> Ending:
    """Return how a delivery ended that something, or nothing, started from."""
    ids = tuple(admission.run_id for admission in outcome.admissions if admission.run_id)
    if outcome.started:
        return Ending(DeliveryStatus.DONE, outcome.reason, ids)
    head = getattr(trigger, "head_sha", change.head_sha)
    if ids and head != change.head_sha:
        return Ending(DeliveryStatus.SUPERSEDED, "A newer commit was looked at instead.", ids)
    return Ending(DeliveryStatus.IGNORED, outcome.reason, ids)


def _ordered(ordered: Ordered) -> Ending:
    status = DeliveryStatus.IGNORED if ordered.refusal else DeliveryStatus.DONE
    return Ending(status, ordered.refusal, ordered.run_ids)
