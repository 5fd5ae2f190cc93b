"""A real Prometheus: what it answers, and that scrapes are evaluated as it evaluates them.

Needs ``prometheus`` and ``promtool`` on the PATH.
"""

import asyncio
import math
import random
import shutil
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx2
import pytest

from pipelines.integrations.observability.evaluation import Evaluator, series_key
from pipelines.integrations.observability.expression import parse
from pipelines.integrations.observability.prometheus import Prometheus
from pipelines.integrations.observability.samples import Scrape
from pipelines.integrations.observability.signals import SIGNALS
from tests.support.daemon import free_port, running
from tests.unit.observability.test_signals import INJECTIONS

SERVER, TOOL = shutil.which("prometheus"), shutil.which("promtool")
pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(not (SERVER and TOOL), reason="prometheus is not installed"),
]

STEP = 15.0
START = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)
BOUNDS = ("0.1", "0.5", "1.0", "+Inf")


def a_history() -> list[Scrape]:
    """Ten minutes of a service that restarts once and whose errors begin late."""
    rng = random.Random(11)
    well, ill, buckets, depth = 0.0, 0.0, [0.0] * len(BOUNDS), 5.0
    scrapes: list[Scrape] = []
    for index in range(41):
        if index == 20:
            well, ill, buckets = 0.0, 0.0, [0.0] * len(BOUNDS)
        requests = rng.randrange(20, 60)
        well += requests
        ill += rng.randrange(5) if index > 8 else 0
        depth += rng.randrange(-2, 3)
        for place in range(len(BOUNDS)):
            buckets[place] += requests * (place + 1) // len(BOUNDS)
        values = {
            series_key("http_requests_total", {"status": "200"}): well,
            series_key("queue_depth", {}): depth,
            series_key("process_start_time_seconds", {}): 1e9 + (index >= 20),
        }
        for bound, count in zip(BOUNDS, buckets, strict=True):
            values[series_key("http_request_duration_seconds_bucket", {"le": bound})] = count
        if index > 8:
            values[series_key("http_requests_total", {"status": "500"})] = ill
        scrapes.append(Scrape(at=START.timestamp() + STEP * index, values=values))
    return scrapes


def openmetrics(history: list[Scrape]) -> str:
    """The same samples as a file that promtool makes a database of."""
    types = {
        "http_requests_total": ("http_requests", "counter"),
        "queue_depth": ("queue_depth", "gauge"),
        "process_start_time_seconds": ("process_start_time_seconds", "gauge"),
        "http_request_duration_seconds_bucket": ("http_request_duration_seconds_bucket", "unknown"),
    }
    lines: list[str] = []
    for name, (family, kind) in types.items():
        lines.append(f"# TYPE {family} {kind}")
        for key in sorted({k for s in history for k in s.values if k.startswith(name + "{")}):
            labels = key.removeprefix(name).replace('":"', '="').replace('{"', "{")
            lines += [f"{name}{labels} {s.values[key]} {s.at}" for s in history if key in s.values]
    return "\n".join([*lines, "# EOF", ""])


@pytest.fixture(scope="module")
def history() -> list[Scrape]:
    return a_history()


