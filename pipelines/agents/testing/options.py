"""The options of a step, read back as the configuration's schema has them."""

from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from pipelines.agents.testing.recipe import Wishes
from pipelines.config.steps import TestOptions
from pipelines.errors import UserError
from pipelines.model import Task

_MAX_SECONDS = 900.0
_MIN_SECONDS = 10.0
_Section = TypeVar("_Section", bound=BaseModel)


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


def section(model: type[_Section], task: Task) -> _Section:
    """Return a task's options as a section of the configuration; raises UserError."""
    try:
        return model.model_validate(task.options)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UserError(
            f"The option `{where}` of a {task.agent} step is wrong: {first['msg']}."
        ) from error
