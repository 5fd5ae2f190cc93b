"""The Error Handler: one function decides what becomes of work that failed."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from pipelines.errors import (
    Ambiguous,
    BudgetExceeded,
    ConductorError,
    Conflict,
    Dropped,
    Ignorable,
    LeaseLost,
    ModelRefused,
    ModelUnavailable,
    NotStored,
    Parked,
    Retryable,
    UserError,
)
from pipelines.model import Conclusion, Failure
from pipelines.orchestration.breaker import BreakerState, CircuitBreaker
from pipelines.ports import Clock, Rng

LONGEST_WAIT = 86_400.0
"""In seconds: no answer can make work wait longer than a day before it is tried again."""

HERD_SECONDS = 5.0
"""Work that waits for the same moment is spread over so many seconds after it."""

OUR_FAULT = "Conductor failed on its own account; the operator finds the details in its log."


class Action(StrEnum):
    """What the caller does with the item: settle, put off, bury, or leave alone."""

    IGNORE = "ignore"
    """Settle it; there is nothing to do."""
    RETRY = "retry"
    """Put it off until ``at``."""
    PARK = "park"
    """Put it off until ``at``, and everything else of the same scope with it."""
    DROP = "drop"
    """Settle it; whoever would read the answer is gone."""
    TELL_USER = "tell_user"
    """Settle it and show ``message``."""
    DEAD_LETTER = "dead_letter"
    """Bury it: the fault did not pass in as many attempts as it had."""
    OUR_FAULT = "our_fault"
    """Bury it, and log the exception: this is a defect."""
    ABANDON = "abandon"
    """Touch nothing and say nothing: somebody else works on it now."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do about a failed item.

    ``conclusion`` and ``message`` are how it ends for users, if it ends here or runs out of
    retries elsewhere; ``counted`` is False if the fault was not the item's own; ``look_first``
    means that the failed request may have been carried out.
    """

    action: Action
    message: str
    conclusion: Conclusion
    at: datetime | None = None
    counted: bool = True
    look_first: bool = False
    scope: str = ""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to keep trying: waits are random between 0 and a bound that doubles."""

    attempts: int = 3
    base_seconds: float = 2.0
    cap_seconds: float = 60.0
    sits_outages_out: bool = False
    """Whether waiting for an open circuit breaker uses up no attempt."""


MODEL = Patience()
"""Three attempts, within a quarter of an hour also when the breaker is open: a missing model ends
neutral soon, because there is something useful to say without it."""

GITHUB = Patience(attempts=8, cap_seconds=300.0, sits_outages_out=True)
"""Nothing can be said without GitHub, so its outages are waited for."""


_FINAL: tuple[tuple[type[ConductorError], Action, Conclusion], ...] = (
    (Ignorable, Action.IGNORE, Conclusion.SKIPPED),
    (LeaseLost, Action.ABANDON, Conclusion.CANCELLED),
    (Dropped, Action.DROP, Conclusion.CANCELLED),
    (BudgetExceeded, Action.TELL_USER, Conclusion.NEUTRAL),
    (ModelUnavailable, Action.TELL_USER, Conclusion.NEUTRAL),
    (ModelRefused, Action.TELL_USER, Conclusion.NEUTRAL),
    (UserError, Action.TELL_USER, Conclusion.FAILURE),
)
"""What no waiting changes; the first that fits decides."""


