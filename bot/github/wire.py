"""GitHub's JSON, checked: models that ignore what they do not know and never print their input."""

from typing import Any, TypeVar, cast

from pydantic import BaseModel, ConfigDict, ValidationError

from bot.github.errors import BadAnswer


class Wire(BaseModel):
    """A part of an answer; GitHub adds fields at will, so unknown ones are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)


Model = TypeVar("Model", bound=BaseModel)


def parse(model: type[Model], data: Any, what: str) -> Model:
    """Return ``data`` as a model; raises BadAnswer naming the first field that does not fit."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "the top"
        raise BadAnswer(
            f"GitHub's answer about {what} does not fit at {place}: {first['msg']}."
        ) from None


def parse_all(model: type[Model], data: Any, what: str) -> list[Model]:
    """Return every row of a list; raises BadAnswer for anything else, which is no empty list."""
    if not isinstance(data, list):
        raise BadAnswer(f"GitHub's answer about {what} is not a list.")
    return [parse(model, row, what) for row in cast("list[Any]", data)]
