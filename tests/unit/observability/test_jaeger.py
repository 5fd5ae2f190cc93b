"""Jaeger's query API, as its source describes it: there is no peer to ask."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import httpx2
import pytest

from pipelines.errors import Retryable
from pipelines.integrations.observability.jaeger import MAX_BYTES, MAX_OPERATIONS, Jaeger
from pipelines.model import TraceReport
from tests.support.clock import EPOCH

Handler = Callable[[httpx2.Request], httpx2.Response]


async def asked(handler: Handler) -> TraceReport:
    jaeger = Jaeger(httpx2.AsyncClient(transport=httpx2.MockTransport(handler)), "http://j:16686")
    try:
        return await jaeger.summary("shop", start=EPOCH, end=EPOCH + timedelta(minutes=1))
    finally:
        await jaeger.close()


def a_span(operation: str, milliseconds: float, process: str = "p1", **tags: Any) -> dict[str, Any]:
    return {
        "traceID": "ab12",
        "spanID": "cd",
        "operationName": operation,
        "references": [],
        "startTime": 1,
        "duration": milliseconds * 1000,
        "tags": [
            {"key": key.replace("__", "."), "type": "string", "value": value}
            for key, value in tags.items()
        ],
        "processID": process,
    }


def a_trace(*spans: dict[str, Any], trace_id: str = "ab12") -> dict[str, Any]:
    processes = {"p1": {"serviceName": "shop", "tags": []}, "p2": {"serviceName": "db"}}
    return {"traceID": trace_id, "spans": spans, "processes": processes, "warnings": None}


def answer(*traces: dict[str, Any]) -> Handler:
    return lambda _: httpx2.Response(
        200, json={"data": traces, "total": 0, "limit": 0, "offset": 0, "errors": None}
    )


async def test_operations_are_counted_and_ranked() -> None:
    slow = [a_trace(a_span("GET /cart", ms)) for ms in range(1, 101)]
    report = await asked(answer(*slow, a_trace(a_span("GET /", 5.0))))
    cart, home = report.operations
    assert (cart.operation, cart.count, cart.errors) == ("GET /cart", 100, 0)
    assert (cart.p50_seconds, cart.p95_seconds) == (0.05, 0.095)
    assert home.count == 1


async def test_the_service_that_is_called_is_not_the_service() -> None:
    report = await asked(answer(a_trace(a_span("GET /", 5.0), a_span("SELECT", 4.0, "p2"))))
    assert [each.operation for each in report.operations] == ["GET /"]


@pytest.mark.parametrize(
    "tags",
    [
        {"error": True},
        {"error": "true"},
        {"otel__status_code": "ERROR"},
        {"http__status_code": 503},
        {"http__response__status_code": "500"},
    ],
)
async def test_an_error_is_told_by_its_tags(tags: dict[str, Any]) -> None:
    well = a_trace(a_span("GET /", 900.0), trace_id="aaaa")
    report = await asked(answer(well, a_trace(a_span("GET /", 5.0, **tags), trace_id="bbbb")))
    [operation] = report.operations
    assert (operation.count, operation.errors, operation.example) == (2, 1, "bbbb")


@pytest.mark.parametrize(
    "tags", [{}, {"error": False}, {"error": "no"}, {"http__status_code": 404}, {"error": [1]}]
)
async def test_other_tags_are_no_errors(tags: dict[str, Any]) -> None:
    report = await asked(answer(a_trace(a_span("GET /", 5.0, **tags))))
    assert report.operations[0].errors == 0


async def test_names_of_strangers_are_short_lines() -> None:
    trace = a_trace(a_span("a\n\u202eb\x1b" + "x" * 900, 1.0), trace_id="<script>")
    [operation] = (await asked(answer(trace))).operations
    assert operation.operation == "a b" + "x" * 197
    assert operation.example is None


async def test_rare_operations_are_left_out_and_said() -> None:
    spans = [a_span(f"op {number}", 1.0) for number in range(MAX_OPERATIONS + 3)]
    report = await asked(answer(a_trace(*spans)))
    assert len(report.operations) == MAX_OPERATIONS
    assert report.reason == "3 rarer operations are left out"


@pytest.mark.parametrize(
    ("response", "reason"),
    [
        (httpx2.Response(200, json={"data": []}), "Jaeger has no traces of it in that time"),
        (httpx2.Response(200, json={"data": None}), "Jaeger has no traces of it in that time"),
        (httpx2.Response(200, text="<html>"), "what answered is not Jaeger"),
        (httpx2.Response(200, json={"data": [{"spans": 3}]}), "what answered is not Jaeger"),
        (httpx2.Response(404), "Jaeger answered with HTTP 404"),
        (httpx2.Response(302), "Jaeger answered with HTTP 302"),
        (httpx2.Response(200, content=b"x" * (MAX_BYTES + 1)), "is larger than"),
    ],
    ids=range(7),
)
async def test_no_traces_have_a_reason(response: httpx2.Response, reason: str) -> None:
    report = await asked(lambda _: response)
    assert report.operations == ()
    assert reason in report.reason


async def test_a_jaeger_in_trouble_is_asked_later() -> None:
    with pytest.raises(Retryable, match="HTTP 503"):
        await asked(lambda _: httpx2.Response(503))

    def fail(_: httpx2.Request) -> httpx2.Response:
        raise httpx2.ConnectError("http://user:pw@j")

    with pytest.raises(Retryable) as caught:
        await asked(fail)
    assert "pw" not in str(caught.value)


async def test_the_request_is_in_microseconds() -> None:
    seen: list[httpx2.Request] = []

    def take(request: httpx2.Request) -> httpx2.Response:
        seen.append(request)
        return httpx2.Response(200, json={"data": []})

    await asked(take)
    query = dict(seen[0].url.params)
    start = int(EPOCH.timestamp() * 1e6)
    assert query == {
        "service": "shop",
        "start": str(start),
        "end": str(start + 60_000_000),
        "limit": "500",
    }
