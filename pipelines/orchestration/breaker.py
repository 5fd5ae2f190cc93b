"""Circuit breakers: a dependency that keeps failing is left alone for a while."""

from enum import StrEnum

from pipelines.ports import Clock


class BreakerState(StrEnum):
    """``half-open``: the pause is over and the next answer decides."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


class CircuitBreaker:
    """Counts the failures in a row of one dependency.

    ``threshold`` failures, none older than ``window`` seconds, open it for ``pause`` seconds. A
    failure when it is half-open opens it for twice as long as before, up to ``longest``; a success
    or a quiet window closes it.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        threshold: int = 5,
        window: float = 60.0,
        pause: float = 30.0,
        longest: float = 300.0,
    ) -> None:
        self._clock = clock
        self._threshold = threshold
        self._window = window
        self._first_pause = pause
        self._longest = longest
        self._failures: list[float] = []
        self._pause = 0.0
        self._open_until = 0.0

    @property
    def state(self) -> BreakerState:
        """What it is now."""
        now = self._clock.monotonic()
        if now < self._open_until:
            return BreakerState.OPEN
        if self._pause and now < self._open_until + self._window:
            return BreakerState.HALF_OPEN
        return BreakerState.CLOSED

    def failed(self) -> None:
        """Record a failure; while open it only shows what is known, so it changes nothing."""
        now = self._clock.monotonic()
        match self.state:
            case BreakerState.OPEN:
                return
            case BreakerState.HALF_OPEN:
                self._open(min(self._longest, self._pause * 2))
            case BreakerState.CLOSED:
                self._pause = 0.0
                self._failures = [t for t in self._failures if now - t < self._window] + [now]
                if len(self._failures) >= self._threshold:
                    self._open(self._first_pause)

    def succeeded(self) -> None:
        """Record a success: an answer is proof that it is back, even while open."""
        self._failures.clear()
        self._pause = 0.0
        self._open_until = 0.0

    def seconds_left(self) -> float:
        """Return how long it stays open, 0 if it is not."""
        return max(0.0, self._open_until - self._clock.monotonic())

    def _open(self, pause: float) -> None:
        self._failures.clear()
        self._pause = pause
        self._open_until = self._clock.monotonic() + pause
