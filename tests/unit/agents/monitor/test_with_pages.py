"""The agent over a real observatory that reads a service's own metrics page."""

import random
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import httpx2

from pipelines.integrations.observability.observatory import Instruments, Observatory
from pipelines.model import (
    Conclusion,
    EnvironmentPlan,
    OpenFeedback,
    OpenIssue,
    Series,
    SignalRequest,
    TaskResult,
)
from pipelines.net import AllowedHosts, GuardedClient
from tests.support.clock import EPOCH
from tests.support.samples import HEAD
from tests.support.scrapes import MemoryScrapes
from tests.unit.agents.monitor.plant import Plant, a_task, outputs, watched

PLAN = EnvironmentPlan(name="staging", target="local", url="http://127.0.0.1:1", metrics="/metrics")
RULES = {"error share": 'sum(rate(http_requests_total{status="500"}[5s]))'}


class Shop(Plant):
    """A service that counts its requests; each release starts to count anew."""

    def __init__(self) -> None:
        super().__init__({})
        self.rng = random.Random(3)
        self.counts: dict[str, float] = {}
        self.errors = 0.0
        self.slow = False
        self.alive = True
        self.traffic = True
        web = GuardedClient(
            AllowedHosts.parse(["127.0.0.1"]), transport=httpx2.MockTransport(self.page)
        )
        self.observatory = Observatory(Instruments(clock=self.clock, web=web), MemoryScrapes())

    def serve(self, seconds: float) -> None:
        """Take so many seconds' worth of requests, twenty a second."""
        for _ in range(int(20 * seconds) if self.traffic else 0):
            status = "500" if self.rng.random() < self.errors else "200"
            self._count(f'http_requests_total{{status="{status}"}}')
            took = self.rng.uniform(0.02, 0.09) * (10 if self.slow else 1)
            for bound in (0.05, 0.1, 0.5, 1.0, "+Inf"):
                if took <= float(bound):
                    self._count(f'http_request_duration_seconds_bucket{{le="{bound}"}}')

    def _count(self, name: str) -> None:
        self.counts[name] = self.counts.get(name, 0.0) + 1

    def page(self, request: httpx2.Request) -> httpx2.Response:
        if not self.alive:
            raise httpx2.ConnectError("refused")
        text = "".join(f"{name} {value}\n" for name, value in self.counts.items())
        return httpx2.Response(200, text=text)

    async def series(self, requests: Sequence[SignalRequest]) -> Sequence[Series]:
        return await self.observatory.series(PLAN, RULES, requests)

    async def live(self, seconds: int, *, sampled: bool) -> None:
        """Let time go by; ``sampled`` if somebody reads the page meanwhile."""
        for _ in range(seconds):
            self.serve(1.0)
            await self.clock.advance(1.0)
            if sampled:
                await self.observatory.sample(PLAN, RULES)

    async def release(self, *, errors: float = 0.0, slow: bool = False) -> None:
        self.counts, self.errors, self.slow = {}, errors, slow
        self.deployed = self.clock.now()


async def after(shop: Shop, **changes: Any) -> TaskResult:
    """Watch the release for thirty seconds, once a second, while requests come."""
    options = {"for": 30.0, "interval": 1.0}
    inputs = {"ship": outputs(deployed_at=shop.deployed.isoformat())}
    task = a_task(shop, options, inputs=inputs, **changes)
    return await watched(shop, task, seconds=60.0, meanwhile=shop.serve)


async def shop_with_a_past() -> Shop:
    shop = Shop()
    await shop.live(40, sampled=True)
    return shop


async def test_a_good_release_is_healthy() -> None:
    shop = await shop_with_a_past()
    await shop.release()
    result = await after(shop)
    assert result.conclusion is Conclusion.SUCCESS, result.summary
    assert "error_rate: 0 %, before 0 %" in result.summary


async def test_a_release_with_errors_is_found_within_seconds() -> None:
    shop = await shop_with_a_past()
    await shop.release(errors=0.3)
    began = shop.clock.now()
    result = await after(shop)
    assert result.conclusion is Conclusion.FAILURE
    assert shop.clock.now() - began < timedelta(seconds=15)
    assert result.feedback
    [breach] = result.feedback.breaches
    assert breach.rule == "error_rate"
    assert 0.2 < breach.observed < 0.4
    assert (breach.baseline, breach.above) == (0.0, 0.01)


async def test_a_first_release_with_errors_is_found_without_a_past() -> None:
    shop = Shop()
    await shop.release(errors=0.3)
    result = await after(shop)
    assert result.conclusion is Conclusion.FAILURE
    assert result.feedback
    assert result.feedback.breaches[0].above == 0.05


async def test_a_slow_release_is_found() -> None:
    shop = await shop_with_a_past()
    await shop.release(slow=True)
    result = await after(shop)
    assert result.feedback
    assert [breach.rule for breach in result.feedback.breaches] == ["latency_p95"]


async def test_a_release_that_dies_is_found() -> None:
    shop = await shop_with_a_past()
    await shop.release()
    shop.alive = False
    result = await after(shop)
    assert result.feedback
    assert [breach.rule for breach in result.feedback.breaches] == ["up"]


async def test_a_service_without_traffic_is_no_breach_and_no_success() -> None:
    shop = await shop_with_a_past()
    await shop.release()
    shop.traffic = False
    result = await after(shop)
    assert result.conclusion is Conclusion.NEUTRAL
    assert "error_rate: no data (the metrics page has no data for it)" in result.summary


async def test_broken_then_fixed_then_verified() -> None:
    """The loop: a bad release opens an issue, the next one closes it with numbers."""
    shop = await shop_with_a_past()
    await shop.release(errors=0.4)
    broken = await after(shop)
    assert broken.feedback
    await shop.live(10, sampled=False)
    await shop.release()
    payload = broken.feedback.model_copy(update={"suspected_sha": "b" * 40})
    issue = OpenFeedback(number=5, payload=payload)
    fixed = await after(shop, feedback=(issue,))
    assert fixed.conclusion is Conclusion.SUCCESS, fixed.summary
    [close, _] = fixed.effects
    assert close.kind == "close_issue"
    assert close.fixed_in == HEAD
    assert close.evidence[0].startswith("error_rate is at 0 % (from 0 % to 0 % in ")


async def test_a_fix_that_fixes_nothing_is_noticed_although_it_was_as_bad_before() -> None:
    shop = await shop_with_a_past()
    await shop.release(errors=0.4)
    broken = await after(shop)
    assert broken.feedback
    await shop.live(30, sampled=True)
    await shop.release(errors=0.4)
    issue = OpenFeedback(number=5, payload=broken.feedback)
    again = await after(shop, feedback=(issue,))
    [opened, _] = again.effects
    assert isinstance(opened, OpenIssue)
    assert opened.payload.fingerprint == broken.feedback.fingerprint
    assert opened.payload.observed_at > EPOCH


async def test_an_earlier_watch_is_a_past_although_nobody_looked_since() -> None:
    shop = await shop_with_a_past()
    await shop.live(300, sampled=False)
    await shop.release(slow=True)
    result = await after(shop)
    assert result.feedback
    [breach] = result.feedback.breaches
    assert breach.rule == "latency_p95"
    assert breach.baseline is not None
