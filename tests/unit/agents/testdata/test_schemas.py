"""Schemas are read from text; what is not understood is left out with its reason."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.agents.testdata.patterns import Unsupported, matches, parse, sample
from pipelines.agents.testdata.schemas import Found, Reference, Schema, candidates, read_schemas
from pipelines.ports import Rng
from tests.support.workplace import MemoryWorkplace

SQL = """\
-- Shops
CREATE TABLE IF NOT EXISTS public.customers (
  id SERIAL PRIMARY KEY,
  email VARCHAR(120) NOT NULL UNIQUE,
  nick CHAR(8),
  born DATE,
  balance NUMERIC(8, 2) DEFAULT 0 NOT NULL
);
create table "orders" (
  id uuid not null,
  line int not null,
  customer_id INTEGER NOT NULL REFERENCES customers (id) ON DELETE CASCADE,
  parent_id INTEGER,
  paid boolean not null default false,
  PRIMARY KEY (id, line),
  CONSTRAINT fk_parent FOREIGN KEY (parent_id) REFERENCES customers (id)
);
"""
PYTHON = '''\
from __future__ import annotations
import os
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, ClassVar, Literal, Optional
from pydantic import BaseModel, Field

os.mkdir("/tmp/conductor-was-imported")

class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"

class Base(BaseModel):
    id: int = Field(ge=1, le=9)

class Item(Base):
    """Words."""
    kind: ClassVar[str] = "x"
    name: Annotated[str, Field(min_length=2, max_length=5)]
    colour: Colour
    size: Literal["s", "l"] = "s"
    note: Optional[str] = None
    tags: set[str] = Field(default_factory=set)
    prices: dict[str, float]
    parent: "Item | None" = None

@dataclass
class Point:
    x: float
    y: float = 0.0
    labels: list[str] = field(default_factory=list)

class Strange(BaseModel):
    thing: SomethingElse

class NotAModel:
    a: int
'''
TYPESCRIPT = """\
// A comment { with braces }
type Id = string;
export interface Item {
  readonly id: Id;
  name?: string; /* words */
  kind: 'a' | 'b' | null
  tags: string[];
  more: Array<Other>;
}
interface Other { n: number; d: Date }
interface Strange { f(): void }
interface Child extends Item { x: number }
interface Lost { a: Nowhere }
interface Leads { a: Strange2 }
"""
OPENAPI = """\
openapi: 3.0.3
components:
  schemas:
    Pet:
      type: object
      required: [name]
      properties:
        name: {type: string, nullable: true}
        owner: {$ref: '#/components/schemas/Owner'}
    Owner:
      type: object
      properties: {since: {type: string, format: date}}
    Kind: {type: string}
