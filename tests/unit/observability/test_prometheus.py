"""Prometheus' answers, whole, odd and hostile; the real one is among the integration tests."""

from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs

import httpx2
import pytest

from pipelines.errors import Retryable
from pipelines.integrations.observability.prometheus import MAX_POINTS, Prometheus
from pipelines.model import Series
from pipelines.net import MAX_BYTES
from tests.support.clock import EPOCH

Handler = Callable[[httpx2.Request], httpx2.Response]


def source(handler: Handler) -> Prometheus:
    client = httpx2.AsyncClient(transport=httpx2.MockTransport(handler))
    return Prometheus(client, "http://prometheus:9090/")


async def asked(handler: Handler, *, seconds: float = 60.0) -> Series:
    prometheus = source(handler)
    try:
        end = EPOCH + timedelta(seconds=seconds)
        return await prometheus.range("up", start=EPOCH, end=end, step_seconds=15)
    finally:
        await prometheus.close()


def answer(*series: list[tuple[float, str]], status: int = 200, **more: Any) -> Handler:
    result = [{"metric": {"a": str(n)}, "values": values} for n, values in enumerate(series)]
    body = {"status": "success", "data": {"resultType": "matrix", "result": result}, **more}
    return lambda _: httpx2.Response(status, json=body)


def text(status: int, body: str) -> Handler:
    return lambda _: httpx2.Response(status, text=body)


async def test_one_series_is_its_points() -> None:
    seen: list[httpx2.Request] = []
    give = answer([(1.0, "0.5"), (16.0, "1e-3")])

    def take(request: httpx2.Request) -> httpx2.Response:
        seen.append(request)
        return give(request)

    series = await asked(take)
    assert [(point.at, point.value) for point in series.points] == [(1.0, 0.5), (16.0, 0.001)]
    assert (series.source, series.reason) == ("prometheus", "")
    [request] = seen
    assert str(request.url) == "http://prometheus:9090/api/v1/query_range"
    form = {name: values[0] for name, values in parse_qs(request.content.decode()).items()}
    assert form == {
        "query": "up",
        "start": f"{EPOCH.timestamp():.3f}",
        "end": f"{EPOCH.timestamp() + 60:.3f}",
        "step": "15.000",
        "timeout": "10s",
    }


async def test_values_that_are_no_numbers_are_left_out_and_said() -> None:
    series = await asked(answer([(1, "NaN"), (2, "+Inf"), (3, "-Inf"), (4, "x"), (5, "7")]))
    assert [point.value for point in series.points] == [7.0]
    assert series.reason == "4 of 5 values are not numbers"


async def test_a_partial_answer_is_said() -> None:
    series = await asked(answer([(1, "1")], warnings=["store-2 is\n away \x1b[1m" + "x" * 500]))
    assert series.points
    assert series.reason.startswith(
        "Prometheus says that its answer is partial: store-2 is away [1m"
    )
    assert len(series.reason) < 300


@pytest.mark.parametrize(
    ("handler", "reason"),
    [
        (answer(), "Prometheus has no data for it"),
        (answer(warnings=["store away"]), "its answer is partial: store away"),
        (answer([(1, "1")], [(1, "2")]), "the query gives 2 series; wrap it in sum()"),
        (
            text(400, '{"status":"error","errorType":"bad_data","error":"parse error: \\n x"}'),
            "Prometheus refused the query: bad_data parse error: x",
        ),
        (text(422, '{"status":"error","errorType":"execution"}'), "refused the query: execution"),
        (text(400, "<html>"), "refused the query: the answer is not its JSON"),
        (text(200, '{"status":"error","error":"odd"}'), "what answered is not Prometheus: odd"),
        (text(200, "<html>Please log in</html>"), "what answered is not Prometheus"),
        (text(200, '{"status":"success","data":{"resultType":"vector","result":[]}}'), "not Prom"),
        (text(200, "[" * 10_000), "what answered is not Prometheus"),
        (text(200, ""), "what answered is not Prometheus"),
        (answer([(1, "1" * 65)]), "what answered is not Prometheus"),
        (text(302, ""), "Prometheus answered with HTTP 302"),
        (text(401, ""), "Prometheus answered with HTTP 401"),
        (text(404, ""), "Prometheus answered with HTTP 404"),
    ],
    ids=range(15),
)
async def test_no_data_has_a_reason(handler: Handler, reason: str) -> None:
    series = await asked(handler)
    assert series.points == ()
    assert reason in series.reason


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503])
async def test_a_prometheus_in_trouble_is_asked_later(status: int) -> None:
    with pytest.raises(Retryable, match=f"HTTP {status}") as caught:
        await asked(text(status, "secret text"))
    assert caught.value.dependency == "prometheus"


@pytest.mark.parametrize(
    "error",
    [httpx2.ConnectError("http://user:pw@x"), httpx2.ReadTimeout("x"), httpx2.InvalidURL("x")],
)
async def test_a_prometheus_that_cannot_be_reached_is_asked_later(error: Exception) -> None:
    def fail(_: httpx2.Request) -> httpx2.Response:
        raise error

    with pytest.raises(Retryable) as caught:
        await asked(fail)
    assert "pw" not in str(caught.value)


async def test_a_huge_answer_is_cut_off_while_it_comes() -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while True:
            sent += 65_536
            yield b"x" * 65_536

    series = await asked(lambda _: httpx2.Response(200, content=endless()))
    assert series.reason == f"the answer is larger than {MAX_BYTES} bytes; use sum()"
    assert sent <= MAX_BYTES + 2 * 65_536


async def test_a_compressed_answer_is_refused() -> None:
    series = await asked(
        lambda _: httpx2.Response(
            200, headers={"content-encoding": "gzip"}, stream=httpx2.ByteStream(b"x")
        )
    )
    assert "larger than" in series.reason


async def test_too_many_points_are_not_asked_for() -> None:
    def never(_: httpx2.Request) -> httpx2.Response:
        raise AssertionError("asked")

    series = await asked(never, seconds=15.0 * (MAX_POINTS + 1))
    assert "more than 1100 points" in series.reason
