"""Everything an agent may touch; it holds no credential and can write nothing."""

from dataclasses import dataclass

from pipelines.agents.budget import MeteredModel
from pipelines.ports import Clock, Reader, Rng


@dataclass(frozen=True, slots=True)
class AgentContext:
    """What one task is carried out with: the subject, a metered model, the time, randomness."""

    reader: Reader
    model: MeteredModel
    clock: Clock
    rng: Rng
