"""The signals that need no configuration: usual metric names, and how each is made of them."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from pipelines.errors import UserError
from pipelines.model import Severity

MIN_WINDOW_SECONDS = 120.0
"""The shortest span of a rate in Prometheus, which may scrape only once a minute."""

_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*", re.ASCII)
_ERRORS = "5.."
_ANY = ".+"
# Metric and label with the status: Prometheus clients, OpenTelemetry, Micrometer.
_REQUESTS = (
    ("http_requests_total", "status"),
    ("http_requests_total", "code"),
    ("http_requests_total", "status_code"),
    ("http_request_duration_seconds_count", "status"),
    ("http_request_duration_seconds_count", "code"),
    ("http_request_duration_seconds_count", "status_code"),
    ("http_server_request_duration_seconds_count", "http_response_status_code"),
    ("http_server_requests_seconds_count", "status"),
)
_DURATIONS = (
    "http_request_duration_seconds",
    "http_server_request_duration_seconds",
    "http_server_requests_seconds",
)


@dataclass(frozen=True, slots=True)
class Signal:
    """One built-in signal.

    ``worse`` is the direction that hurts, None if neither does by itself. ``above`` and ``below``
    are bounds that hold whatever was usual; ``above_unknown`` one for when nothing usual is known.
    ``change`` is the smallest difference that matters, in the signal's own unit. ``counts`` says of
    what there must be ``enough`` before it means anything.
    """

    name: str
    unit: str
    worse: Literal["up", "down"] | None
    change: float
    build: Callable[[Mapping[str, str], float], str]
    above: float | None = None
    below: float | None = None
    above_unknown: float | None = None
    counts: Literal["errors", "requests"] | None = None
    enough: float = 0.0
    severity: Severity = Severity.HIGH


def rate_window(step_seconds: float, source: str) -> float:
    """Return the span, in seconds, over which a built-in signal takes a rate."""
    least = MIN_WINDOW_SECONDS if source == "prometheus" else 0.0
    return max(least, 4 * step_seconds)


def matchers(labels: Mapping[str, str], **patterns: str) -> str:
    """Return ``{a="x",b=~"y"}`` with every value escaped; ``patterns`` are regular expressions.

    Raises UserError for a label name that PromQL has no place for.
    """
    for name in (*labels, *patterns):
        if not _LABEL.fullmatch(name):
            raise UserError(f"{name!r} cannot be the name of a label.")
    equal = [f"{name}={quoted(value)}" for name, value in labels.items()]
    alike = [f"{name}=~{quoted(value)}" for name, value in patterns.items()]
    return "{" + ",".join([*equal, *alike]) + "}" if equal or alike else ""


def quoted(value: str) -> str:
    """Return a PromQL string literal; nothing in the value can end it."""
    plain = value.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(c if c.isprintable() else f"\\U{ord(c):08x}" for c in plain) + '"'


def duration(seconds: float) -> str:
    """Return a PromQL duration, in whole milliseconds."""
    return f"{max(1, round(seconds * 1000))}ms"


def _either(alternatives: list[str]) -> str:
    return " or ".join(alternatives)


def _request_rate(labels: Mapping[str, str], window: float) -> str:
    return _either([f"sum({_rate(name, window, labels)})" for name in dict(_REQUESTS)])


def _error_rate(labels: Mapping[str, str], window: float) -> str:
    """Errors per request; a service that never had one has no series of them, which means 0."""
    shares: list[str] = []
    for name, status in _REQUESTS:
        every = f"sum({_rate(name, window, labels, **{status: _ANY})})"
        errors = f"sum({_rate(name, window, labels, **{status: _ERRORS})})"
        shares.append(f"({errors} or 0 * {every}) / {every}")
    return _either(shares)


def _latency(labels: Mapping[str, str], window: float) -> str:
    return _either(
        [
            f"histogram_quantile(0.95, sum by (le) ({_rate(f'{name}_bucket', window, labels)}))"
            for name in _DURATIONS
        ]
    )


def _restarts(labels: Mapping[str, str], window: float) -> str:
    selector = f"process_start_time_seconds{matchers(labels)}"
    return f"sum(changes({selector}[{duration(window)}]))"


def _up(labels: Mapping[str, str], window: float) -> str:
    return f"min(up{matchers(labels)})"


def _rate(name: str, window: float, labels: Mapping[str, str], **patterns: str) -> str:
    return f"rate({name}{matchers(labels, **patterns)}[{duration(window)}])"


_ALL = (
    Signal(
        "error_rate",
        "ratio",
        "up",
        0.01,
        _error_rate,
        above_unknown=0.05,
        counts="errors",
        enough=5.0,
    ),
    Signal("latency_p95", "s", "up", 0.02, _latency, counts="requests", enough=20.0),
    Signal("request_rate", "1/s", None, 0.1, _request_rate),
    Signal("restarts", "", "up", 1.0, _restarts, above=0.0),
    Signal("up", "", "down", 1.0, _up, below=0.5, severity=Severity.CRITICAL),
)
SIGNALS: Mapping[str, Signal] = MappingProxyType({signal.name: signal for signal in _ALL})
"""By name, in the order in which they are shown."""