class ErrorHandler:
    """Decides by the kind of the exception, and remembers which dependencies are down."""

    def __init__(self, *, clock: Clock, rng: Rng) -> None:
        self._clock = clock
        self._rng = rng
        self._breakers: dict[str, CircuitBreaker] = {}

    def decide(self, error: Exception, *, attempts: int, now: datetime) -> Decision:
        """Say what becomes of an item whose ``attempts``-th counted attempt raised this."""
        message = str(error) if isinstance(error, ConductorError) else OUR_FAULT
        for kind, action, conclusion in _FINAL:
            if isinstance(error, kind):
                return Decision(action, message, conclusion)
        match error:
            case Conflict():
                return self._again(message, self._after(0.1, now))
            case Retryable():
                return self._retry(error, attempts, now)
            case Parked():
                spread = 0.0 if error.own else self._spread()
                at = max(error.until, now) + timedelta(seconds=spread)
                at = min(at, now + timedelta(seconds=LONGEST_WAIT))
                return Decision(
                    Action.PARK, message, Conclusion.NEUTRAL, at, counted=False, scope=error.scope
                )
            case NotStored():
                at = self._after(_bound(MODEL, attempts), now)
                return replace(self._again(message, at), action=Action.PARK, scope="storage")
            case _:
                return self._ours(message, attempts, now)

    def decide_failure(
        self, failure: Failure, conclusion: Conclusion, *, attempts: int, now: datetime
    ) -> Decision:
        """Say what becomes of a task whose result carries this failure and conclusion."""
        decision = self.decide(_error_of(failure, now), attempts=attempts, now=now)
        final = decision.at is None and failure.kind != "retry"
        return replace(decision, conclusion=conclusion) if final else decision

    def succeeded(self, dependency: str) -> None:
        """Record that a dependency answered, which closes its circuit breaker."""
        if breaker := self._breakers.get(dependency):
            breaker.succeeded()

    def states(self) -> dict[str, BreakerState]:
        """Return the state of every circuit breaker that ever counted a failure."""
        return {name: breaker.state for name, breaker in self._breakers.items()}

    def _retry(self, error: Retryable, attempts: int, now: datetime) -> Decision:
        patience = GITHUB if error.dependency == "github" else MODEL
        breaker = self._record(error.dependency)
        waiting = breaker.seconds_left() if breaker else 0.0
        counted = not (waiting and patience.sits_outages_out)
        # An outage of somebody else is a reason to say less, not to turn a check red.
        ended = Conclusion.NEUTRAL if error.dependency else Conclusion.FAILURE
        if counted and attempts >= patience.attempts:
            return Decision(Action.DEAD_LETTER, str(error), ended)
        jitter = self._rng.uniform(0.0, _bound(patience, attempts))
        least = max(error.retry_after or 0.0, waiting)
        seconds = min(max(least + self._spread(), jitter) if least else jitter, LONGEST_WAIT)
        decision = self._again(str(error), now + timedelta(seconds=seconds), counted=counted)
        action = Action.PARK if waiting else Action.RETRY
        return replace(
            decision,
            action=action,
            conclusion=ended,
            look_first=isinstance(error, Ambiguous),
            scope=error.dependency or "",
        )

    def _ours(self, message: str, attempts: int, now: datetime) -> Decision:
        """Try again a little: a crash may have a passing cause that nobody foresaw."""
        if attempts >= MODEL.attempts:
            return Decision(Action.OUR_FAULT, message, Conclusion.FAILURE)
        return self._again(message, self._after(_bound(MODEL, attempts), now), counted=True)

    def _again(self, message: str, at: datetime, *, counted: bool = False) -> Decision:
        return Decision(Action.RETRY, message, Conclusion.FAILURE, at=at, counted=counted)

    def _record(self, dependency: str | None) -> CircuitBreaker | None:
        if dependency is None:
            return None
        breaker = self._breakers.setdefault(dependency, CircuitBreaker(self._clock))
        breaker.failed()
        return breaker

    def _after(self, bound: float, now: datetime) -> datetime:
        return now + timedelta(seconds=self._rng.uniform(0.0, bound))

    def _spread(self) -> float:
        return self._rng.uniform(0.0, HERD_SECONDS)


class AgentFault(ConductorError):
    """An agent failed in a way that it blames on Conductor itself."""


def _bound(patience: Patience, attempts: int) -> float:
    """Return base * 2^(attempts - 1) seconds, capped.

    Full jitter under this bound spreads a herd best: https://aws.amazon.com/blogs/architecture/
    exponential-backoff-and-jitter/.
    """
    doublings = min(max(attempts - 1, 0), 30)
    return min(patience.cap_seconds, patience.base_seconds * 2.0**doublings)


def _error_of(failure: Failure, now: datetime) -> ConductorError:
    """Return the exception that a failure stands for."""
    message, wait = failure.message, failure.retry_after
    match failure.kind:
        case "retry":
            return Retryable(message, retry_after=wait, dependency=failure.dependency)
        case "park":
            seconds = min(wait or MODEL.cap_seconds, LONGEST_WAIT)
            until = now + timedelta(seconds=seconds)
            return Parked(message, until=until, scope=failure.dependency or "")
        case "drop":
            return Dropped(message)
        case "user":
            return UserError(message)
        case "ours":
            return AgentFault(message)
