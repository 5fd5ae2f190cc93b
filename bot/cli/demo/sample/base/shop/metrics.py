"""Counters in Prometheus' text format."""

import threading
import time
from collections import Counter

_STARTED = time.time()
_lock = threading.Lock()
_answers: Counter[int] = Counter({200: 0, 404: 0, 500: 0})


def count(status: int) -> None:
    """Count one answer."""
    with _lock:
        _answers[status] += 1


def page() -> str:
    """Return the page that a monitor reads."""
    with _lock:
        answers = sorted(_answers.items())
    lines = ["# TYPE http_requests_total counter"]
    lines += [f'http_requests_total{{status="{status}"}} {seen}' for status, seen in answers]
    lines += ["# TYPE process_start_time_seconds gauge", f"process_start_time_seconds {_STARTED}"]
    return "\n".join(lines) + "\n"
