"""Connections: a list in windows, with cursors, and GitHub's rules about their size."""

import base64
import binascii
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias, TypeVar

from graphql import GraphQLResolveInfo

from bot.simulator.world import Json

T = TypeVar("T")
Info: TypeAlias = "GraphQLResolveInfo[Any]"
"""What graphql-core tells a resolver; its context is the Call."""
MAX_WINDOW = 100


class Failure(Exception):
    """An error with GitHub's ``type``, such as NOT_FOUND or FORBIDDEN."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


def connection(items: Sequence[T], render: Callable[[T], Json]) -> Callable[..., Json]:
    """A resolver that answers ``first``, ``last``, ``after`` and ``before`` over a list."""

    def resolve(
        info: Info,
        first: int | None = None,
        last: int | None = None,
        after: str | None = None,
        before: str | None = None,
        **_: Any,
    ) -> Json:
        _check_size(info.field_name, first, last)
        low = _position(after) + 1 if after else 0
        high = _position(before) if before else len(items)
        if first is not None:
            high = min(high, low + first)
        if last is not None:
            low = max(low, high - last)
        nodes = [render(item) for item in items[low:high]]
        return {
            "totalCount": len(items),
            "nodes": nodes,
            "edges": [{"cursor": _cursor(low + i), "node": n} for i, n in enumerate(nodes)],
            "pageInfo": {
                "hasNextPage": high < len(items),
                "hasPreviousPage": low > 0,
                "startCursor": _cursor(low) if nodes else None,
                "endCursor": _cursor(low + len(nodes) - 1) if nodes else None,
            },
        }

    return resolve


def _check_size(name: str, first: int | None, last: int | None) -> None:
    size = first if first is not None else last
    if size is None:
        words = f"You must provide a `first` or `last` value to properly paginate the `{name}`"
        raise Failure("MISSING_PAGINATION_BOUNDARIES", f"{words} connection.")
    if not 0 <= size <= MAX_WINDOW:
        words = f"Requesting {size} records on the `{name}` connection exceeds the `first` limit of"
        raise Failure("EXCESSIVE_PAGINATION", f"{words} {MAX_WINDOW} records.")


def _cursor(index: int) -> str:
    return base64.b64encode(f"cursor:v2:{index}".encode()).decode()


def _position(cursor: str) -> int:
    try:
        return int(base64.b64decode(cursor).decode().rpartition(":")[2])
    except (binascii.Error, UnicodeDecodeError, ValueError):
        words = f"`{cursor}` does not appear to be a valid cursor."
        raise Failure("INVALID_CURSOR_ARGUMENTS", words) from None
