"""Logs and metrics: structured, redacted at the exit, and never in the way of work.

Log keys follow go-githubapp's names: ``github_event_type``, ``github_delivery_id``,
``github_installation_id``, ``github_repository_owner``, ``github_repository_name``,
``github_pr_num``; and ours: ``run_id``, ``step``, ``agent``, ``attempt``.
"""

import io
import logging
import logging.handlers
import queue
from collections.abc import AsyncIterator, Generator
from contextlib import contextmanager, suppress
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
from pipelines.orchestration.news import Ending

LogFormat = Literal["console", "json"]

_QUIET = ("aiohttp", "asyncio", "anthropic", "gidgethub", "httpcore2", "httpx2", "openai")
"""Libraries that log URLs and headers at INFO; only their warnings are wanted."""

_FLUSH_SECONDS = 2.0

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
        r = self.registry
        self.deliveries = Counter(
            "conductor_deliveries", "Webhook deliveries answered", ["event", "result"], registry=r
        )
        self.acknowledgement = Histogram(
            "conductor_acknowledgement_seconds",
            "From a delivery's request head to its answer",
            buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10),
            registry=r,
        )
        self.runs = Counter("conductor_runs", "Runs that ended", ["conclusion"], registry=r)
        self.steps = Histogram(
            "conductor_step_duration_seconds",
            "From a step's claim to its end",
            ["agent", "conclusion"],
            buckets=(0.1, 0.5, 1, 5, 15, 60, 180, 600, 1800),
            registry=r,
        )
        self.dead_letters = Counter(
            "conductor_dead_letters", "Messages given up", ["queue"], registry=r
        )
        self.queue_depth = Gauge(
            "conductor_queue_depth", "Unsettled messages", ["queue"], registry=r
        )
        self.github_requests = Counter(
            "conductor_github_requests", "Requests to GitHub", ["method", "status"], registry=r
        )
        self.github_seconds = Histogram(
            "conductor_github_request_seconds", "Duration of requests to GitHub", registry=r
        )
        self.model_tokens = Counter(
            "conductor_llm_tokens", "Tokens of model calls", ["model", "kind"], registry=r
        )
        self.model_cost = Counter(
            "conductor_llm_cost_usd", "Cost of model calls in US dollars", ["model"], registry=r
        )
        self.logs_dropped = Counter(
            "conductor_log_lines_dropped", "Log lines shed because the sink was slow", registry=r
        )

    async def follow(self, news: AsyncIterator[JsonValue]) -> None:
        """Count what ended, for as long as there are news."""
        async for item in news:
            ending = Ending.model_validate(item)
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


class _SheddingHandler(logging.handlers.QueueHandler):
    """Puts finished lines in a bounded queue; a full one costs lines, never time."""

    def __init__(self, lines: "queue.Queue[object]", metrics: Metrics) -> None:
        super().__init__(lines)
        self._metrics = metrics

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        record.msg = self.format(record)
        record.args = record.exc_info = record.exc_text = record.stack_info = None
        return record

    def enqueue(self, record: logging.LogRecord) -> None:
        try:
            self.queue.put_nowait(record)
        except queue.Full:
            self._metrics.logs_dropped.inc()


class _Writer(logging.handlers.QueueListener):
    """Writes the queued lines; a sink that stays stuck does not keep the process from ending."""

    def __init__(self, lines: "queue.Queue[object]", handler: logging.Handler) -> None:
        super().__init__(lines, handler)
        self._lines = lines

    def enqueue_sentinel(self) -> None:
        with suppress(queue.Full):
            self._lines.put(None, timeout=_FLUSH_SECONDS)

    def stop(self) -> None:
        self.enqueue_sentinel()
        if (thread := self._thread) is not None:
            thread.join(_FLUSH_SECONDS)
            self._thread = None


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
    lines: queue.Queue[object] = queue.Queue(maxsize=10_000)
    shedding = _SheddingHandler(lines, metrics)
    shedding.setFormatter(_RedactingFormatter(redactor, log_format))
    _tolerate(stream)
    writer = logging.StreamHandler(stream)
    listener = _Writer(lines, writer)
    root = logging.getLogger()
    previous = (root.handlers[:], root.level)
    root.handlers[:] = [shedding]
    root.setLevel(level)
    for name in _QUIET:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))
    listener.start()
    try:
        yield
    finally:
        listener.stop()
        root.handlers[:], root.level = previous
        structlog.reset_defaults()


def _tolerate(stream: TextIO) -> None:
    """Make a terminal in a narrow locale show what it cannot spell instead of raising."""
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="backslashreplace")
