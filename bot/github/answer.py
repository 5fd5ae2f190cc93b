"""One HTTP answer, as plain data, and JSON of unknown shape taken apart without surprises."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back; header names are lower case, repeated ones joined with a comma."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def as_object(value: Any) -> dict[str, Any]:
    """Return a JSON object, or an empty one if ``value`` is something else."""
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def as_list(value: Any) -> list[Any]:
    """Return a JSON array, or an empty one if ``value`` is something else."""
    return cast("list[Any]", value) if isinstance(value, list) else []
