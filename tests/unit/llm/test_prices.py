"""Prices, token estimates and strict schemas."""

import json
from pathlib import Path

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from pipelines.integrations.llm.prices import UNKNOWN_CONTEXT_TOKENS, price_table
from pipelines.integrations.llm.schema import strict
from pipelines.integrations.llm.tokens import estimate_tokens
from pipelines.model import Usage

MILLION = Usage(input_tokens=1_000_000)


def test_the_table_has_a_date_and_a_source_for_every_line() -> None:
    table = price_table()
    assert table.as_of.year >= 2026
    assert all(model.source for model in table.models)
    assert all(model.tiers[0].from_input_tokens == 0 for model in table.models)


def test_the_longest_matching_line_decides() -> None:
    table = price_table()
    assert table.cost("anthropic:claude-opus-5-5-20260922", MILLION) == 4.0
    assert table.cost("anthropic:claude-opus-5", MILLION) == 5.0


def test_a_long_prompt_reaches_the_dearer_tier_for_the_whole_call() -> None:
    table = price_table()
    short, long = Usage(input_tokens=100_000), Usage(cache_read_tokens=1, input_tokens=100_000)
    assert table.cost("anthropic:claude-haiku-5-5", short) == pytest.approx(0.01)
    assert table.cost("anthropic:claude-haiku-5-5", long) == pytest.approx(0.05, rel=1e-3)


def test_an_unknown_model_costs_as_much_as_the_dearest_known_one() -> None:
    table = price_table()
    assert table.find("openai:my-own") is None
    dearest = max(table.cost(m.match.rstrip("*"), MILLION) for m in table.models)
    assert table.cost("openai:my-own", MILLION) == dearest > 0
    assert table.context_tokens("openai:my-own") == UNKNOWN_CONTEXT_TOKENS


def test_the_worst_cost_assumes_that_the_whole_prompt_is_written_to_the_cache() -> None:
    worst = price_table().worst_cost("anthropic:claude-sonnet-5-5", 1_000_000, 1_000_000)
    assert worst == 12.5


@given(st.text())
def test_an_estimate_is_never_below_one_token_per_three_visible_characters(text: str) -> None:
    assert estimate_tokens(text) * 3 >= len("".join(text.split()))


@pytest.mark.parametrize(
    ("text", "expected"),
    [("", 0), ("a", 1), ("hello world", 4), ("1234", 4), ("\n\n    ", 2), ("x = f(y)", 6)],
)
def test_estimates_of_known_texts(text: str, expected: int) -> None:
    assert estimate_tokens(text) == expected


def test_source_code_is_estimated_between_a_quarter_and_three_fifths_of_its_characters() -> None:
    text = Path(__file__).read_text()
    assert len(text) / 4 < estimate_tokens(text) < len(text) * 0.6


class Inner(BaseModel):
    line: int = Field(ge=1)
    kind: str = Field(default="bug", pattern="^[a-z]+$")


class Outer(BaseModel):
    items: list[Inner] = Field(max_length=5, description="What was found.")
    note: str | None = None
    main: Inner = Field(description="the main one")


def test_a_pydantic_schema_becomes_strict_and_still_accepts_what_it_described() -> None:
    schema = strict(Outer.model_json_schema())
    assert schema["required"] == ["items", "note", "main"]
    assert schema["additionalProperties"] is False
    assert schema["properties"]["main"] == {"$ref": "#/$defs/Inner"}
    assert schema["properties"]["items"]["description"] == "What was found. (maxItems: 5)"
    inner = schema["$defs"]["Inner"]
    assert inner["required"] == ["line", "kind"]
    assert "minimum" not in json.dumps(inner["properties"]["line"]).replace("(minimum", "")
    inner_value = {"line": 1, "kind": "bug"}
    jsonschema.validate({"items": [inner_value], "note": None, "main": inner_value}, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"items": [], "note": None}, schema)


def test_a_property_may_have_the_name_of_a_keyword() -> None:
    schema = {"type": "object", "properties": {"title": {"type": "string"}, "format": {}}}
    assert set(strict(schema)["properties"]) == {"title", "format"}


def test_one_of_becomes_any_of_and_the_original_is_left_alone() -> None:
    schema = {"oneOf": [{"type": "string", "default": "x"}, {"type": "null"}]}
    assert strict(schema) == {"anyOf": [{"type": "string"}, {"type": "null"}]}
    assert "default" in schema["oneOf"][0]


def test_what_is_no_schema_is_refused() -> None:
    with pytest.raises(TypeError):
        strict({"items": True})
