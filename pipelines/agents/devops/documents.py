"""YAML as the configuration's hardened reader has it, with what rules need to walk through it."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pipelines.config.reader import Mark, Node, Unreadable, read_all

__all__ = ["Node", "Unreadable", "child", "items", "load", "plain", "scalars", "text_of", "values"]

MAX_DOCUMENTS = 50


def load(text: str, *, at_most: int = 1) -> Sequence[Node]:
    """Return the documents of a file; raises Unreadable, also if there is none.

    Aliases, tags, duplicate keys, and whatever is too large or too deep are refused.
    """
    documents = [node for node in read_all(text, at_most=at_most) if node.value is not None]
    if not documents:
        raise Unreadable("The file has no YAML document.", Mark())
    return documents


def values(node: Node | None) -> Mapping[str, Node]:
    """Return the values of a mapping by key; nothing if it is none."""
    return node.value if node is not None and isinstance(node.value, dict) else {}


def items(node: Node | None) -> Sequence[Node]:
    """Return the items of a list; nothing if it is none."""
    return node.value if node is not None and isinstance(node.value, list) else ()


def child(node: Node | None, *keys: str) -> Node | None:
    """Return what stands below these keys, None if nothing does."""
    for key in keys:
        node = values(node).get(key)
    return node


def text_of(node: Node | None) -> str:
    """Return a scalar as text; empty if it is none."""
    if node is None or node.value is None or isinstance(node.value, dict | list):
        return ""
    return str(node.value).lower() if isinstance(node.value, bool) else str(node.value)


def scalars(node: Node | None) -> Iterator[Node]:
    """Yield every scalar below a node, in order."""
    if node is None:
        return
    if not isinstance(node.value, dict | list):
        yield node
    for each in (*values(node).values(), *items(node)):
        yield from scalars(each)


def plain(node: Node) -> Any:
    """Return the value as JSON has it."""
    if isinstance(node.value, dict):
        return {key: plain(value) for key, value in node.value.items()}
    if isinstance(node.value, list):
        return [plain(value) for value in node.value]
    return node.value
