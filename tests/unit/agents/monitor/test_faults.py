"""A fault, or an end, at each thing that the monitor asks for: nothing is lost, nothing doubled."""

import asyncio
import random
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from pipelines.agents.budget import MeteredModel
from pipelines.agents.context import AgentContext
from pipelines.agents.monitor import MonitorAgent
from pipelines.errors import LeaseLost, Retryable
from pipelines.model import (
    AgentStatus,
    Effect,
    EnvironmentState,
    Measurement,
    Probe,
    ReleaseState,
    Series,
    SignalRequest,
    TaskResult,
    TraceReport,
)
from pipelines.ports import Receipt
from tests.support.models import ScriptedModel
from tests.support.samples import BASE
from tests.unit.agents.monitor.plant import ADVICE, Plant, a_task, flat, step, watched

Fault = Callable[[], BaseException]


class Brittle(Plant):
    """Breaks once, at the question of a number; remembers keys of what was done, as a ledger."""

    def __init__(self, at: int, fault: Fault) -> None:
        super().__init__({"error_rate": step(0.001, 0.3), "request_rate": flat(20.0)})
        self.good_before()
        self.releases = [ReleaseState(phase="ready", sha=BASE, revision=1)]
        self.probes = [Probe(ok=True, status=200)]
        self.at, self.fault, self.asked = at, fault, 0
        self.done: set[str] = set()
        self.on_perform = self._ledger

    def point(self) -> None:
        self.asked += 1
        if self.asked == self.at:
            raise self.fault()

    def _ledger(self, effect: Effect) -> Receipt:
        number = 43 if effect.kind == "create_deployment" else None
        status = "found" if effect.key in self.done else "done"
        self.done.add(effect.key)
        return Receipt.model_validate({"key": effect.key, "status": status, "number": number})

    async def series(self, requests: Any) -> Sequence[Series]:
        self.point()
        return await super().series(requests)

    async def keep(self, measurements: Sequence[Measurement]) -> None:
        self.point()
        await super().keep(measurements)

    async def environment(self) -> EnvironmentState:
        self.point()
        return await super().environment()

    async def perform(self, effect: Effect) -> Receipt:
        self.point()
        receipt = await super().perform(effect)
        self.point()
        return receipt

    async def release_state(self) -> ReleaseState:
        self.point()
        return await super().release_state()

    async def probe(self) -> Probe:
        self.point()
        return await super().probe()

    async def traces(self, request: SignalRequest) -> TraceReport:
        self.point()
        return await super().traces(request)

    async def changed_files(self) -> Any:
        self.point()
        return await super().changed_files()


OPTIONS = {"on_breach": "rollback", "for": 300.0}


async def twice(plant: Brittle) -> TaskResult:
    """Run the task, and once more if the first attempt says that it may be tried again."""
    result = await watched(plant, a_task(plant, OPTIONS))
    if result.failure is not None and result.failure.kind == "retry":
        result = await watched(plant, a_task(plant, OPTIONS, attempt=2))
    return result


async def questions() -> int:
    plant = Brittle(0, RuntimeError)
    await watched(plant, a_task(plant, OPTIONS))
    return plant.asked


def told(result: TaskResult) -> list[str]:
    return [effect.key for effect in result.effects]


@pytest.mark.parametrize("fault", [lambda: Retryable("away"), lambda: LeaseLost("m")])
async def test_a_fault_anywhere_loses_and_doubles_nothing(fault: Fault) -> None:
    whole = Brittle(0, fault)
    expected = await twice(whole)
    assert whole.asked > 20
    for at in range(1, whole.asked + 1):
        plant = Brittle(at, fault)
        result = await twice(plant)
        assert told(result) == told(expected), f"at {at}: {result.title}"
        assert plant.done == whole.done, f"at {at}"


async def test_our_own_fault_anywhere_is_told_as_such() -> None:
    for at in range(1, await questions() + 1):
        plant = Brittle(at, lambda: ZeroDivisionError("secret"))
        result = await watched(plant, a_task(plant, OPTIONS))
        assert result.failure, f"at {at}"
        assert result.failure.kind == "ours"
        assert "secret" not in result.model_dump_json()


async def test_an_end_anywhere_is_an_end() -> None:
    for at in range(1, await questions() + 1):
        plant = Brittle(at, asyncio.CancelledError)
        with pytest.raises(asyncio.CancelledError):
            await watched(plant, a_task(plant, OPTIONS))


async def test_a_watch_that_is_cancelled_ends_at_once() -> None:
    plant = Plant({"error_rate": flat(0.0), "request_rate": flat(20.0)})
    meter = MeteredModel(ScriptedModel(ADVICE), 1.0)
    context = AgentContext(workplace=plant, model=meter, clock=plant.clock, rng=random.Random(4))
    agent = MonitorAgent()
    await agent.start()
    work = asyncio.ensure_future(agent.execute_task(a_task(plant), context))
    await plant.clock.advance(60.0)
    assert agent.status is AgentStatus.RUNNING
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
    assert agent.status is AgentStatus.FAILED
