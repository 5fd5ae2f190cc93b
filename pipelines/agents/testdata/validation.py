"""Checks every record against the schema that it claims, with nothing fetched and no regex run."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

from jsonschema import Draft202012Validator, FormatChecker
from jsonschema.exceptions import SchemaError, ValidationError
from jsonschema.validators import extend  # pyright: ignore[reportUnknownVariableType] - no stubs
from referencing import Registry
from referencing.exceptions import Unresolvable

from pipelines.agents.testdata.patterns import matches, parse
from pipelines.agents.testdata.schemas import Schema, Unreadable


def _pattern(_: Any, expression: str, instance: Any, __: Any) -> Iterator[ValidationError]:
    if isinstance(instance, str) and not matches(parse(expression), instance):
        yield ValidationError("it does not match its pattern")


_Validator = cast("Any", extend(Draft202012Validator, {"pattern": _pattern}))
_FORMATS = FormatChecker()


class Checker:
    """Validates the records of one schema; raises Unreadable for a schema that is none."""

    def __init__(self, schema: Schema) -> None:
        try:
            Draft202012Validator.check_schema(cast("dict[str, Any]", schema.document))
        except (SchemaError, RecursionError) as error:
            raise Unreadable("it is not a valid JSON Schema") from error
        # Without a registry of its own the library would fetch what a reference names.
        self._validator = _Validator(
            schema.document, format_checker=_FORMATS, registry=Registry[Any]()
        )
        self._schema = schema

    def complaint(self, record: object) -> str:
        """Return what is wrong with a record, as a clause; empty if nothing is."""
        try:
            error = next(iter(self._validator.iter_errors(record)), None)
        except (Unresolvable, RecursionError):
            return "its schema refers to something that is not there"
        if error is None:
            return ""
        where = ".".join(str(part) for part in error.absolute_path) or "the record"
        return f"{where} breaks `{error.validator}`"[:200]

    def clashes(self, records: Sequence[Mapping[str, Any]]) -> str:
        """Return which key two records share, as a clause; empty if none is shared."""
        for columns in self._schema.unique:
            seen = set[str]()
            for record in records:
                values = [record.get(column) for column in columns]
                key = json.dumps(values, sort_keys=True)
                if key in seen and None not in values:
                    return f"two records have the same {', '.join(columns)}"
                seen.add(key)
        return ""
