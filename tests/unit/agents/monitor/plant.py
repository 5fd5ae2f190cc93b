"""A service whose signals a test draws as curves over time, and the task that watches it."""

import asyncio
import random
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from pipelines.agents.budget import MeteredModel
from pipelines.agents.context import AgentContext
from pipelines.agents.monitor import MonitorAgent
from pipelines.integrations.llm.base import LanguageModel
from pipelines.model import (
    Breach,
    FeedbackPayload,
    LastGood,
    OpenFeedback,
    Point,
    PushTrigger,
    Series,
    SignalRequest,
    Task,
    TaskResult,
)
from tests.support.clock import EPOCH, VirtualClock
from tests.support.models import ScriptedModel
from tests.support.samples import ADA, BASE, HEAD, REPOSITORY, a_change
from tests.support.workplace import MemoryWorkplace

Curve = Callable[[float], float | None]
"""The value so many seconds after the deployment; None where there is none."""

ADVICE = '{"recommendations": ["Look at the retry loop in app.py."]}'
STEP = 15.0
RULE: dict[str, Any] = {
    "name": "error rate",
    "query": "sum(rate(http_errors_total[1m]))",
    "above": 0.02,
    "severity": "high",
}


def flat(value: float) -> Curve:
    return lambda _: value


def step(before: float, after: float, at: float = 0.0) -> Curve:
    return lambda seconds: before if seconds < at else after


class Plant(MemoryWorkplace):
    """Draws the named curves; ``deployed`` is the moment that they count from."""

    def __init__(self, curves: Mapping[str, Curve]) -> None:
        super().__init__({"app.py": "retry()\n"}, {"app.py": "once()\n"})
        self.clock = VirtualClock()
        self.deployed = EPOCH
        self.curves = dict(curves)
        self.requests: list[SignalRequest] = []
        self.down: Callable[[datetime], Exception | None] = lambda _: None
        """What goes wrong at a moment with the way to the numbers."""
        state = self.deploys_to("staging")
        self.state = state.model_copy(
            update={"current_sha": HEAD, "deployed_at": EPOCH, "deployment_id": 42}
        )
        self.on_series = self.draw

    async def series(self, requests: Any) -> Any:
        self.requests += requests
        if error := self.down(self.clock.now()):
            raise error
        return await super().series(requests)

    def draw(self, request: SignalRequest) -> Series:
        curve = self.curves.get(request.name)
        if curve is None:
            return Series(name=request.name, reason="there is no such metric")
        points: list[Point] = []
        at = request.start
        while at <= min(request.end, self.clock.now()):
            value = curve((at - self.deployed).total_seconds())
            if value is not None:
                points.append(Point(at=at.timestamp(), value=value))
            at += timedelta(seconds=request.step_seconds)
        return Series(
            name=request.name,
            source="scrape",
            points=tuple(points),
            reason="" if points else "no data for it",
        )

    def good_before(self, sha: str = BASE) -> None:
        """Have an earlier release that can be gone back to."""
        assert self.state
        now_good = LastGood(sha=HEAD, at=EPOCH)
        before = LastGood(sha=sha, at=EPOCH - timedelta(days=1))
        self.state = self.state.model_copy(update={"last_good": now_good, "before": before})


def outputs(**changes: Any) -> dict[str, Any]:
    return {
        "environment": "staging",
        "sha": HEAD,
        "deployment_id": 42,
        "url": "http://127.0.0.1:1",
        "deployed_at": EPOCH.isoformat(),
        "rolled_back_to": None,
        **changes,
    }


def a_task(plant: Plant, options: Mapping[str, Any] | None = None, **changes: Any) -> Task:
    assert plant.state
    trigger = PushTrigger(
        repository=REPOSITORY,
        actor=ADA,
        delivery_id="d-1",
        ref="refs/heads/main",
        before=BASE,
        after=HEAD,
    )
    length = float((options or {}).get("for", 600.0))
    return Task.model_validate(
        {
            "run_id": "run-1",
            "step": "watch",
            "agent": "monitor",
            "attempt": 1,
            "trigger": trigger,
            "change": a_change(number=None, paths=("app.py",)),
            "options": {"for": 600.0, "interval": STEP, **(options or {})},
            "inputs": {"ship": outputs()},
            "environment": plant.state.plan,
            "budget_usd": 1.0,
            "deadline": plant.clock.now() + timedelta(seconds=length + 300.0),
            **changes,
        }
    )


async def watched(
    plant: Plant,
    task: Task | None = None,
    model: LanguageModel | None = None,
    *,
    seconds: float = 1200.0,
    meanwhile: Callable[[float], None] = lambda _: None,
) -> TaskResult:
    """Run one task while time goes by; it must be over after so many seconds.

    ``meanwhile`` is what happens in so many seconds, called before each of them.
    """
    task = task or a_task(plant)
    meter = MeteredModel(model or ScriptedModel(ADVICE), task.budget_usd)
    context = AgentContext(workplace=plant, model=meter, clock=plant.clock, rng=random.Random(4))
    agent = MonitorAgent()
    await agent.start()
    work = asyncio.ensure_future(agent.execute_task(task, context))
    end = plant.clock.monotonic() + seconds
    await plant.clock.settle()
    while not work.done() and plant.clock.monotonic() < end:
        meanwhile(1.0)
        await plant.clock.advance(1.0)
    assert work.done(), "the agent still watches"
    return work.result()


def an_issue(*breaches: Breach, number: int = 7, **changes: Any) -> OpenFeedback:
    payload: dict[str, Any] = {
        "fingerprint": "ab" * 16,
        "environment": "staging",
        "severity": "high",
        "title": "error rate out of bounds in staging",
        "breaches": breaches,
        "findings": ("error rate was at 0.4.",),
        "suspected_sha": BASE,
        "observed_at": EPOCH - timedelta(hours=1),
        **changes,
    }
    return OpenFeedback(number=number, payload=FeedbackPayload.model_validate(payload))


def was_broken(**changes: Any) -> Breach:
    values: dict[str, Any] = {
        "rule": "error rate",
        "observed": 0.4,
        "baseline": 0.001,
        "above": 0.02,
        "samples": 5,
        **changes,
    }
    return Breach.model_validate(values)
