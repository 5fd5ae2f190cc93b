"""Logs are structured, complete and free of secrets; metrics have closed label sets."""

import io
import json
import logging
import os
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import structlog
from pydantic import BaseModel, ValidationError

from bot.redactor import Redactor
from bot.telemetry import LogFormat, Metrics, event_label, logging_to

CANARY = "canary-8f3a61c2d94e47"


def logged(write: Callable[[], None], log_format: LogFormat = "json", level: str = "DEBUG") -> str:
    stream = io.StringIO()
    with logging_to(
        stream, level=level, log_format=log_format, redactor=Redactor([CANARY]), metrics=Metrics()
    ):
        write()
    return stream.getvalue()


def test_a_line_carries_the_bound_keys_and_is_json() -> None:
    def write() -> None:
        with structlog.contextvars.bound_contextvars(run_id="r1", github_delivery_id="d1"):
            structlog.stdlib.get_logger("bot.x").info("step_done", step="review")

    line: dict[str, Any] = json.loads(logged(write))
    assert line["event"] == "step_done"
    assert (line["run_id"], line["github_delivery_id"], line["step"]) == ("r1", "d1", "review")
    assert (line["level"], line["logger"]) == ("info", "bot.x")
    assert line["timestamp"].endswith("Z")


class _Account(BaseModel):
    name: int
    token: str


def fail_with_the_secret_in_reach() -> None:
    token = CANARY
    _Account.model_validate({"name": token, "token": token})


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_no_secret_is_written_whoever_logs_it(log_format: LogFormat) -> None:
    def write() -> None:
        log = structlog.stdlib.get_logger("bot.x")
        log.info("said", value=CANARY, nested={"url": f"https://u:{CANARY}@host/?t={CANARY}"})
        logging.getLogger("some.library").warning("Authorization: Bearer %s", CANARY)
        try:
            fail_with_the_secret_in_reach()
        except ValidationError:
            log.exception("failed")

    text = logged(write, log_format)
    assert CANARY not in text
    assert "ValidationError" in text


def test_one_event_is_one_line_whatever_a_stranger_put_in_it() -> None:
    nasty = "a\nb\r\x1b[31m\u202e\u2028end"

    def write() -> None:
        structlog.stdlib.get_logger("bot.x").info("title", title=nasty)

    for log_format in ("json", "console"):
        text = logged(write, log_format)
        assert text.count("\n") == 1
        assert "\x1b" not in text


def test_libraries_that_log_urls_are_quiet_below_warning() -> None:
    def write() -> None:
        logging.getLogger("httpx2").info(
            "HTTP Request: POST https://hooks.slack.com/services/T/B/X"
        )

    assert logged(write) == ""


def test_event_labels_come_from_a_closed_set() -> None:
    assert event_label("push") == "push"
    assert event_label("x" * 1000) == "other"


class _Stuck(io.StringIO):
    """A sink that takes nothing."""

    def __init__(self, gate: Any) -> None:
        super().__init__()
        self._gate = gate

    def write(self, text: str) -> int:
        self._gate.wait()
        return super().write(text)


def test_a_stuck_sink_costs_lines_and_not_the_caller() -> None:
    gate = threading.Event()
    metrics = Metrics()
    with logging_to(
        _Stuck(gate), level="INFO", log_format="json", redactor=Redactor(), metrics=metrics
    ):
        log = structlog.stdlib.get_logger("bot.x")
        for number in range(10_200):
            log.info("line", number=number)
        dropped = metrics.registry.get_sample_value("conductor_log_lines_dropped_total")
        gate.set()
    assert dropped
    assert dropped >= 50


class _Refusing(io.StringIO):
    """A sink whose disk is full until it is not."""

    full = True

    def write(self, text: str) -> int:
        if self.full:
            raise OSError(28, "No space left on device")
        return super().write(text)


def test_a_sink_that_refuses_costs_lines_and_is_tried_again() -> None:
    sink, metrics = _Refusing(), Metrics()
    dropped = partial(metrics.registry.get_sample_value, "conductor_log_lines_dropped_total")
    with logging_to(sink, level="INFO", log_format="json", redactor=Redactor(), metrics=metrics):
        log = structlog.stdlib.get_logger("bot.x")
        log.info("first")
        while not dropped():
            os.sched_yield()
        sink.full = False
        log.info("second")
    assert dropped() == 1
    assert "second" in sink.getvalue()
    assert "first" not in sink.getvalue()


class _Unprintable:
    def __str__(self) -> str:
        raise ValueError(CANARY)


def test_a_line_that_cannot_be_rendered_is_said_without_its_contents(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def write() -> None:
        logging.getLogger("some.library").warning("%s %s", CANARY, _Unprintable())

    assert json.loads(logged(write))["event"] == "log_line_not_rendered"
    assert CANARY not in "".join(capsys.readouterr())
