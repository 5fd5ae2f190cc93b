"""What is generated is valid, reproducible, at the edges, and related as the keys say."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from pipelines.agents.testdata.generation import DataSet, Generated, generate
from pipelines.agents.testdata.schemas import Schema, read_schemas
from tests.unit.agents.testdata.test_schemas import OPENAPI, PYTHON, SQL, TYPESCRIPT

CART: dict[str, Any] = {
    "type": "object",
    "required": ["id", "name"],
    "additionalProperties": False,
    "properties": {
        "id": {"type": "string", "format": "uuid"},
        "name": {"type": "string", "minLength": 2, "maxLength": 12},
        "code": {"type": "string", "pattern": "^[A-Z]{2}\\d{3}$"},
        "count": {"type": "integer", "minimum": 0, "maximum": 7},
        "ratio": {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1},
        "step": {"type": "integer", "multipleOf": 5, "minimum": 3, "maximum": 22},
        "note": {"type": ["string", "null"]},
        "kind": {"enum": ["a", "b"]},
        "one": {"oneOf": [{"type": "string", "maxLength": 3}, {"type": "integer"}]},
        "tags": {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": 4},
        "set": {"type": "array", "items": {"enum": [1, 2]}, "uniqueItems": True},
        "when": {"type": "string", "format": "date-time"},
        "both": {"allOf": [{"type": "string"}, {"minLength": 30}]},
    },
}


def schema(document: dict[str, Any], name: str = "Cart", **more: Any) -> Schema:
    return Schema(name, f"{name}.schema.json", "json-schema", document, **more)


def make(*schemas: Schema, count: int = 30) -> Generated:
    return generate(schemas, 42, count)


def one(document: dict[str, Any], count: int = 30) -> DataSet:
    made = make(schema(document), count=count)
    assert made.failed == ()
    return made.sets[0]


def test_every_record_is_valid_by_an_independent_validator() -> None:
    records = one(CART).records
    assert len(records) == 30
    for record in records:
        Draft202012Validator(CART).validate(record)


def test_the_first_records_are_the_edges() -> None:
    least, most, unicode, null = one(CART).records[:4]
    assert set(least) == {"id", "name"}
    assert least["name"] == "aa"
    assert set(most) == {*CART["properties"]}
    assert (most["count"], len(most["name"]), len(most["tags"])) == (7, 12, 4)
    assert (most["step"], most["ratio"]) == (20, 0.99)
    assert not unicode["name"].isascii()
    assert null["note"] is None


def test_the_same_schema_in_the_same_repository_gives_the_same_bytes() -> None:
    assert one(CART).content == one(CART).content
    assert one(CART).seed == one(CART).seed
    assert generate([schema(CART)], 43, 30).sets[0].content != one(CART).content
    other = {**CART, "required": ["id"]}
    assert one(other).seed != one(CART).seed


def test_one_more_record_does_not_change_those_before() -> None:
    assert one(CART, 10).records == one(CART, 20).records[:10]


def test_tables_are_filled_parents_first_with_unique_keys_and_references_that_hold() -> None:
    customers_orders = read_schemas({"a.sql": SQL}).schemas
    made = make(*reversed(customers_orders))
    assert made.failed == ()
    sets = {data.schema.name: data.records for data in made.sets}
    assert list(sets) == ["customers", "orders"]
    ids = [row["id"] for row in sets["customers"]]
    assert len(set(ids)) == len(ids) == 30
    assert len({row["email"] for row in sets["customers"]}) == 30
    assert any(row["nick"] is None for row in sets["customers"])
    assert all(row["customer_id"] in ids for row in sets["orders"])
    assert all(row["parent_id"] in [*ids, None] for row in sets["orders"])
    assert len({(row["id"], row["line"]) for row in sets["orders"]}) == len(sets["orders"])


def test_a_table_that_refers_to_itself_starts_with_a_row_that_refers_to_nothing_else() -> None:
    columns = "id INT PRIMARY KEY, up INT REFERENCES t (id), top INT NOT NULL REFERENCES t (id)"
    sql = f"CREATE TABLE t ({columns});"
    rows = make(*read_schemas({"a.sql": sql}).schemas).sets[0].records
    for index, row in enumerate(rows):
        known = [other["id"] for other in rows[: index + 1]]
        assert row["up"] in [*known, None]
        assert row["top"] in known


def test_a_reference_to_a_table_that_is_not_there_is_said() -> None:
    sql = "CREATE TABLE t (id INT PRIMARY KEY, a INT NOT NULL REFERENCES gone (id));"
    made = make(*read_schemas({"a.sql": sql}).schemas)
    assert made.sets == ()
    assert "`gone`" in made.failed[0][1]


@pytest.mark.parametrize(
    ("path", "text"),
    [("models.py", PYTHON), ("types.ts", TYPESCRIPT), ("openapi.yaml", OPENAPI), ("a.sql", SQL)],
)
def test_schemas_of_every_origin_are_filled_with_valid_records(path: str, text: str) -> None:
    schemas = read_schemas({path: text}).schemas
    made = make(*schemas)
    assert made.failed == ()
    assert len(made.sets) == len(schemas)
    for data in made.sets:
        assert len(data.records) == 30
        for record in data.records:
            Draft202012Validator(dict(data.schema.document)).validate(record)


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        ({"properties": {"a": {"type": "string", "pattern": "(a+)+$"}}}, "groups"),
        ({"properties": {"a": {"$ref": "#"}}, "required": ["a"]}, "refers to something"),
        ({"properties": {"a": {"$ref": "#/b"}}, "required": ["a"]}, "not understood"),
        ({"properties": {"a": {"enum": []}}, "required": ["a"]}, "allows no value"),
        ({"properties": {"a": {}}, "required": ["a"]}, "without a type"),
        ({"properties": {"a": {"type": "strange"}}}, "not a valid JSON Schema"),
        ({"properties": {"a": {"type": "string", "minLength": 5, "maxLength": 2}}}, "no text"),
        ({"properties": {"a": {"type": "integer", "minimum": 5, "maximum": 2}}}, "no number"),
        ({"properties": {"a": {"type": "string", "not": {}}}, "required": ["a"]}, "breaks `not`"),
        ({"properties": {"a": 3}}, "not a valid JSON Schema"),
        (
            {"properties": {"a": {"$ref": "#/$defs/b"}}, "$defs": {"b": {"$ref": "#/$defs/b"}}},
            "type",
        ),
    ],
)
def test_what_cannot_be_filled_with_valid_records_is_said_and_not_stored(
    document: dict[str, Any], reason: str
) -> None:
    made = make(schema(document))
    assert made.sets == ()
    assert reason in made.failed[0][1]


def test_records_that_cannot_be_made_valid_are_left_out_and_counted() -> None:
    document = {
        "type": "object",
        "properties": {"a": {"type": "integer", "minimum": 0, "maximum": 9, "not": {"const": 9}}},
        "required": ["a"],
    }
    data = one(document)
    assert all(record["a"] != 9 for record in data.records)
    assert len(data.records) + data.dropped == 30


def test_a_file_stays_within_its_limit() -> None:
    long = {"type": "string", "minLength": 9_000}
    document = {"type": "object", "properties": {"a": long}, "required": ["a"]}
    data = one(document, 1_000)
    assert len(data.content.encode()) < 1024 * 1024
    assert data.dropped == 1_000 - len(data.records)


_types = st.sampled_from(["string", "integer", "number", "boolean", "null", "array", "object", []])
_documents = st.recursive(
    st.fixed_dictionaries(
        {"type": _types},
        optional={
            "minimum": st.integers(-5, 5),
            "maximum": st.integers(-5, 5),
            "multipleOf": st.sampled_from([1, 2, 0.5]),
            "minLength": st.integers(0, 5),
            "maxLength": st.integers(0, 5),
            "enum": st.lists(st.integers(), max_size=2),
            "pattern": st.text(max_size=6),
            "format": st.sampled_from(["date", "email", "x"]),
            "uniqueItems": st.booleans(),
        },
    ),
    lambda inner: st.fixed_dictionaries(
        {},
        optional={
            "items": inner,
            "anyOf": st.lists(inner, max_size=2),
            "allOf": st.lists(inner, max_size=2),
            "properties": st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
            "required": st.lists(st.sampled_from("abc"), max_size=2),
            "type": _types,
            "$ref": st.sampled_from(["#/a", "#/properties/a", "#"]),
        },
    ),
    max_leaves=6,
)


@settings(max_examples=150, deadline=None)
@given(_documents)
def test_for_any_schema_what_is_stored_is_valid_and_the_rest_is_said(
    document: dict[str, Any],
) -> None:
    made = make(schema(document), count=6)
    assert bool(made.sets) != bool(made.failed)
    for data in made.sets:
        assert json.loads(data.content) == list(data.records)
    for _, reason in made.failed:
        assert reason
