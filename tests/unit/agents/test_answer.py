"""Answers as models really give them."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.agents.review.answer import (
    MAX_CHARACTERS,
    OUTPUT,
    InvalidAnswer,
    parse_answer,
    salvage,
)
from tests.support.models import findings, proposal

ONE = proposal("a.py", 3, "x = 1")
GOOD = findings(ONE)


@pytest.mark.parametrize(
    "text",
    [
        GOOD,
        f"  \n{GOOD}\n",
        f"```json\n{GOOD}\n```",
        f"Here is my review of {{the change}}:\n\n{GOOD}\n\nLet me know!",
        json.dumps(json.loads(GOOD), indent=4),
    ],
    ids=["plain", "spaces", "fence", "prose", "indented"],
)
def test_one_object_is_read_whatever_surrounds_it(text: str) -> None:
    (finding,) = parse_answer(text).findings
    assert (finding.path, finding.line) == ("a.py", 3)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "no complete JSON object"),
        (" \n\t", "no complete JSON object"),
        ("I cannot help with that.", "no complete JSON object"),
        ("[]", "no complete JSON object"),
        ("null", "no complete JSON object"),
        (GOOD[:-1], "findings"),
        (GOOD + GOOD, "2 JSON objects"),
        (GOOD.replace("3", "NaN"), "no complete JSON object"),
        (GOOD.replace("3", "Infinity"), "no complete JSON object"),
        (GOOD.replace("3", "1e400"), "line"),
        (GOOD.replace("3", '"3"'), "line"),
        (GOOD.replace("3", "true"), "line"),
        (GOOD.replace("3", "3.0"), "line"),
        (GOOD.replace("3", "9" * 5000), "no complete JSON object"),
        (GOOD.replace('"line"', '"line": 1, "line"'), "no complete JSON object"),
        (GOOD.replace("'", '"').replace('"', "'"), "no complete JSON object"),
        (GOOD.replace("]", ",]"), "findings"),
        ("{}", "findings"),
        ('{"findings": {}}', "findings"),
        ('{"findings": "none"}', "findings"),
        ('{"findings": [], "__class__": "os"}', "(other)"),
        (findings({**ONE, "severity": "blocker"}), "severity"),
        (findings({**ONE, "category": "vibes"}), "category"),
        (findings({**ONE, "approve": True}), "(other)"),
        (findings({**ONE, "side": "both"}), "side"),
        (findings({k: v for k, v in ONE.items() if k != "quote"}), "quote"),
        (findings({**ONE, "title": "\ud800"}), "title"),
        ("{" * 100_000, "no complete JSON object"),
        ('{"a":' * 100_000, "no complete JSON object"),
        ("[" * 100_000, "no complete JSON object"),
        ("x" * (MAX_CHARACTERS + 1), "more than"),
    ],
)
def test_anything_else_is_refused_with_reasons_for_the_repair(text: str, problem: str) -> None:
    with pytest.raises(InvalidAnswer) as caught:
        parse_answer(text)
    assert problem in str(caught.value)
    assert len(str(caught.value)) < 3_000


def test_the_reasons_do_not_repeat_the_models_text() -> None:
    with pytest.raises(InvalidAnswer) as caught:
        parse_answer(findings({**ONE, "line": "canary", "canary": "canary"}))
    assert "canary" not in str(caught.value)


def test_valid_findings_are_saved_from_a_cut_answer() -> None:
    two = findings(ONE, proposal("b.py", 4, "y = 2"))
    assert [f.path for f in salvage(two[:-20])] == ["a.py"]
    assert [f.path for f in salvage(two[:-1])] == ["a.py", "b.py"]


def test_valid_findings_are_saved_from_among_invalid_ones() -> None:
    text = findings(ONE, {"path": 1}, {**ONE, "severity": "??"}, proposal("b.py", 4, "y"))
    assert [f.path for f in salvage(text)] == ["a.py", "b.py"]
    assert [f.path for f in salvage(GOOD + "\n" + findings(proposal("c.py", 1, "z")))] == [
        "a.py",
        "c.py",
    ]


def test_nothing_can_be_saved_from_nonsense() -> None:
    assert salvage("") == []
    assert salvage('{"findings": 3}{"a": {"b": []}}') == []


@given(st.integers(0, len(GOOD)), st.text(max_size=20))
def test_no_damage_makes_it_crash(position: int, noise: str) -> None:
    text = GOOD[:position] + noise + GOOD[position:]
    try:
        whole = parse_answer(text).findings
    except InvalidAnswer:
        assert len(salvage(text)) <= 1
    else:
        assert len(whole) == 1


def test_the_schema_needs_nothing_that_strict_providers_refuse() -> None:
    text = json.dumps(OUTPUT.json_schema)
    for word in ("minimum", "maxLength", "pattern", "default", "oneOf", "format"):
        assert f'"{word}"' not in text
    finding = OUTPUT.json_schema["$defs"]["ProposedFinding"]
    assert finding["additionalProperties"] is False
    assert sorted(finding["required"]) == sorted(finding["properties"])
