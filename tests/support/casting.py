"""A task for each agent in which its model is asked, where time is the event loop's."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from pipelines.model import Task
from tests.golden import scenarios as golden
from tests.support.clock import EPOCH
from tests.support.workplace import MemoryWorkplace
from tests.sweep.plays import really_at
from tests.unit.agents.devops import material as devops
from tests.unit.agents.monitor import plant as watching
from tests.unit.agents.testing import test_generation as testing
from tests.unit.agents.testing import trusted


@dataclass
class Part:
    """What one agent is to do, and where."""

    task: Task
    workplace: MemoryWorkplace

    def with_clock(self, clock: Any) -> "Part":
        """Let workplaces that know a time know this one, and give the task half an hour."""
        if hasattr(self.workplace, "clock"):
            self.workplace.clock = clock  # pyright: ignore[reportAttributeAccessIssue]
        deadline = EPOCH + timedelta(minutes=30)
        self.task = self.task.model_copy(update={"deadline": deadline})
        return self


def _of(scene: golden.Scene) -> Part:
    assert isinstance(scene.workplace, MemoryWorkplace)
    return Part(scene.task, scene.workplace)


def _test() -> Part:
    place = MemoryWorkplace({**testing.BASE, **testing.HEAD}, testing.BASE)
    place.on_run = lambda job: really_at(place, job)
    return Part(trusted.a_task(), place)


PARTS: Mapping[str, Callable[[], Part]] = {
    "coding": lambda: _of(golden.some_code()),
    "deploy": lambda: _of(golden.a_deployment(healthy=False)),
    "devops": lambda: Part(devops.task("gitlab-ci"), MemoryWorkplace(devops.PYTHON)),
    "monitor": lambda: _of(golden.a_watch(watching.step(0.001, 0.4, at=30.0))),
    "review": lambda: _of(golden.a_review()),
    "test": _test,
    "test-data": lambda: _of(golden.some_data(options={"commit": True})),
}
