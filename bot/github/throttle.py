"""Limits kept before GitHub has to enforce them: every request takes a place, and gives it back.

The numbers are GitHub's best practices and secondary limits, with room to spare:
https://docs.github.com/rest/using-the-rest-api/best-practices-for-using-the-rest-api
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Literal, Protocol

import structlog

from bot.github.errors import DEFAULT_WAIT, PRIMARY_WINDOW, Limit, until
from pipelines.errors import NotStored, Parked
from pipelines.ports import Clock, Ids

log = structlog.get_logger(__name__)

LONGEST_PENALTY = 15 * 60.0
"""Seconds; the most that refusals without a time of GitHub's own grow to."""
PLACE_SECONDS = 4.0
"""A place not renewed for so long is somebody's who died; the next write comes a gap after it."""
RENEWAL_SECONDS = PLACE_SECONDS / 4


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast one installation may go, over all processes; times are in seconds."""

    concurrency: int = 20
    write_gap: float = 1.0
    """From the end of one write to the start of the next."""
    points_per_minute: int = 600
    content_per_minute: int = 60
    content_per_hour: int = 400
    reserve: int = 50
    """Requests of the primary limit that are left for what people do by hand."""
    patience: float = 3.0
    """Who can be served within this time waits for it; everybody else is parked."""
    head_start: float = 30.0
    """An urgent write overtakes the others that came at most so long before it."""

    def reserved(self, limit: int) -> int:
        """Return how much of a primary limit is left alone; a small one is not all reserve."""
        return min(self.reserve, limit // 20)


@dataclass(frozen=True, slots=True)
class Ask:
    """A request that wants to be sent.

    ``content`` notifies people, ``urgent`` is what people look out for; ``purpose`` tells a parked
    write that comes back from a new one, so that it keeps its turn.
    """

    scope: str
    resource: str = "core"
    write: bool = False
    content: bool = False
    urgent: bool = False
    purpose: str = ""

    @property
    def points(self) -> int:
        """What it costs by GitHub's count."""
        return 5 if self.write else 1


class Reason(StrEnum):
    """Why a request has to wait."""

    PAUSE = "GitHub asked for a pause"
    RESERVE = "GitHub's hourly limit is nearly used up"
    FLIGHT = "enough requests are in flight"
    BUDGET = "enough was asked of GitHub for now"
    TURN = "writes go one a second"


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a request may be sent; if not, to wait or to park for ``seconds``, and why."""

    what: Literal["go", "wait", "park"]
    seconds: float = 0.0
    reason: Reason = Reason.TURN


GO = Verdict("go")


@dataclass(frozen=True, slots=True)
class Budget:
    """The primary limit of a resource as an answer tells it; ``wait`` seconds until its reset."""

    resource: str
    remaining: int
    limit: int
    wait: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a request, as far as it matters to the next ones."""

    budget: Budget | None = None
    limit: Limit | None = None
    succeeded: bool = False


class Ledger(Protocol):
    """Who keeps the books: each method is one atomic step, over all that share it.

    ``place`` is a name the caller made up for one request. All raise NotStored if the books are
    out of reach; nothing may be sent without a place.
    """

    async def admit(self, ask: Ask, place: str, waited: float) -> Verdict:
        """Take the place, or say how long to wait; ``waited`` are the seconds waited so far."""
        ...

    async def renew(self, ask: Ask, place: str) -> None:
        """Keep a place that was taken for another ``PLACE_SECONDS``; given up, it stays so."""
        ...

    async def settle(self, ask: Ask, place: str, outcome: Outcome) -> float:
        """Give the place up, taken or only wanted; returns the seconds the scope is paused for."""
        ...


