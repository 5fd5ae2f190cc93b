"""Numbers and moments as sentences."""

from collections.abc import Sequence
from datetime import UTC, datetime

from pipelines.model import Breach, Point


def amount(value: float, unit: str) -> str:
    """Return a value with its unit, to four digits; a ratio as per cent."""
    if unit == "ratio":
        return f"{value * 100:.3g} %"
    return f"{value:.4g} {unit}".rstrip()


def span_of(points: Sequence[Point]) -> str:
    """Return from when to when samples are, in UTC."""
    first, last = (datetime.fromtimestamp(points[index].at, UTC) for index in (0, -1))
    day = f"{first:%Y-%m-%d} "
    return f"{day}{first:%H:%M:%S} to {last:%H:%M:%S} UTC"


def finding(breach: Breach) -> str:
    """Return what a breach says, in one sentence of numbers."""
    unit = breach.unit
    told = f"{breach.rule} was at {amount(breach.observed, unit)}"
    for bound, word in ((breach.above, "above"), (breach.below, "below")):
        beyond = bound is not None and (
            breach.observed > bound if word == "above" else breach.observed < bound
        )
        if bound is not None and beyond:
            told += f", {word} {amount(bound, unit)}"
    told += f", in {breach.samples} samples in a row"
    if breach.baseline is not None:
        return f"{told}; before it was at {amount(breach.baseline, unit)}."
    return f"{told}; what it was before is not known."


def title(environment: str, rules: Sequence[str]) -> str:
    """Return what got worse where, in at most 200 characters."""
    text = f"{', '.join(rules)} out of bounds in {environment}"
    return (
        text if len(text) <= 200 else f"{len(rules)} signals out of bounds in {environment}"[:200]
    )
