"""The options of a step, read back as the configuration's schema has them."""

from typing import TypeVar

from pydantic import BaseModel, ValidationError

from pipelines.errors import UserError
from pipelines.model import Task

Section = TypeVar("Section", bound=BaseModel)


def section(model: type[Section], task: Task) -> Section:
    """Return a task's options as a section of the configuration; raises UserError."""
    try:
        return model.model_validate(task.options)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UserError(
            f"The option `{where}` of a {task.agent} step is wrong: {first['msg']}."
        ) from error
