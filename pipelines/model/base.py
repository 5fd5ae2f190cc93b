"""The base of every model that crosses a boundary."""

from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, StringConstraints

_set = object.__setattr__

Sha = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{40}([0-9a-f]{24})?$")]
"""A full git object id: 40 hexadecimal digits (SHA-1) or 64 (SHA-256), lower case."""


class Frozen(BaseModel):
    """An immutable model that refuses fields it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    def __copy__(self) -> Self:
        """Return a shallow copy, without looking for what such a model cannot have.

        ``model_copy`` begins with it, a few times in every transition of a run: there are no extra
        fields, as they are forbidden, and no model has private ones.
        """
        kind = type(self)
        copied = kind.__new__(kind)
        _set(copied, "__dict__", self.__dict__.copy())
        _set(copied, "__pydantic_extra__", None)
        _set(copied, "__pydantic_fields_set__", self.__pydantic_fields_set__.copy())
        _set(copied, "__pydantic_private__", None)
        return copied
