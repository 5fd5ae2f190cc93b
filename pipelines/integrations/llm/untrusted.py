"""Reading fields of data that nobody validated."""

from collections.abc import Mapping
from typing import Any, cast

_MAX_TOKENS = 1_000_000_000


def dig(value: object, *path: str) -> object:
    """Follow attributes, or keys, of a vendor's event; None where one is missing.

    The SDKs build events without validating them, so any field may be absent or of another type.
    """
    for name in path:
        if isinstance(value, Mapping):
            value = cast("Mapping[str, Any]", value).get(name)
        else:
            value = getattr(value, name, None)
    return value


def count(value: object) -> int | None:
    """Return a token count, or None for what is no whole number from 0 to a billion."""
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if 0 <= value <= _MAX_TOKENS else None


def text(value: object) -> str:
    """Return the value if it is a string, else the empty string."""
    return value if isinstance(value, str) else ""


def encodable(value: str) -> str:
    """Return the text with lone surrogates replaced; JSON can carry them in, UTF-8 not out."""
    return value.encode("utf-8", "replace").decode("utf-8")


def items(value: object) -> list[object]:
    """Return the value if it is a list, else an empty one."""
    return cast("list[object]", value) if isinstance(value, list) else []


def first(value: object) -> object:
    """Return the first item of a list, or None."""
    return next(iter(items(value)), None)
