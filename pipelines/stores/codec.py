"""Models to bytes and back, for whatever text strangers put into them."""

import json
from typing import TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import PydanticSerializationError

M = TypeVar("M", bound=BaseModel)


def encode(model: BaseModel) -> bytes:
    r"""Return the model as JSON.

    Half a surrogate pair is legal in JSON (``"\ud800"``) but not in UTF-8; it is kept, escaped.
    """
    try:
        return model.model_dump_json().encode()
    except PydanticSerializationError:
        return json.dumps(model.model_dump(mode="json")).encode()


def decode(kind: type[M], data: bytes) -> M:
    """Return the model that ``encode`` was given; raises pydantic's ValidationError."""
    try:
        return kind.model_validate_json(data)
    except ValidationError as error:
        if all(problem["type"] != "json_invalid" for problem in error.errors()):
            raise
        return kind.model_validate(_loads(data, error))


def _loads(data: bytes, error: ValidationError) -> object:
    try:
        return json.loads(data)
    except ValueError:
        raise error from None
