"""What every kind of schema is read as: JSON Schema, keys and references."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast

from pipelines.errors import ConductorError

Origin = Literal["json-schema", "openapi", "sql", "python", "typescript"]
MAX_TEXT = 300_000
MAX_DEPTH = 32
_REFUSED = ("patternProperties", "$dynamicRef", "$recursiveRef", "propertyNames")


class Unreadable(ConductorError):
    """A file or a schema that cannot be made use of; the text is a clause that says why."""


@dataclass(frozen=True, slots=True)
class Reference:
    """A column whose values are those of another schema's column."""

    column: str
    schema: str
    target: str


@dataclass(frozen=True, slots=True)
class Schema:
    """One kind of record; ``document`` is a whole JSON Schema of its own."""

    name: str
    path: str
    origin: Origin
    document: Mapping[str, Any]
    unique: tuple[tuple[str, ...], ...] = ()
    """Sets of columns of which no two records have the same values."""
    references: tuple[Reference, ...] = ()

    @property
    def digest(self) -> str:
        """Names what the schema says, wherever it stands."""
        refers = [[r.column, r.schema, r.target] for r in self.references]
        said = [self.document, self.unique, refers]
        return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def check(document: object, depth: int = 0) -> None:
    """Raise Unreadable if a document is too deep or refers to anything outside of itself."""
    if depth > MAX_DEPTH:
        raise Unreadable(f"it is nested more than {MAX_DEPTH} deep")
    if isinstance(document, dict):
        for key, value in cast("dict[str, object]", document).items():
            if key == "$ref" and not (isinstance(value, str) and value.startswith("#/")):
                raise Unreadable("it refers to another document")
            if key in _REFUSED:
                raise Unreadable(f"it uses `{key}`")
            check(value, depth + 1)
    elif isinstance(document, list):
        for value in cast("list[object]", document):
            check(value, depth + 1)
