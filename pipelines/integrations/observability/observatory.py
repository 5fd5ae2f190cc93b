"""Where the numbers of an environment come from, and every look at it from the outside."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from pipelines.errors import Retryable, UserError
from pipelines.integrations.observability.base import MetricsSource, TraceSource
from pipelines.integrations.observability.prometheus import MAX_POINTS
from pipelines.integrations.observability.samples import SampleStore, Scrape
from pipelines.integrations.observability.scrape import ScrapedMetrics, read_page
from pipelines.integrations.observability.signals import SIGNALS, rate_window
from pipelines.model import (
    EnvironmentPlan,
    Probe,
    Series,
    SignalRequest,
    Target,
    TraceReport,
)
from pipelines.net import GuardedClient
from pipelines.ports import Clock

MAX_REQUESTS = 200
_AT_ONCE = 4
_OTHERS: frozenset[Target] = frozenset({"github-actions", "gitlab-ci"})
"""Targets whose address a pipeline of the repository names; the rest know it themselves."""


@dataclass(frozen=True, slots=True)
class Instruments:
    """What all observatories share: connections, and the operator's choice of sources."""

    clock: Clock
    web: GuardedClient
    metrics: MetricsSource | None = None
    """Prometheus, when the operator named one; otherwise metrics pages are read."""
    traces: TraceSource | None = None

    async def close(self) -> None:
        """Close every connection."""
        await self.web.close()
        for source in (self.metrics, self.traces):
            if source is not None:
                await source.close()


class Observatory:
    """Answers for one repository; ``samples`` remembers that repository's scrapes alone.

    ``service_url`` is what the environment's target says about where the service answers; the
    plan's own address goes before it.
    """

    def __init__(self, instruments: Instruments, samples: SampleStore) -> None:
        self._instruments = instruments
        self._samples = samples

    async def series(
        self,
        plan: EnvironmentPlan,
        rules: Mapping[str, str],
        requests: Sequence[SignalRequest],
        *,
        service_url: str | None = None,
    ) -> Sequence[Series]:
        """Return one series a request, in order; without data it says why. Never raises for that.

        ``rules`` are queries by name; a name that is not among them is a built-in signal.
        """
        if len(requests) > MAX_REQUESTS:
            raise UserError(f"More than {MAX_REQUESTS} signals were asked for at once.")
        source = self._instruments.metrics
        if source is None:
            if not plan.metrics:
                return [_nothing(each, _NO_SOURCE) for each in requests]
            if any(self._is_now(each) for each in requests):
                await self.sample(plan, rules, service_url=service_url)
            source = ScrapedMetrics(self._samples, plan.name)
        gate = asyncio.Semaphore(_AT_ONCE)
        answers = (self._one(source, plan, rules, each, gate) for each in requests)
        return await asyncio.gather(*answers)

    async def sample(
        self,
        plan: EnvironmentPlan,
        rules: Mapping[str, str],
        *,
        service_url: str | None = None,
    ) -> str:
        """Read the metrics page once and remember it; returns why not, or an empty text.

        Does nothing where Prometheus remembers. Called before a release as well, it gives the
        window before the deployment something to compare with.
        """
        if self._instruments.metrics is not None or not plan.metrics:
            return ""
        now = self._instruments.clock.now().timestamp()
        place = _address(plan, plan.metrics, service_url)
        if place is None:
            return "the environment has no address yet"
        url, vouched = place
        try:
            answer = await self._instruments.web.get(url, vouched=vouched)
            scrape, reason = read_page(answer, rules.values(), at=now)
        except (Retryable, UserError) as error:
            scrape, reason = Scrape(at=now, up=False), str(error)
        await self._samples.add(plan.name, scrape)
        return reason

    async def traces(self, plan: EnvironmentPlan, request: SignalRequest) -> TraceReport:
        """Return what the traces of the environment's service say about the request's span."""
        source = self._instruments.traces
        if source is None:
            return TraceReport(reason="no JAEGER_URL is set")
        if not plan.service:
            return TraceReport(reason="the environment names no `service`")
        try:
            return await source.summary(plan.service, start=request.start, end=request.end)
        except (Retryable, UserError) as error:
            return TraceReport(reason=str(error))

    async def probe(self, plan: EnvironmentPlan, url: str | None) -> Probe:
        """Do one health check; ``url`` is what the target says, for plans without an address."""
        if plan.health is None:
            return Probe(ok=True, message="no health check is configured")
        place = _address(plan, plan.health, url)
        if place is None:
            return Probe(ok=False, message="The service has no address to check.")
        try:
            answer = await self._instruments.web.get(place[0], vouched=place[1])
        except (Retryable, UserError) as error:
            return Probe(ok=False, message=str(error))
        ok = 200 <= answer.status < 300
        message = "" if ok else f"The health check answered with HTTP {answer.status}."
        return Probe(ok=ok, status=answer.status, seconds=answer.seconds, message=message)

    def _is_now(self, request: SignalRequest) -> bool:
        age = self._instruments.clock.now() - request.end
        return age <= timedelta(seconds=request.step_seconds)

    async def _one(
        self,
        source: MetricsSource,
        plan: EnvironmentPlan,
        rules: Mapping[str, str],
        request: SignalRequest,
        gate: asyncio.Semaphore,
    ) -> Series:
        span = (request.end - request.start).total_seconds()
        if span < 0 or span / request.step_seconds > MAX_POINTS:
            return _nothing(request, f"more than {MAX_POINTS} points were asked for")
        try:
            query = _query(source.name, plan, rules, request)
            async with gate:
                series = await source.range(
                    query,
                    start=request.start,
                    end=request.end,
                    step_seconds=request.step_seconds,
                )
        except (Retryable, UserError) as error:
            return _nothing(request, str(error))
        signal = None if request.name in rules else SIGNALS.get(request.name)
        unit = signal.unit if signal else ""
        return series.model_copy(update={"name": request.name, "unit": unit})


_NO_SOURCE = "there is nothing to measure with: set PROMETHEUS_URL or the environment's `metrics`"


def _query(
    source: str, plan: EnvironmentPlan, rules: Mapping[str, str], request: SignalRequest
) -> str:
    if request.name in rules:
        return rules[request.name]
    signal = SIGNALS.get(request.name)
    if signal is None:
        raise UserError(f"there is no rule and no signal {request.name!r}")
    labels: dict[str, str] = {}
    if source == "prometheus":
        if not plan.service:
            raise UserError("the environment names no `service`, which is its job in Prometheus")
        labels["job"] = plan.service
        if plan.namespace:
            labels["namespace"] = plan.namespace
    return signal.build(labels, rate_window(request.step_seconds, source))


def _address(plan: EnvironmentPlan, path: str, told: str | None) -> tuple[str, bool] | None:
    """Return where to look and whether Conductor vouches for it, or None if nobody knows."""
    if path.startswith(("http://", "https://")):
        return path, False
    base = plan.url or told
    if not base:
        return None
    vouched = plan.url is None and plan.target not in _OTHERS
    return f"{base.rstrip('/')}/{path.lstrip('/')}", vouched


def _nothing(request: SignalRequest, reason: str) -> Series:
    return Series(name=request.name, reason=reason)
