"""What is unusual: pure functions over numbers, without a clock and without a model.

Everything becomes bounds: a rule has its own, and what is usual gives some by median and median
absolute deviation (MAD), which a few odd samples do not move (Iglewicz and Hoaglin, "How to Detect
and Handle Outliers", 1993). A breach is an unbroken run of samples beyond the bounds, never one.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal

from pipelines.model import Point

Worse = Literal["up", "down"]

MIN_BASELINE = 8
"""Fewer samples say nothing about what is usual."""
DEVIATIONS = 6.0
"""How many robust standard deviations away from the median is unusual."""
RELATIVE = 0.5
"""The least change, as a share of the median, that is unusual however calm the signal was."""
_NORMAL = 1.4826
"""MAD times this is the standard deviation of a normal distribution."""
_MAX_GAP = 2.5
"""Steps between two samples after which they are not in a row any more."""
_COVERED = 0.8
_WITHIN = 0.95
_MIN_STEADY = 5


@dataclass(frozen=True, slots=True)
class Usual:
    """What a signal was over a span: middle, spread and number of samples."""

    median: float
    deviation: float
    """A robust standard deviation."""
    count: int


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a value must not go beyond; None for no bound on that side."""

    above: float | None = None
    below: float | None = None

    def broken_by(self, value: float) -> bool:
        """Whether the value is beyond one of them."""
        too_high = self.above is not None and value > self.above
        return too_high or (self.below is not None and value < self.below)

    @property
    def any(self) -> bool:
        """Whether there is a bound at all."""
        return self.above is not None or self.below is not None


NO_BOUNDS = Bounds()


def usual(values: Iterable[float]) -> Usual | None:
    """Return what is usual, or None if there are too few samples to say."""
    finite = [value for value in values if math.isfinite(value)]
    if len(finite) < MIN_BASELINE:
        return None
    middle = median(finite)
    spread = median(abs(value - middle) for value in finite)
    return Usual(middle, spread * _NORMAL, len(finite))


def usual_bounds(baselines: Iterable[Usual | None], worse: Worse, change: float) -> Bounds:
    """Return the bounds that hold against every baseline that is known; none without any.

    A value must be unusual against each of them: what is the same every day at this time is no
    breach, and neither is what was as bad before the deployment. ``change`` is the least
    difference that matters, in the signal's own unit.
    """
    known = [each for each in baselines if each is not None]
    if not known:
        return NO_BOUNDS
    margins = [
        max(DEVIATIONS * each.deviation, RELATIVE * abs(each.median), change) for each in known
    ]
    pairs = list(zip(known, margins, strict=True))
    if worse == "up":
        return Bounds(above=max(each.median + margin for each, margin in pairs))
    return Bounds(below=min(each.median - margin for each, margin in pairs))


def runs(points: Sequence[Point], bounds: Bounds, step: float) -> list[list[Point]]:
    """Return the unbroken runs of samples beyond the bounds; a long gap ends a run."""
    found: list[list[Point]] = []
    last: Point | None = None
    for point in points:
        if bounds.broken_by(point.value):
            joined = last is not None and point.at - last.at <= _MAX_GAP * step
            if found and joined and found[-1][-1] is last:
                found[-1].append(point)
            else:
                found.append([point])
        last = point
    return found


def steady(points: Sequence[Point], bounds: Bounds, expected: int, tail: int) -> bool:
    """Whether a signal kept its bounds over a whole span that was wholly looked at.

    ``expected`` samples would be all; the newest ``tail`` must all be within.
    """
    if len(points) < max(_MIN_STEADY, _COVERED * expected):
        return False
    within = [not bounds.broken_by(point.value) for point in points]
    return sum(within) >= _WITHIN * len(within) and all(within[-tail:])


def near(points: Sequence[Point], baseline: float | None, bounds: Bounds) -> bool:
    """Whether the signal's median is nearer to what it was than to the bound that it broke."""
    if not points:
        return False
    if baseline is None:
        return True
    middle = median(point.value for point in points)
    high = bounds.above is None or middle <= max(baseline, (baseline + bounds.above) / 2)
    return high and (bounds.below is None or middle >= min(baseline, (baseline + bounds.below) / 2))


def sketch(points: Sequence[Point], most: int) -> tuple[float, ...]:
    """Return at most so many values, evenly picked, the first and the newest among them."""
    if len(points) <= most:
        return tuple(point.value for point in points)
    last = len(points) - 1
    return tuple(points[round(index * last / (most - 1))].value for index in range(most))
