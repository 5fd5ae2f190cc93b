"""The signals that a task watches: its rules, and the built-in ones beside them."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from pipelines.agents.monitor.detection import NO_BOUNDS, Bounds, Worse
from pipelines.config.steps import MonitorOptions, Rule
from pipelines.integrations.observability.signals import SIGNALS, Signal, rate_window
from pipelines.model import Severity

RULE_RUN = 3
"""How many samples in a row must be beyond a rule's bound."""

_RANGE = re.compile(r"\[((?:\d{1,9}(?:ms|[smhdwy]))+)")
_PART = re.compile(r"(\d+)(ms|[smhdwy])")
_UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800, "y": 31_536_000}


@dataclass(frozen=True, slots=True)
class Watched:
    """One signal and what makes it a breach."""

    name: str
    unit: str = ""
    bounds: Bounds = NO_BOUNDS
    """What holds whatever was usual."""
    unknown: Bounds = NO_BOUNDS
    """What holds while nothing usual is known."""
    worse: Worse | None = None
    """The direction in which a change from what was usual is looked for; None for neither."""
    change: float = 0.0
    severity: Severity = Severity.HIGH
    rule: Rule | None = None
    """None for a built-in signal."""
    counts: Literal["errors", "requests"] | None = None
    enough: float = 0.0

    def reach(self, step: float, source: str) -> float:
        """Return for how many seconds a value goes on showing what was before it."""
        if self.rule is None:
            return rate_window(step, source)
        return max((_seconds(each) for each in _RANGE.findall(self.rule.query)), default=0.0)

    def run(self, step: float, source: str) -> int:
        """Return how many samples in a row are a breach: more than one odd moment can fill."""
        if self.rule is not None:
            return RULE_RUN
        return round(rate_window(step, source) / step) + 1


def watched(options: MonitorOptions, also: Iterable[str]) -> tuple[Watched, ...]:
    """Return what is watched, rules first; ``also`` names built-in ones that are needed anyway."""
    rules = tuple(_of_rule(rule) for rule in options.rules)
    taken = {each.name for each in rules}
    wanted = set(SIGNALS) if options.signals else {"request_rate", *also}
    signals = (SIGNALS[name] for name in SIGNALS if name in wanted - taken)
    return (*rules, *(_of_signal(signal) for signal in signals))


def _of_rule(rule: Rule) -> Watched:
    return Watched(
        name=rule.name,
        bounds=Bounds(above=rule.above, below=rule.below),
        severity=rule.severity,
        rule=rule,
    )


def _of_signal(signal: Signal) -> Watched:
    fixed = Bounds(above=signal.above, below=signal.below)
    return Watched(
        name=signal.name,
        unit=signal.unit,
        bounds=fixed,
        unknown=Bounds(above=signal.above_unknown),
        worse=None if fixed.any else signal.worse,
        change=signal.change,
        severity=signal.severity,
        counts=signal.counts,
        enough=signal.enough,
    )


def _seconds(text: str) -> float:
    return sum(int(number) * _UNITS[unit] for number, unit in _PART.findall(text))
