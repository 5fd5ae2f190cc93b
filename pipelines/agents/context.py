"""Everything an agent may touch; it holds no credential and can write nothing."""

from dataclasses import dataclass

from pipelines.agents.budget import MeteredModel
from pipelines.ports import Clock, Reader, Rng, Workplace


@dataclass(frozen=True, slots=True)
class AgentContext:
    """What one task is carried out with: a workplace, a metered model, the time, randomness.

    ``rng`` is seeded with the task's identity: a replay of the task draws the same numbers.
    """

    workplace: Workplace
    model: MeteredModel
    clock: Clock
    rng: Rng

    @property
    def reader(self) -> Reader:
        """The part of the workplace that only reads."""
        return self.workplace