"""


def by_name(found: Found) -> dict[str, Schema]:
    return {schema.name: schema for schema in found.schemas}


def defined(schema: Schema) -> dict[str, Any]:
    return schema.document["$defs"][schema.name]


def test_tables_are_read_with_types_keys_and_references() -> None:
    found = by_name(read_schemas({"db/schema.sql": SQL}))
    customers, orders = found["customers"], found["orders"]
    properties = customers.document["properties"]
    assert properties["email"] == {"type": "string", "maxLength": 120}
    assert properties["nick"] == {"type": ["string", "null"], "maxLength": 8}
    assert properties["born"] == {"type": ["string", "null"], "format": "date"}
    assert properties["balance"] == {"type": "number", "minimum": -999999, "maximum": 999999}
    assert customers.unique == (("id",), ("email",))
    assert orders.unique == (("id", "line"),)
    assert orders.references == (
        Reference("customer_id", "customers", "id"),
        Reference("parent_id", "customers", "id"),
    )
    assert orders.document["properties"]["parent_id"]["type"] == ["integer", "null"]
    assert orders.document["properties"]["id"] == {"type": "string", "format": "uuid"}


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        ("a INT CHECK (a > 3)", "a CHECK"),
        ("a INT, CHECK (a > 3)", "a CHECK"),
        ("a GEOMETRY", "the type GEOMETRY"),
        ("a INT, b INT, FOREIGN KEY (a, b) REFERENCES t (c, d)", "several columns"),
    ],
)
def test_a_table_with_rules_that_are_not_understood_is_left_out(table: str, reason: str) -> None:
    found = read_schemas({"a.sql": f"CREATE TABLE t ({table});"})
    assert found.schemas == ()
    assert reason in found.left_out[0][1]


def test_a_table_that_is_not_understood_does_not_hide_the_others() -> None:
    text = "CREATE TABLE a (x GEOMETRY); CREATE TABLE b (x INT); CREATE TABLE c (x INT REFERENCES"
    found = read_schemas({"a.sql": text})
    assert [schema.name for schema in found.schemas] == ["b"]
    assert "GEOMETRY" in found.left_out[0][1]
    assert "not complete" in found.left_out[0][1]


def test_python_models_are_read_without_being_imported() -> None:
    found = by_name(read_schemas({"shop/models.py": PYTHON}))
    assert set(found) == {"Base", "Item", "Point"}
    item = defined(found["Item"])
    assert item["required"] == ["id", "name", "colour", "prices"]
    assert item["properties"]["id"] == {"type": "integer", "minimum": 1, "maximum": 9}
    assert item["properties"]["name"] == {"type": "string", "minLength": 2, "maxLength": 5}
    assert item["properties"]["size"] == {"enum": ["s", "l"]}
    assert "kind" not in item["properties"]
    assert found["Item"].document["$defs"]["Colour"] == {"enum": ["red", "blue"]}
    assert defined(found["Point"])["required"] == ["x"]


def test_interfaces_are_read_unless_a_member_is_not_understood() -> None:
    found = by_name(read_schemas({"src/types.ts": TYPESCRIPT}))
    assert set(found) == {"Item", "Other"}
    item = defined(found["Item"])
    assert item["required"] == ["id", "kind", "tags", "more"]
    assert item["properties"]["kind"]["anyOf"][2] == {"type": "null"}
    assert item["properties"]["more"] == {"type": "array", "items": {"$ref": "#/$defs/Other"}}


def test_components_of_an_openapi_document_are_read_from_yaml() -> None:
    found = by_name(read_schemas({"openapi.yaml": OPENAPI}))
    assert set(found) == {"Pet", "Owner"}
    schemas = found["Pet"].document["components"]["schemas"]
    assert schemas["Pet"]["properties"]["name"]["type"] == ["string", "null"]


def test_a_schema_file_is_named_by_its_title_or_its_path() -> None:
    text = json.dumps({"title": "Cart", "properties": {"a": {"type": "string"}}})
    assert read_schemas({"x.schema.json": text}).schemas[0].name == "Cart"
    text = json.dumps({"title": "../../x", "properties": {"a": {"type": "string"}}})
    assert read_schemas({"a/x.schema.json": text}).schemas[0].name == "x"


BOMB = "a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n"


@pytest.mark.parametrize(
    ("path", "text", "reason"),
    [
        ("a.schema.json", "{", "not JSON"),
        ("a.schema.json", "[]", "not an object"),
        ("a.schema.json", "{}", "describes no object"),
        ("a.schema.json", "[" * 100_000, "not JSON"),
        ("a.schema.json", '{"properties": {"a": {"$ref": "https://x/y"}}}', "another document"),
        ("a.schema.json", '{"properties": {}, "patternProperties": {}}', "patternProperties"),
        ("a.schema.json", '{"properties":' + '{"a":' * 40 + "1" + "}" * 41, "deep"),
        ("openapi.yaml", BOMB, "aliases"),
        ("openapi.yaml", "!!python/object/apply:os.system ['true']", "plain YAML"),
        ("openapi.yaml", "[" * 200, "too large or too deep"),
        ("openapi.yaml", "openapi: 3\n", "no component schemas"),
        ("a.py", "class (:", "not Python"),
        ("a.sql", "x" * 400_000, "too large"),
    ],
)
def test_what_cannot_be_read_is_left_out_with_its_reason(path: str, text: str, reason: str) -> None:
    found = read_schemas({path: text})
    assert found.schemas == ()
    assert reason in found.left_out[0][1]


@given(st.text(max_size=300), st.sampled_from(["a.sql", "a.py", "a.ts", "openapi.yml", "a.json"]))
def test_any_text_is_read_or_left_out_and_never_crashes(text: str, path: str) -> None:
    found = read_schemas({path: text})
    assert isinstance(found, Found)


@given(st.integers(0, len(SQL)), st.integers(0, len(PYTHON)), st.integers(0, len(TYPESCRIPT)))
def test_text_that_is_cut_anywhere_never_crashes(sql: int, python: int, script: int) -> None:
    texts = {"a.sql": SQL[:sql], "a.py": PYTHON[:python], "a.ts": TYPESCRIPT[:script]}
    assert isinstance(read_schemas(texts), Found)


async def test_candidates_are_files_that_look_like_schemas_those_of_the_change_first() -> None:
    files = {
        "db/schema.sql": "x", "shop/models.py": "x", "shop/cart.py": "x", "shop/other.py": "x",
        "tests/test_models.py": "x", "node_modules/a/types.ts": "x", "api/openapi.yaml": "x",
    }  # fmt: skip
    tree = await MemoryWorkplace(files).tree()
    assert candidates(tree, ["shop/cart.py"]) == (
        "shop/cart.py",
        "api/openapi.yaml",
        "db/schema.sql",
        "shop/models.py",
    )


@pytest.mark.parametrize(
    "pattern",
    ["^[A-Z]{3}-\\d{4}$", "^a+b*c?$", "^[a-z0-9_.\\-]{2,10}@x\\.y$", "^\\w{1,}$", "^...$", "abc"],
)
def test_simple_patterns_are_sampled_and_matched_as_they_mean(pattern: str) -> None:
    parts = parse(pattern)
    for seed in range(30):
        text = sample(parts, Rng(seed), shortest=seed == 0)
        assert matches(parts, text)
        assert not matches(parts, f"{text}\n~")


@pytest.mark.parametrize(
    "pattern",
    ["(a+)+$", "a|b", "(?=x)", "[^a]", "\\bx", "a{1000}", "a{,}", "[z-a]", "a" * 300, "[", "\\"],
)
def test_other_patterns_are_refused(pattern: str) -> None:
    with pytest.raises(Unsupported):
        parse(pattern)


@given(st.text(max_size=40))
def test_any_pattern_is_parsed_or_refused_and_samples_match(pattern: str) -> None:
    try:
        parts = parse(pattern)
    except Unsupported:
        return
    assert matches(parts, sample(parts, Rng(1)))
