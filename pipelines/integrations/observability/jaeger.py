"""Jaeger by the HTTP API of its query service, as its own UI uses it (``/api/traces``)."""

import asyncio
import math
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

import httpx2
from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from pipelines.errors import Retryable
from pipelines.integrations.observability.base import TraceSource
from pipelines.model import TraceReport, TraceSummary
from pipelines.net import TooLarge, read_capped

NAME = "jaeger"
MAX_BYTES = 8 * 1024 * 1024
MAX_TRACES = 500
MAX_OPERATIONS = 50
TIMEOUT_SECONDS = 10.0
_MAX_NAME = 200
_TRACE_ID = re.compile(r"[0-9a-f]{1,32}", re.ASCII)
_STATUS_TAGS = ("http.status_code", "http.response.status_code")


class _Lenient(BaseModel):
    """Takes what it knows of an answer; Jaeger adds fields."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class _Tag(_Lenient):
    key: str
    value: JsonValue = None


class _Span(_Lenient):
    operation: str = Field(alias="operationName")
    process: str = Field(default="", alias="processID")
    microseconds: float = Field(default=0.0, ge=0, alias="duration")
    tags: list[_Tag] = []

    @property
    def failed(self) -> bool:
        """Whether its tags say so, in OpenTracing's or OpenTelemetry's words."""
        said = {tag.key: tag.value for tag in self.tags}
        if said.get("error") in (True, "true") or said.get("otel.status_code") == "ERROR":
            return True
        return any(_is_server_error(said.get(key)) for key in _STATUS_TAGS)


class _Process(_Lenient):
    service: str = Field(default="", alias="serviceName")


class _Trace(_Lenient):
    id: str = Field(default="", alias="traceID")
    spans: list[_Span] = []
    processes: dict[str, _Process] = {}


class _Answer(_Lenient):
    data: list[_Trace] | None = None


@dataclass(frozen=True, slots=True)
class _Seen:
    seconds: float
    failed: bool
    trace: str


class Jaeger(TraceSource):
    """Asks the Jaeger that the operator named."""

    name = NAME

    def __init__(self, client: httpx2.AsyncClient, base_url: str) -> None:
        """The client is closed with it."""
        self._client = client
        self._url = base_url.rstrip("/") + "/api/traces"

    async def summary(self, service: str, *, start: datetime, end: datetime) -> TraceReport:
        """Return what the traces of a span say about each operation of a service.

        At most the 500 traces that Jaeger chooses are looked at.
        """
        query = {
            "service": service,
            "start": str(int(start.timestamp() * 1e6)),
            "end": str(int(end.timestamp() * 1e6)),
            "limit": str(MAX_TRACES),
        }
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                status, body = await self._get(query)
        except TooLarge:
            return TraceReport(reason=f"Jaeger's answer is larger than {MAX_BYTES} bytes")
        except (httpx2.HTTPError, httpx2.InvalidURL, TimeoutError) as error:
            raise Retryable(
                f"Jaeger did not answer ({type(error).__name__}).", dependency=NAME
            ) from None
        if status in (408, 429) or status >= 500:
            raise Retryable(f"Jaeger cannot answer now (HTTP {status}).", dependency=NAME)
        if status != 200:
            return TraceReport(reason=f"Jaeger answered with HTTP {status}")
        return _report(service, body)

    async def close(self) -> None:
        """Close connections."""
        await self._client.aclose()

    async def _get(self, query: dict[str, str]) -> tuple[int, bytes]:
        headers = {"accept-encoding": "identity"}
        async with self._client.stream(
            "GET", self._url, params=query, headers=headers, follow_redirects=False
        ) as response:
            return response.status_code, await read_capped(response, MAX_BYTES)


def _report(service: str, body: bytes) -> TraceReport:
    try:
        answer = _Answer.model_validate_json(body)
    except ValidationError:
        return TraceReport(reason="what answered is not Jaeger")
    operations: dict[str, list[_Seen]] = defaultdict(list)
    for name, seen in _spans(service, answer.data or []):
        operations[name].append(seen)
    if not operations:
        return TraceReport(reason="Jaeger has no traces of it in that time")
    most = sorted(operations.items(), key=lambda item: (-len(item[1]), item[0]))[:MAX_OPERATIONS]
    left_out = len(operations) - len(most)
    return TraceReport(
        operations=tuple(_summary(name, seen) for name, seen in most),
        reason=f"{left_out} rarer operations are left out" if left_out else "",
    )


def _spans(service: str, traces: Sequence[_Trace]) -> Iterator[tuple[str, _Seen]]:
    """Yield the service's own spans, without those of the services that it calls."""
    for trace in traces[:MAX_TRACES]:
        for span in trace.spans:
            process = trace.processes.get(span.process)
            if process is not None and process.service == service:
                yield _line(span.operation), _Seen(span.microseconds / 1e6, span.failed, trace.id)


def _summary(name: str, seen: Sequence[_Seen]) -> TraceSummary:
    durations = sorted(each.seconds for each in seen)
    telling = max(seen, key=lambda each: (each.failed, each.seconds))
    return TraceSummary(
        operation=name,
        count=len(seen),
        errors=sum(each.failed for each in seen),
        p50_seconds=_rank(durations, 0.5),
        p95_seconds=_rank(durations, 0.95),
        example=telling.trace if _TRACE_ID.fullmatch(telling.trace) else None,
    )


def _rank(ordered: Sequence[float], share: float) -> float:
    """Return the nearest rank, so that it is a duration that really was."""
    return ordered[math.ceil(share * len(ordered)) - 1]


def _is_server_error(value: JsonValue) -> bool:
    try:
        return 500 <= int(value) <= 599 if isinstance(value, int | str) else False
    except ValueError:
        return False


def _line(text: str) -> str:
    """Return a stranger's name as one printable line of limited length."""
    words = "".join(c for c in " ".join(text.split()) if c.isprintable())
    return words[:_MAX_NAME] or "(unnamed)"
