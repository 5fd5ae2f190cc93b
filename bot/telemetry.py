"""Logs and metrics: structured, redacted at the exit, and never in the way of work.

Log keys follow go-githubapp's names: ``github_event_type``, ``github_delivery_id``,
``github_installation_id``, ``github_repository_owner``, ``github_repository_name``,
``github_pr_num``; and ours: ``run_id``, ``step``, ``agent``, ``attempt``.
"""

import io
import logging
import queue
import threading
from collections.abc import AsyncIterator, Generator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Literal, TextIO

import structlog
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from pydantic import JsonValue

from bot.redactor import Redactor
from pipelines.orchestration.news import ended_here

LogFormat = Literal["console", "json"]

_QUIET = ("aiohttp", "asyncio", "anthropic", "gidgethub", "httpcore2", "httpx2", "openai")
"""Libraries that log URLs and headers at INFO; only their warnings are wanted."""

_FLUSH_SECONDS = 2.0
_MOST_LINES = 10_000
"""How many lines may wait for the sink; threads that log at the same moment may add one each."""
_AT_ONCE = 100
"""How many lines a sink that fails or hangs takes with it."""

_NOT_RENDERED = '{"event": "log_line_not_rendered", "level": "error"}\n'

_EVENTS = frozenset(
    (
        "check_run",
        "check_suite",
        "deployment",
        "deployment_status",
        "installation",
        "installation_repositories",
        "issue_comment",
        "issues",
        "ping",
        "pull_request",
        "pull_request_review_comment",
        "push",
    )
)


def event_label(event: str) -> str:
    """Return the event's name as a metric label; whatever is not ours counts as ``other``."""
    return event if event in _EVENTS else "other"


class Metrics:
    """Every metric, on a registry of its own. Labels come from closed sets, never from users."""

    TYPE = CONTENT_TYPE_LATEST

    def __init__(self) -> None:
        disable_created_metrics()
        self.registry = CollectorRegistry()
        counter = partial(Counter, registry=self.registry)
        gauge = partial(Gauge, registry=self.registry)
        histogram = partial(Histogram, registry=self.registry)
        self.deliveries = counter(
            "conductor_deliveries", "Webhook deliveries answered", ["event", "result"]
        )
        self.acknowledgement = histogram(
            "conductor_acknowledgement_seconds",
            "From a delivery's request head to its answer",
            buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10),
        )
        self.runs = counter("conductor_runs", "Runs that ended", ["conclusion"])
        self.steps = histogram(
            "conductor_step_duration_seconds",
            "From a step's claim to its end",
            ["agent", "conclusion"],
            buckets=(0.1, 0.5, 1, 5, 15, 60, 180, 600, 1800),
        )
        self.dead_letters = counter("conductor_dead_letters", "Messages given up", ["queue"])
        self.queue_depth = gauge("conductor_queue_depth", "Unsettled messages", ["queue"])
        self.github_requests = counter(
            "conductor_github_requests", "Requests to GitHub", ["method", "status"]
        )
        self.github_seconds = histogram(
            "conductor_github_request_seconds", "Duration of requests to GitHub"
        )
        self.model_tokens = counter(
            "conductor_llm_tokens", "Tokens of model calls", ["model", "kind"]
        )
        self.model_cost = counter(
            "conductor_llm_cost_usd", "Cost of model calls in US dollars", ["model"]
        )
        self.logs_dropped = counter(
            "conductor_log_lines_dropped", "Log lines shed because the sink was slow"
        )

    async def follow(self, news: AsyncIterator[JsonValue]) -> None:
        """Count what ended in this process, for as long as there are news."""
        async for item in news:
            ending = ended_here(item)
            if ending is None:
                continue
            match ending.what:
                case "run":
                    self.runs.labels(str(ending.conclusion)).inc()
                case "step" if ending.seconds is not None:
                    self.steps.labels(ending.name, str(ending.conclusion)).observe(ending.seconds)
                case "message":
                    self.dead_letters.labels(ending.name).inc()
                case _:
                    continue

    def render(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        return generate_latest(self.registry)


class _Writer(threading.Thread):
    """Writes lines that wait together: a busy process does not pay for one write a line."""

    def __init__(self, stream: TextIO, metrics: Metrics) -> None:
        super().__init__(name="log-writer", daemon=True)
        self._stream = stream
        self._metrics = metrics
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()

    def put(self, line: str) -> None:
        """Have a line written; where too many wait already, it costs the line, never time."""
        if self._lines.qsize() < _MOST_LINES:
            self._lines.put(line)
        else:
            self._metrics.logs_dropped.inc()

    def stop(self) -> None:
        """Write what waits; a sink that stays stuck does not keep the process from ending."""
        self._lines.put(None)
        self.join(_FLUSH_SECONDS)

    def run(self) -> None:
        """Write until ``stop``."""
        while (first := self._lines.get()) is not None:
            more = min(self._lines.qsize(), _AT_ONCE)
            waiting = [first, *(self._lines.get() for _ in range(more))]
            self._write([line for line in waiting if line is not None])
            if waiting[-1] is None:
                return

    def _write(self, lines: Sequence[str]) -> None:
        try:
            self._stream.write("".join(lines))
            self._stream.flush()
        except (OSError, ValueError):
            self._metrics.logs_dropped.inc(len(lines))


class _Handler(logging.Handler):
    """Gives finished lines to the writer."""

    def __init__(self, writer: _Writer) -> None:
        super().__init__()
        self._writer = writer

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._writer.put(self.format(record) + "\n")
        except Exception:  # noqa: BLE001 - whoever logs is never the one to fail
            # The standard library would print the arguments, which nothing has redacted.
            self._writer.put(_NOT_RENDERED)


class _RedactingFormatter(structlog.stdlib.ProcessorFormatter):
    """Renders a record, then removes every secret from the finished text."""

    def __init__(self, redactor: Redactor, log_format: LogFormat) -> None:
        self._redactor = redactor
        render: structlog.typing.Processor = (
            structlog.processors.JSONRenderer()
            if log_format == "json"
            else structlog.dev.ConsoleRenderer(colors=False)
        )
        super().__init__(
            foreign_pre_chain=_shared_processors(),
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, render],
        )

    def format(self, record: logging.LogRecord) -> str:
        return self._redactor(super().format(record))


def _shared_processors() -> list[structlog.typing.Processor]:
    return [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
    ]


@contextmanager
def logging_to(
    stream: TextIO,
    *,
    level: str,
    log_format: LogFormat,
    redactor: Redactor,
    metrics: Metrics,
) -> Generator[None]:
    """Send all logs, also those of libraries, to the stream while the context is open.

    A thread of its own writes them, so that a blocked or full sink never holds up the event loop.
    """
    structlog.configure(
        processors=[*_shared_processors(), structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    _tolerate(stream)
    writer = _Writer(stream, metrics)
    handler = _Handler(writer)
    handler.setFormatter(_RedactingFormatter(redactor, log_format))
    root = logging.getLogger()
    previous = (root.handlers[:], root.level)
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in _QUIET:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))
    writer.start()
    try:
        yield
    finally:
        writer.stop()
        root.handlers[:], root.level = previous
        structlog.reset_defaults()


def _tolerate(stream: TextIO) -> None:
    """Make a terminal in a narrow locale show what it cannot spell instead of raising."""
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="backslashreplace")
