"""Every message goes through here, and so does everything that can go wrong with one."""

from collections.abc import Mapping
from typing import Protocol

import structlog

from pipelines.errors import ConductorError, LeaseLost
from pipelines.model import Conclusion
from pipelines.orchestration import log_keys
from pipelines.orchestration.bus.base import MessageBus
from pipelines.orchestration.bus.dead import burial
from pipelines.orchestration.error_handler import Action, Decision, ErrorHandler
from pipelines.orchestration.news import ENDINGS, given_up
from pipelines.orchestration.work import fresh, postponed
from pipelines.ports import Batch, Clock, Lease, Write

log = structlog.get_logger(__name__)

MAX_CLAIMS = 3
"""How often a message may be claimed without an end, each time by a worker that died of it."""


BURIED = frozenset({Action.DEAD_LETTER, Action.OUR_FAULT})
"""Decisions after which somebody should look."""


class Handler(Protocol):
    """What one queue's messages mean."""

    async def handle(self, lease: Lease) -> None:
        """Do what the message asks for and settle it; whatever is raised is decided on."""
        ...

    async def end(self, lease: Lease, decision: Decision) -> None:
        """Settle a message that is given up, so that users see why."""
        ...


def remains(lease: Lease, decision: Decision, clock: Clock) -> tuple[Write, ...]:
    """Return what is kept of a message that is given up: a dead letter, if somebody should look."""
    if decision.action not in BURIED:
        return ()
    return (burial(fresh(lease.message), decision.message, clock),)


class Dispatcher:
    """Hands each lease to the handler of its queue and carries out what is decided on failures."""

    def __init__(
        self,
        handlers: Mapping[str, Handler],
        *,
        bus: MessageBus,
        errors: ErrorHandler,
        clock: Clock,
    ) -> None:
        """``handlers`` by queue; a key that ends in a dot stands for all queues under it."""
        self._handlers = handlers
        self._bus = bus
        self._errors = errors
        self._clock = clock

    async def handle(self, lease: Lease) -> None:
        """Bring the message one step on: settled, put off, given up, or left to its new owner."""
        message = lease.message
        with structlog.contextvars.bound_contextvars(**log_keys.of_message(message)):
            try:
                await self._handle(lease)
            except LeaseLost:
                log.info("lease lost", attempts=message.attempts)
            except ConductorError as error:
                # The store is out of reach: the lease runs out and the message comes back.
                log.warning("message left as it is", error=str(error))

    async def _handle(self, lease: Lease) -> None:
        handler = self._handler(lease.message.queue)
        if lease.message.attempts > MAX_CLAIMS:
            reason = f"Given up: {MAX_CLAIMS} workers took it and none came to an end."
            decision = Decision(Action.DEAD_LETTER, reason, Conclusion.FAILURE)
            await self._end(handler, lease, decision)
            return
        try:
            await handler.handle(lease)
        except LeaseLost:
            raise
        except Exception as error:  # noqa: BLE001  (one decision for every failure there is)
            await self._decide(handler, lease, error)

    async def _decide(self, handler: Handler, lease: Lease, error: Exception) -> None:
        now = self._clock.now()
        failures = int(str(lease.message.body.get("failures", 0)))
        decision = self._errors.decide(error, attempts=failures + 1, now=now)
        ours = not isinstance(error, ConductorError)
        log.log(
            40 if ours else 20,
            "message failed",
            action=decision.action.value,
            error=str(error),
            exc_info=error if ours else None,
        )
        if decision.action is Action.ABANDON:
            return
        if decision.at is None:
            await self._end(handler, lease, decision)
            return
        again = postponed(lease.message, until=decision.at, failed=decision.counted, now=now)
        await self._bus.commit(Batch(messages=[again], settled=[lease]))

    async def _end(self, handler: Handler, lease: Lease, decision: Decision) -> None:
        if decision.action in BURIED:
            message = lease.message
            await self._bus.publish(ENDINGS, given_up(message.tenant, message.queue))
        try:
            await handler.end(lease, decision)
        except ConductorError:
            raise
        except Exception:
            # What cannot even be given up is buried as it is.
            log.exception("message cannot be ended")
            await self._bus.bury(lease, decision.message)

    def _handler(self, queue: str) -> Handler:
        return self._handlers.get(queue) or self._handlers[f"{queue.partition('.')[0]}."]