class Place:
    """A place that is held for one request, which tells here what became of it."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.outcome = Outcome()

    def answered(self, headers: Mapping[str, str], *, limit: Limit | None, succeeded: bool) -> None:
        """Take note of an answer; a ``limit`` makes the end of the slot raise Parked."""
        budget = budget_of(headers, self._clock.now())
        self.outcome = Outcome(budget, limit, succeeded and limit is None)


class Throttle:
    """Lets requests through in time and raises Parked instead of keeping a worker waiting long."""

    def __init__(self, ledger: Ledger, clock: Clock, ids: Ids) -> None:
        self._ledger = ledger
        self._clock = clock
        self._ids = ids
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}

    @asynccontextmanager
    async def slot(self, ask: Ask) -> AsyncGenerator[Place, None]:
        """Hold a place for one request; raises Parked before or after it, NotStored before it."""
        name = self._ids()
        await self._enter(ask, name)
        place = Place(self._clock)
        keeping = asyncio.create_task(self._keep(ask, name))
        try:
            yield place
        finally:
            keeping.cancel()
            paused = await self._settle(ask, name, place.outcome)
            await asyncio.wait({keeping})
        if place.outcome.limit is not None:
            raise self._refused(ask.scope, place.outcome.limit, paused)

    async def penalise(self, scope: str, limit: Limit) -> Parked:
        """Pause the scope for a limit that GitHub reported, and return what to raise."""
        return self._refused(scope, limit, await self._settle(Ask(scope), "", Outcome(limit=limit)))

    async def _enter(self, ask: Ask, name: str) -> None:
        waited = 0.0
        try:
            verdict = await self._ledger.admit(ask, name, waited)
            while verdict.what == "wait":
                waited += await self._wait(ask.scope, verdict.seconds)
                verdict = await self._ledger.admit(ask, name, waited)
        except (Parked, NotStored):
            raise
        except BaseException:
            # Whoever is stopped may have been let in already, and must not be waited for.
            await self._settle(ask, name, Outcome())
            raise
        if verdict.what == "park":
            raise self._parked(ask.scope, verdict.seconds, verdict.reason, own=ask.write)

    async def _keep(self, ask: Ask, name: str) -> None:
        """Renew a place until cancelled."""
        while True:
            await self._clock.sleep(RENEWAL_SECONDS)
            # Books that are out of reach let nobody else in either; the next time may be in time.
            with contextlib.suppress(NotStored):
                await self._ledger.renew(ask, name)

    async def _wait(self, scope: str, seconds: float) -> float:
        """Wait so long, or until a place in the scope is given up here; returns for how long."""
        began, line = self._clock.monotonic(), self._waiting.setdefault(scope, deque())
        freed = asyncio.get_running_loop().create_future()
        line.append(freed)
        sleeping = asyncio.create_task(self._clock.sleep(seconds))
        try:
            await asyncio.wait({freed, sleeping}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            sleeping.cancel()
            if freed in line:
                line.remove(freed)
            if not line:
                self._waiting.pop(scope, None)
        return self._clock.monotonic() - began

    def _wake(self, scope: str) -> None:
        """Let who has waited longest ask again."""
        if line := self._waiting.get(scope):
            line.popleft().set_result(None)

    async def _settle(self, ask: Ask, name: str, outcome: Outcome) -> float:
        try:
            return await self._ledger.settle(ask, name, outcome)
        except NotStored as error:
            # What was sent was sent: its answer counts, and the place runs out by itself.
            log.warning("place not given up", scope=ask.scope, error=str(error))
            told = outcome.limit.wait if outcome.limit else 0.0
            return DEFAULT_WAIT if told is None else told
        finally:
            self._wake(ask.scope)

    def _refused(self, scope: str, limit: Limit, paused: float) -> Parked:
        return self._parked(scope, paused, f"its {limit.kind} rate limit was reached")

    def _parked(self, scope: str, wait: float, why: str, *, own: bool = False) -> Parked:
        moment = until(self._clock.now(), wait)
        message = f"Waiting for GitHub until {moment:%H:%M:%S} UTC: {why}."
        return Parked(message, until=moment, scope=scope, own=own)


def budget_of(headers: Mapping[str, str], now: datetime) -> Budget | None:
    """Return the primary limit that an answer tells, or None if its headers make no sense."""
    names = ("x-ratelimit-remaining", "x-ratelimit-limit", "x-ratelimit-reset")
    values = [headers.get(name, "") for name in names]
    if not all(value.isascii() and value.isdigit() and len(value) < 13 for value in values):
        return None
    remaining, limit, reset = (int(value) for value in values)
    wait = min(reset - now.timestamp() + 1.0, PRIMARY_WINDOW + 60.0)
    resource = headers.get("x-ratelimit-resource", "core")[:40]
    return Budget(resource, remaining, limit, wait)


def penalty(limit: Limit, strikes: int) -> float:
    """Return the seconds to pause for a refusal that follows so many others without a success."""
    if limit.wait is not None:
        return limit.wait
    return min(DEFAULT_WAIT * 2**strikes, LONGEST_PENALTY)
