"""The cases of one report, presentable and within limits."""

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from pipelines.agents.fence import presentable
from pipelines.errors import ConductorError
from pipelines.model import CaseResult

MAX_CASES = 5_000
MAX_CHARACTERS = 10 * 1024 * 1024
_MAX_NAME = 500
_MAX_MESSAGE = 4_000
_MAX_SECONDS = 1e6
CaseOutcome = Literal["passed", "failed", "error", "skipped"]


class UnreadableReport(ConductorError):
    """A report that is not what it should be; the text is a clause that says why."""


@dataclass(frozen=True, slots=True)
class Claims:
    """What a report says; ``repeated`` are names that more than one case has."""

    cases: tuple[CaseResult, ...] = ()
    repeated: tuple[str, ...] = ()
    total: int = 0
    """How many cases the report has, of which ``cases`` are the first 5,000."""
    miscounted: bool = False
    """Whether the report's own totals are not those of its cases."""

    @property
    def failures(self) -> tuple[CaseResult, ...]:
        """The cases that did not pass and were not skipped."""
        return tuple(case for case in self.cases if case.outcome in ("failed", "error"))

    def names(self, *outcomes: CaseOutcome) -> frozenset[str]:
        """Return the names of the cases with one of these outcomes, without any of all."""
        return frozenset(c.name for c in self.cases if not outcomes or c.outcome in outcomes)


def case(
    name: str,
    outcome: CaseOutcome,
    *,
    seconds: float = 0.0,
    message: str = "",
    path: str | None = None,
    line: int | None = None,
) -> CaseResult:
    """Return a case whose strings may be shown and whose numbers are possible."""
    possible = math.isfinite(seconds) and 0 <= seconds <= _MAX_SECONDS
    cleaned = presentable(message)
    # The end of a message says where it failed, its beginning what was called.
    if len(cleaned) > _MAX_MESSAGE:
        half = _MAX_MESSAGE // 2 - 10
        cleaned = f"{cleaned[:half]}\n…\n{cleaned[-half:]}"
    return CaseResult(
        name=" ".join(presentable(name).split())[:_MAX_NAME] or "(no name)",
        outcome=outcome,
        seconds=seconds if possible else 0.0,
        message=cleaned,
        path=path[:_MAX_MESSAGE] if path else None,
        line=line if line and 0 < line < 10_000_000 else None,
    )


def claims_of(cases: Iterable[CaseResult], *, miscounted: bool = False) -> Claims:
    """Return the claims of a report's cases in order."""
    listed = tuple(cases)
    counts = Counter(item.name for item in listed)
    return Claims(
        cases=listed[:MAX_CASES],
        repeated=tuple(name for name, count in counts.items() if count > 1),
        total=len(listed),
        miscounted=miscounted,
    )


def number(text: str | None) -> float:
    """Return the number in an attribute, 0 if it is none."""
    try:
        return float((text or "0").replace(",", ""))
    except ValueError:
        return 0.0
