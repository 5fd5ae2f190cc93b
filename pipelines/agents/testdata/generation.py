"""Generates the records of schemas: seeded, edges first, keys unique, references that hold."""

import hashlib
import json
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from pipelines.agents.testdata.patterns import Unsupported
from pipelines.agents.testdata.schemas import Reference, Schema, Unreadable
from pipelines.agents.testdata.validation import Checker
from pipelines.agents.testdata.values import EDGES, Impossible, Maker

MAX_CONTENT = 128 * 1024
"""Characters of one file: all data sets of a step together have to fit into a result."""
_TRIES = 3


@dataclass(frozen=True, slots=True)
class DataSet:
    """Records of one schema, every one of which was found valid."""

    schema: Schema
    seed: int
    records: tuple[Mapping[str, Any], ...]
    dropped: int = 0
    """Records that could not be made valid and are not part of it."""

    @property
    def content(self) -> str:
        """The records as a file: the same records are the same bytes."""
        return json.dumps(self.records, ensure_ascii=False, indent=1, sort_keys=True) + "\n"


@dataclass(frozen=True, slots=True)
class Generated:
    """What was made, and the schemas for which nothing could be, each with its reason."""

    sets: tuple[DataSet, ...]
    failed: tuple[tuple[Schema, str], ...] = ()


def seed_of(schema: Schema, repository_id: int) -> int:
    """Return the seed, which depends on nothing but the schema and the repository."""
    digest = hashlib.sha256(f"{repository_id}\0{schema.name}\0{schema.digest}".encode()).digest()
    return int.from_bytes(digest[:6], "big")


def generate(schemas: Sequence[Schema], repository_id: int, count: int) -> Generated:
    """Generate so many records of each schema, those that others refer to first."""
    sets: dict[str, DataSet] = {}
    failed: list[tuple[Schema, str]] = []
    for schema in _parents_first(schemas):
        try:
            made = _generate(schema, seed_of(schema, repository_id), count, sets)
        except (Impossible, Unsupported, Unreadable) as error:
            failed.append((schema, str(error)))
        except (RecursionError, ValueError, TypeError, AttributeError, OverflowError):
            failed.append((schema, "it says something that is not understood"))
        else:
            sets[schema.name] = made
    return Generated(tuple(sets.values()), tuple(failed))


def _parents_first(schemas: Sequence[Schema]) -> Iterator[Schema]:
    """Yield schemas so that each comes after those it refers to; circles end where they begin."""
    named = {schema.name: schema for schema in schemas}
    done: set[str] = set()

    def visit(schema: Schema, above: frozenset[str]) -> Iterator[Schema]:
        for reference in schema.references:
            parent = named.get(reference.schema)
            if parent and parent.name not in done | above and parent is not schema:
                yield from visit(parent, above | {schema.name})
        if schema.name not in done:
            done.add(schema.name)
            yield schema

    for schema in named.values():
        yield from visit(schema, frozenset())


def _generate(schema: Schema, seed: int, count: int, sets: Mapping[str, DataSet]) -> DataSet:
    checker = Checker(schema)
    maker = Maker(schema.document, random.Random(seed))  # noqa: S311 - reproducible on purpose
    records: list[Mapping[str, Any]] = []
    complaint, dropped = "", 0
    for index in range(count):
        found, complaint = _record(checker, maker, schema, (index, records, sets))
        if found is None:
            dropped += 1
            continue
        if len(json.dumps([*records, found], ensure_ascii=False)) * 2 > MAX_CONTENT:
            dropped += count - index
            break
        records.append(found)
    if not records:
        raise Impossible(complaint or "no record fits into the limit of a file")
    return DataSet(schema, seed, tuple(records), dropped)


def _record(
    checker: Checker,
    maker: Maker,
    schema: Schema,
    among: tuple[int, list[Mapping[str, Any]], Mapping[str, DataSet]],
) -> tuple[Mapping[str, Any] | None, str]:
    """Return a valid record, mended by drawing anew, or None and what was wrong with the last."""
    index, records, sets = among
    complaint = ""
    for attempt in range(_TRIES):
        edge = EDGES[index] if index < len(EDGES) and attempt == 0 else "plain"
        value = maker.record(edge)
        if not isinstance(value, dict):
            raise Impossible("its records are no objects")
        record = cast("dict[str, Any]", value)
        _distinguish(record, schema, len(records))
        _refer(record, schema, sets, records, maker.rng)
        complaint = checker.complaint(record) or checker.clashes([*records, record])
        if not complaint:
            return record, ""
    return None, complaint


def _distinguish(record: dict[str, Any], schema: Schema, index: int) -> None:
    """Number the columns of keys; the others keep the edges that they were taken from."""
    referring = {reference.column for reference in schema.references}
    for columns in schema.unique:
        for column in columns:
            value = record.get(column)
            if column in referring or value is None:
                continue
            if isinstance(value, int) and not isinstance(value, bool):
                record[column] = index + 1
            elif isinstance(value, str) and not _formatted(schema, column):
                record[column] = f"{value[: max(0, _room(schema, column) - 6)]}{index:05d}"


def _column(schema: Schema, column: str) -> Mapping[str, Any]:
    properties = cast("Mapping[str, Any]", schema.document.get("properties", {}))
    return cast("Mapping[str, Any]", properties.get(column, {}))


def _formatted(schema: Schema, column: str) -> bool:
    return "format" in _column(schema, column)


def _room(schema: Schema, column: str) -> int:
    return int(_column(schema, column).get("maxLength", 40))


def _refer(
    record: dict[str, Any],
    schema: Schema,
    sets: Mapping[str, DataSet],
    records: Sequence[Mapping[str, Any]],
    rng: random.Random,
) -> None:
    """Point every reference at a record that is there; one to its own kind may point nowhere."""
    for reference in schema.references:
        if record.get(reference.column) is None and reference.column in record:
            continue
        targets = _targets(reference, schema, sets, records)
        nullable = "null" in _column(schema, reference.column).get("type", ())
        if targets:
            record[reference.column] = rng.choice(targets)
        elif nullable:
            record[reference.column] = None
        elif reference.schema == schema.name:
            record[reference.column] = record.get(reference.target)
        else:
            raise Impossible(f"it refers to `{reference.schema}`, of which there are no records")


def _targets(
    reference: Reference,
    schema: Schema,
    sets: Mapping[str, DataSet],
    records: Sequence[Mapping[str, Any]],
) -> list[Any]:
    parents = sets[reference.schema].records if reference.schema in sets else ()
    rows = records if reference.schema == schema.name else parents
    return [row[reference.target] for row in rows if row.get(reference.target) is not None]
