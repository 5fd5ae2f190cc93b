"""The options of a test step, as the configuration's schema let them through."""

from dataclasses import dataclass
from datetime import timedelta

from pydantic import Field, ValidationError

from pipelines.agents.testing.recipe import Wishes
from pipelines.errors import UserError
from pipelines.model import Frozen, Task

_MAX_SECONDS = 900.0
_MIN_SECONDS = 10.0


class _Values(Frozen):
    run: str | None = None
    image: str | None = None
    junit: str | None = None
    coverage: str | None = None
    repeat: int = Field(default=1, ge=1, le=10)
    generate: bool = True


@dataclass(frozen=True, slots=True)
class Options:
    """What a step asks for."""

    wishes: Wishes
    repeat: int
    generate: bool

    @classmethod
    def of(cls, task: Task) -> "Options":
        """Return the options of a task; raises UserError if one makes no sense."""
        try:
            values = _Values.model_validate(task.options)
        except ValidationError as error:
            first = error.errors(include_input=False, include_url=False)[0]
            where = ".".join(str(part) for part in first["loc"])
            raise UserError(
                f"The option `{where}` of a test step is wrong: {first['msg']}."
            ) from error
        wishes = Wishes(values.run, values.image, values.junit, values.coverage)
        return cls(wishes, values.repeat, values.generate)

    def timeout(self, left: timedelta) -> float:
        """Return how many seconds one run may take so that head and base both have their turn."""
        share = left.total_seconds() * 0.8 / (self.repeat + 1)
        return max(_MIN_SECONDS, min(_MAX_SECONDS, share))
