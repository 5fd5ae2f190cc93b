"""The base of every model that crosses a boundary."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, StringConstraints

Sha = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{40}([0-9a-f]{24})?$")]
"""A full git object id: 40 hexadecimal digits (SHA-1) or 64 (SHA-256), lower case."""


class Frozen(BaseModel):
    """An immutable model that refuses fields it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
