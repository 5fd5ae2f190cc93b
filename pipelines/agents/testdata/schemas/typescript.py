"""TypeScript interfaces and object types of plain members, read from their text."""

import re
from collections.abc import Iterator
from typing import Any, cast

from pipelines.agents.testdata.schemas.base import Schema

_COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)
_START = re.compile(r"\b(?:interface\s+(\w+)\s*(?:extends\s+([\w, ]+?))?\s*|type\s+(\w+)\s*=\s*)\{")
_MEMBER = re.compile(r"^(?:readonly\s+)?['\"]?(\w+)['\"]?(\?)?\s*:\s*(.+)$", re.DOTALL)
_ALIAS = re.compile(r"\btype\s+(\w+)\s*=\s*([^;{}]{1,2000});")
_ARRAY = re.compile(r"^(?:Array<(.+)>|(?:\((.+)\)|([\w'\"]+))\[\])$", re.DOTALL)
_LITERAL = re.compile(r"^(?:'([^'\\]*)'|\"([^\"\\]*)\"|(-?\d{1,15}))$")
_PLAIN: dict[str, dict[str, Any]] = {
    "string": {"type": "string"},
    "number": {"type": "number"},
    "boolean": {"type": "boolean"},
    "null": {"type": "null"},
    "Date": {"type": "string", "format": "date-time"},
    "true": {"const": True},
    "false": {"const": False},
}


def read_typescript(path: str, text: str) -> Iterator[Schema]:
    """Yield a schema an interface whose members are all understood."""
    plain = _COMMENT.sub(" ", text)
    bodies = {
        name: _body(plain, match.end())
        for match in _START.finditer(plain)
        if (name := match[1] or match[3]) and not match[2]
    }
    names = {*bodies, *(match[1] for match in _ALIAS.finditer(plain))}
    aliases = {m[1]: kind for m in _ALIAS.finditer(plain) if (kind := _kind(m[2], names))}
    read = {name: _described(body, names) for name, body in bodies.items() if body is not None}
    known: dict[str, Any] = {name: kind for name, kind in read.items() if kind} | aliases
    for name in read:
        if name in known and _resolves(known, name):
            yield Schema(name, path, "typescript", {"$ref": f"#/$defs/{name}", "$defs": known})


def _resolves(known: dict[str, Any], name: str) -> bool:
    """Whether everything that a type leads to was understood, too."""
    seen, left = set[str](), [name]
    while left:
        current = left.pop()
        if current not in known:
            return False
        seen.add(current)
        left += [n for n in _named(known[current]) if n not in seen]
    return True


def _named(kind: object) -> Iterator[str]:
    if isinstance(kind, dict):
        mapping = cast("dict[str, object]", kind)
        reference = mapping.get("$ref")
        if isinstance(reference, str):
            yield reference.removeprefix("#/$defs/")
        for value in mapping.values():
            yield from _named(value)
    elif isinstance(kind, list):
        for value in cast("list[object]", kind):
            yield from _named(value)


def _body(text: str, start: int) -> str | None:
    """Return what stands between braces, if there are none inside."""
    end = text.find("}", start)
    body = text[start:end] if end >= 0 else ""
    return None if end < 0 or "{" in body or "(" in body.replace(")[]", "") else body


def _described(body: str, names: set[str]) -> dict[str, Any] | None:
    properties: dict[str, Any] = {}
    required: list[str] = []
    for part in re.split(r"[;\n](?!\s*\|)", body):
        text = part.strip().rstrip(",;")
        if not text:
            continue
        member = _MEMBER.match(text)
        kind = _kind(member[3], names) if member else None
        if member is None or kind is None:
            return None
        properties[member[1]] = kind
        if not member[2]:
            required.append(member[1])
    closed = {"required": required, "additionalProperties": False}
    return {"type": "object", "properties": properties, **closed} if properties else None


def _kind(text: str, names: set[str], depth: int = 0) -> dict[str, Any] | None:
    text = text.strip().lstrip("|").strip()
    if depth > 8:
        return None
    if "|" in text and not text.startswith(("(", "Array<")):
        kinds = [_kind(part, names, depth + 1) for part in text.split("|") if part.strip()]
        found = [kind for kind in kinds if kind is not None]
        return {"anyOf": found} if len(found) == len(kinds) else None
    if array := _ARRAY.match(text):
        item = _kind(array[1] or array[2] or array[3], names, depth + 1)
        return {"type": "array", "items": item} if item else None
    if literal := _LITERAL.match(text):
        return {"const": int(literal[3]) if literal[3] else literal[1] or literal[2] or ""}
    if text in names:
        return {"$ref": f"#/$defs/{text}"}
    return dict(_PLAIN[text]) if text in _PLAIN else None
