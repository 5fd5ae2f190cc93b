"""``CREATE TABLE`` statements: columns, types, keys and references, read from their text."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from pipelines.agents.testdata.schemas.base import Reference, Schema, Unreadable

_MAX_TOKENS = 100_000
_TOKEN = re.compile(
    r"--[^\n]*|/\*.*?\*/|'(?:[^']|'')*'|\"[^\"]+\"|`[^`]+`|\[[A-Za-z_][^\]]*\]|[A-Za-z_]\w*"
    r"|\d+(?:\.\d+)?|[^\s]",
    re.DOTALL,
)
_WHOLE = {
    "SMALLINT": 15,
    "INT2": 15,
    "TINYINT": 7,
    "BIGINT": 53,
    "INT8": 53,
    "BIGSERIAL": 53,
    **dict.fromkeys(("INT", "INTEGER", "INT4", "MEDIUMINT", "SERIAL"), 31),
}
"""Bits without the sign; 53, because JSON has no larger whole numbers that all readers keep."""
_REAL = ("REAL", "FLOAT", "DOUBLE", "FLOAT4", "FLOAT8")
_EXACT = ("NUMERIC", "DECIMAL", "MONEY")
_TEXT = ("TEXT", "VARCHAR", "CHAR", "CHARACTER", "NVARCHAR", "NCHAR", "CITEXT", "CLOB", "STRING")
_FORMATS = {
    "DATE": "date",
    "DATETIME": "date-time",
    "TIMESTAMP": "date-time",
    "TIMESTAMPTZ": "date-time",
    "TIME": "time",
    "UUID": "uuid",
}
_TABLE_RULES = ("PRIMARY", "UNIQUE", "FOREIGN", "CONSTRAINT", "CHECK", "INDEX", "KEY", "EXCLUDE")


@dataclass(slots=True)
class _Table:
    properties: dict[str, Any] = field(default_factory=dict[str, Any])
    required: list[str] = field(default_factory=list[str])
    unique: list[tuple[str, ...]] = field(default_factory=list[tuple[str, ...]])
    references: list[Reference] = field(default_factory=list[Reference])
    notes: list[str] = field(default_factory=list[str])


def read_sql(path: str, text: str) -> Iterator[Schema]:
    """Yield a schema a table; at the end Unreadable if others have what could not be kept."""
    tokens = [t for t in _TOKEN.findall(text) if not t.startswith(("--", "/*"))]
    if len(tokens) > _MAX_TOKENS:
        raise Unreadable("it is too large")
    upper = [token.upper() for token in tokens]
    complaints: list[str] = []
    for index in range(len(tokens) - 3):
        if upper[index] == "CREATE" and "TABLE" in upper[index + 1 : index + 4]:
            try:
                yield from _table(path, tokens, upper.index("TABLE", index) + 1)
            except Unreadable as error:
                complaints.append(str(error))
            except IndexError:
                complaints.append("a table is not complete")
    if complaints:
        raise Unreadable("; ".join(complaints[:5]))


def _table(path: str, tokens: list[str], start: int) -> Iterator[Schema]:
    name, index = "", start
    while index < len(tokens) and tokens[index] != "(":
        if tokens[index] not in (".", ";") and tokens[index].upper() not in ("IF", "NOT", "EXISTS"):
            name = _name(tokens[index])
        if tokens[index] == ";" or tokens[index].upper() == "AS":
            return
        index += 1
    table = _Table()
    for part in _parts(tokens, index):
        _take(table, part)
    if table.notes:
        raise Unreadable(f"the table `{name}` has {table.notes[0]}")
    if name and table.properties:
        document = {
            "type": "object",
            "properties": table.properties,
            "required": table.required,
            "additionalProperties": False,
        }
        unique = tuple(dict.fromkeys(table.unique))
        yield Schema(name, path, "sql", document, unique, tuple(table.references))


def _parts(tokens: list[str], index: int) -> Iterator[list[str]]:
    """Yield what stands between the commas of the outermost parentheses."""
    depth, part = 0, list[str]()
    for word in tokens[index:]:
        depth += (word == "(") - (word == ")")
        if depth == 0:
            break
        if word == "," and depth == 1:
            yield part
            part = []
        elif not (word == "(" and depth == 1):
            part.append(word)
    yield part


def _take(table: _Table, part: list[str]) -> None:
    if not part:
        return
    upper = [token.upper() for token in part]
    if "CHECK" in upper:
        table.notes.append("a CHECK, which is not understood")
    elif upper[0] in _TABLE_RULES and (len(part) > 1 and part[0][0] not in '"`['):
        _rule(table, part, upper)
    elif len(part) > 1:
        _column(table, part, upper)


def _rule(table: _Table, part: list[str], upper: list[str]) -> None:
    if upper[0] == "CONSTRAINT":
        part, upper = part[2:], upper[2:]
    if not upper or "(" not in part:
        return
    opening = part.index("(")
    columns = tuple(_name(t) for t in part[opening + 1 : part.index(")", opening)] if t != ",")
    if upper[0] in ("PRIMARY", "UNIQUE"):
        table.unique.append(columns)
        if upper[0] == "PRIMARY":
            _not_null(table, columns)
    elif upper[0] == "FOREIGN" and "REFERENCES" in upper:
        other = upper.index("REFERENCES")
        targets = _listed(part, other + 2) or columns
        schema = _name(part[other + 1])
        pairs = zip(columns, targets, strict=False)
        if len(columns) > 1:
            table.notes.append("a foreign key of several columns, which is not understood")
        table.references += [Reference(column, schema, target) for column, target in pairs]


def _column(table: _Table, part: list[str], upper: list[str]) -> None:
    name = _name(part[0])
    kind = _kind(part, upper)
    if kind is None:
        table.notes.append(f"a column of the type {upper[1]}, which is not understood")
        return
    words = " ".join(upper)
    key = "PRIMARY KEY" in words
    table.required.append(name)
    table.properties[name] = kind
    if not key and "NOT NULL" not in words and "SERIAL" not in upper[1]:
        table.properties[name] = {**kind, "type": [kind["type"], "null"]}
    if key or "UNIQUE" in upper:
        table.unique.append((name,))
    if "REFERENCES" in upper:
        other = upper.index("REFERENCES")
        target = _listed(part, other + 2) or ("id",)
        table.references.append(Reference(name, _name(part[other + 1]), target[0]))


def _kind(part: list[str], upper: list[str]) -> dict[str, Any] | None:
    """Return the JSON Schema of a column's type."""
    word, sizes = upper[1], [int(size) for size in _listed(part, 2) if size.isdigit()]
    if bits := _WHOLE.get(word):
        return {"type": "integer", "minimum": -(2**bits), "maximum": 2**bits - 1}
    if word in _REAL:
        return {"type": "number"}
    if word in _EXACT:
        whole, fraction = (*sizes, *((10, 2) if not sizes else (0,)))[:2]
        limit = 10 ** max(0, min(whole - fraction, 12)) - 1
        kind = "number" if fraction >= 2 else "integer"
        return {"type": kind, "minimum": -limit, "maximum": limit}
    if word in _TEXT:
        return {"type": "string", **({"maxLength": sizes[0]} if sizes else {})}
    if word in ("BOOLEAN", "BOOL"):
        return {"type": "boolean"}
    return {"type": "string", "format": _FORMATS[word]} if word in _FORMATS else None


def _listed(part: list[str], index: int) -> tuple[str, ...]:
    """Return what stands in parentheses that open at an index, if any do."""
    if index >= len(part) or part[index] != "(" or ")" not in part[index:]:
        return ()
    end = part.index(")", index)
    return tuple(_name(word) for word in part[index + 1 : end] if word != ",")


def _not_null(table: _Table, columns: tuple[str, ...]) -> None:
    for column in columns:
        kind = table.properties.get(column)
        if kind and isinstance(kind["type"], list):
            table.properties[column] = {**kind, "type": kind["type"][0]}


def _name(token: str) -> str:
    return token.strip('"`[]')