@pytest.fixture
async def prometheus(tmp_path: Path, history: list[Scrape]) -> AsyncIterator[Prometheus]:
    assert SERVER
    assert TOOL
    samples = tmp_path / "samples.txt"
    samples.write_text(openmetrics(history))
    making = await asyncio.create_subprocess_exec(
        *(TOOL, "tsdb", "create-blocks-from", "openmetrics", str(samples), str(tmp_path / "data")),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await making.communicate()
    assert making.returncode == 0, said.decode()
    port = free_port()
    (tmp_path / "prometheus.yml").write_text(
        "scrape_configs:\n"
        "- job_name: self\n"
        "  scrape_interval: 1s\n"
        "  static_configs:\n"
        f"  - targets: ['127.0.0.1:{port}']\n"
    )
    command = [
        SERVER,
        f"--config.file={tmp_path / 'prometheus.yml'}",
        f"--storage.tsdb.path={tmp_path / 'data'}",
        "--storage.tsdb.retention.time=50y",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    url = f"http://127.0.0.1:{port}"
    async with running(command, f"{url}/-/ready", tmp_path):
        source = Prometheus(httpx2.AsyncClient(trust_env=False), url)
        yield source
        await source.close()


QUERIES = [
    "queue_depth",
    "sum(http_requests_total)",
    "sum(rate(http_requests_total[1m]))",
    "sum(increase(http_requests_total[2m]))",
    'sum(rate(http_requests_total{status=~"5.."}[1m])) / sum(rate(http_requests_total[1m]))',
    'sum(rate(http_requests_total{status!="200"}[45s])) * 60',
    "sum(changes(process_start_time_seconds[1m]))",
    "max(queue_depth) - min(queue_depth) + 3 * 2",
    "-2 + avg(queue_depth)",
    "count(http_requests_total)",
    "histogram_quantile(0.5, rate(http_request_duration_seconds_bucket[1m]))",
    "histogram_quantile(0.95, sum by (le) (rate(http_request_duration_seconds_bucket[90s])))",
    "sum(nothing) or sum(queue_depth)",
    *(signal.build({}, 60.0) for name, signal in SIGNALS.items() if name != "up"),
]


async def test_scrapes_are_evaluated_as_prometheus_does(
    prometheus: Prometheus, history: list[Scrape]
) -> None:
    """Samples lie half a second beside the steps, so that no window ends exactly on one."""
    start, end = START + timedelta(seconds=120.5), START + timedelta(seconds=600)
    evaluator = Evaluator(history, lookback=300.0)
    for query in QUERIES:
        theirs = await prometheus.range(query, start=start, end=end, step_seconds=STEP)
        assert theirs.points or "nothing" in query, f"{query}: {theirs.reason}"
        ours = {
            start.timestamp() + STEP * index: evaluator.value(
                parse(query), start.timestamp() + STEP * index
            )
            for index in range(32)
        }
        known = {at: v for at, v in ours.items() if v is not None and math.isfinite(v)}
        expected = {point.at: point.value for point in theirs.points}
        assert known == pytest.approx(expected, rel=1e-9), query


async def test_a_wrong_query_is_told_in_its_own_words(prometheus: Prometheus) -> None:
    series = await prometheus.range("sum(", start=START, end=START, step_seconds=STEP)
    assert series.reason.startswith("Prometheus refused the query: bad_data ")


async def test_several_series_are_said(prometheus: Prometheus) -> None:
    series = await prometheus.range(
        "http_requests_total",
        start=START,
        end=START + timedelta(minutes=5),
        step_seconds=STEP,
    )
    assert series.reason == "the query gives 2 series; wrap it in sum()"


async def test_nothing_is_no_data(prometheus: Prometheus) -> None:
    series = await prometheus.range("missing", start=START, end=START, step_seconds=STEP)
    assert series.reason == "Prometheus has no data for it"


async def test_a_division_by_nothing_is_left_out_and_said(prometheus: Prometheus) -> None:
    series = await prometheus.range(
        "sum(queue_depth) * 0 / 0", start=START, end=START, step_seconds=STEP
    )
    assert series.reason == "1 of 1 values are not numbers"


async def test_no_label_value_breaks_out_of_a_signals_query(prometheus: Prometheus) -> None:
    for value in INJECTIONS:
        for signal in SIGNALS.values():
            query = signal.build({"job": value}, 60.0)
            series = await prometheus.range(query, start=START, end=START, step_seconds=STEP)
            assert series.reason == "Prometheus has no data for it", (value, series.reason)


async def test_what_it_scrapes_itself_is_up(prometheus: Prometheus) -> None:
    async with asyncio.timeout(30):
        while True:
            now = datetime.now(UTC)
            up = SIGNALS["up"].build({"job": "self"}, 60.0)
            series = await prometheus.range(up, start=now, end=now, step_seconds=STEP)
            if series.points:
                break
            await asyncio.sleep(0.2)
    assert series.points[0].value == 1.0
