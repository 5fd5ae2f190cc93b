"""Prometheus by its HTTP API (https://prometheus.io/docs/prometheus/latest/querying/api/)."""

import asyncio
import json
import math
from datetime import datetime
from typing import Annotated, Literal

import httpx2
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pipelines.errors import Retryable
from pipelines.integrations.observability.base import MetricsSource
from pipelines.model import Point, Series
from pipelines.net import MAX_BYTES, TooLarge, read_capped

NAME = "prometheus"
MAX_POINTS = 1_100
TIMEOUT_SECONDS = 10.0
_MAX_SAID = 200
_REFUSED = (400, 405, 422)


class _Lenient(BaseModel):
    """Takes what it knows of an answer; Prometheus adds fields."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class _OneSeries(_Lenient):
    values: list[tuple[float, Annotated[str, Field(max_length=64)]]] = []


class _Data(_Lenient):
    result: list[_OneSeries]
    kind: Literal["matrix"] = Field(alias="resultType")


class _Success(_Lenient):
    status: Literal["success"]
    data: _Data
    warnings: list[str] = []


class _Error(_Lenient):
    status: Literal["error"]
    error: str = ""
    kind: str = Field(default="", alias="errorType")


class Prometheus(MetricsSource):
    """Asks the Prometheus that the operator named."""

    name = NAME

    def __init__(self, client: httpx2.AsyncClient, base_url: str) -> None:
        """The client is closed with it."""
        self._client = client
        self._url = base_url.rstrip("/") + "/api/v1/query_range"

    async def range(
        self, query: str, *, start: datetime, end: datetime, step_seconds: float
    ) -> Series:
        """Evaluate a query at every step of a span."""
        empty = Series(name="", query=query, source=NAME)
        if (end - start).total_seconds() / step_seconds > MAX_POINTS:
            return _without(empty, f"more than {MAX_POINTS} points were asked for")
        form = {
            "query": query,
            "start": f"{start.timestamp():.3f}",
            "end": f"{end.timestamp():.3f}",
            "step": f"{step_seconds:.3f}",
            "timeout": f"{TIMEOUT_SECONDS:g}s",
        }
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                status, body = await self._post(form)
        except TooLarge:
            return _without(empty, f"the answer is larger than {MAX_BYTES} bytes; use sum()")
        except (httpx2.HTTPError, httpx2.InvalidURL, TimeoutError) as error:
            raise Retryable(
                f"Prometheus did not answer ({type(error).__name__}).", dependency=NAME
            ) from None
        return _read(status, body, empty)

    async def close(self) -> None:
        """Close connections."""
        await self._client.aclose()

    async def _post(self, form: dict[str, str]) -> tuple[int, bytes]:
        headers = {"accept-encoding": "identity"}
        async with self._client.stream(
            "POST", self._url, data=form, headers=headers, follow_redirects=False
        ) as response:
            return response.status_code, await read_capped(response, MAX_BYTES)


def _read(status: int, body: bytes, empty: Series) -> Series:
    """Return the one series of an answer, or the reason why there is none."""
    if status in (408, 425, 429) or (status >= 500 and status != 501):
        raise Retryable(f"Prometheus cannot answer now (HTTP {status}).", dependency=NAME)
    if status in _REFUSED:
        return _without(empty, f"Prometheus refused the query: {_complaint(body)}")
    if status != 200:
        return _without(empty, f"Prometheus answered with HTTP {status}")
    try:
        answer = _Success.model_validate_json(body)
    except ValidationError:
        return _without(empty, f"what answered is not Prometheus: {_complaint(body)}")
    found = answer.data.result
    if len(found) > 1:
        return _without(empty, f"the query gives {len(found)} series; wrap it in sum()")
    if not found:
        return _without(empty, _partial(answer.warnings) or "Prometheus has no data for it")
    return _numbers(found[0].values, answer.warnings, empty)


def _numbers(values: list[tuple[float, str]], warnings: list[str], empty: Series) -> Series:
    points = tuple(
        Point(at=at, value=value)
        for at, text in values[: MAX_POINTS + 1]
        if math.isfinite(at) and math.isfinite(value := _number(text))
    )
    notes = [_partial(warnings)] if warnings else []
    if len(points) < len(values):
        notes.append(f"{len(values) - len(points)} of {len(values)} values are not numbers")
    return empty.model_copy(update={"points": points, "reason": "; ".join(notes)})


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _partial(warnings: list[str]) -> str:
    return f"Prometheus says that its answer is partial: {_line(warnings[0])}" if warnings else ""


def _complaint(body: bytes) -> str:
    """Return Prometheus's own words on one short line, or what came instead."""
    try:
        told = _Error.model_validate(json.loads(body))
    except (ValueError, RecursionError):
        return "the answer is not its JSON"
    return _line(f"{told.kind} {told.error}".strip()) or "it does not say why"


def _line(text: str) -> str:
    line = "".join(c for c in " ".join(text.split()) if c.isprintable())
    return line if len(line) <= _MAX_SAID else line[: _MAX_SAID - 1] + "…"


def _without(series: Series, reason: str) -> Series:
    return series.model_copy(update={"reason": reason})
