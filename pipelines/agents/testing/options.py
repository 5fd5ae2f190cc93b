"""What a test step asks for, as its agent makes use of it."""

from dataclasses import dataclass
from datetime import timedelta

from pipelines.agents.options import section
from pipelines.agents.testing.recipe import Wishes
from pipelines.config.steps import TestOptions
from pipelines.model import Task

_MAX_SECONDS = 900.0
_MIN_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Options:
    """What a test step asks for."""

    wishes: Wishes
    repeat: int
    generate: bool

    @classmethod
    def of(cls, task: Task) -> "Options":
        """Return the options of a task; raises UserError if one makes no sense."""
        values = section(TestOptions, task)
        wishes = Wishes(values.run, values.image, values.junit, values.coverage)
        return cls(wishes, values.repeat, values.generate)

    def timeout(self, left: timedelta) -> float:
        """Return how many seconds one run may take so that head and base both have their turn."""
        share = left.total_seconds() * 0.8 / (self.repeat + 1)
        return max(_MIN_SECONDS, min(_MAX_SECONDS, share))
