"""Edits that leave a file of a known language unparsable: told at once, and never committed."""

import pytest

from pipelines.agents.syntax import MAX_CHARACTERS, fault, parses_as_python
from pipelines.model import Conclusion
from tests.support.models import ScriptedModel
from tests.support.workplace import NO_SANDBOX
from tests.unit.agents.coding.material import (
    FILES,
    FIX,
    FIXED,
    Shop,
    answer,
    code,
    commit_of,
    create,
    edit,
    opened,
    passes_if,
    task,
)

BREAK = edit("def mean(values):", "def mean(values:")
MEND = edit("def mean(values:", "def mean(values):")


def untested() -> Shop:
    place = Shop()
    place.info = NO_SANDBOX
    return place


@pytest.mark.parametrize(
    ("path", "text", "told"),
    [
        ("a.py", "def f(:\n", "no Python that can be parsed (line 1)"),
        ("a.pyi", "x: int\n)\n", "no Python that can be parsed (line 2)"),
        ("a.json", '{"a": 1,\n}', "no JSON that can be parsed (line 2)"),
        ("a.toml", "[a\n", "no TOML that can be parsed"),
        ("a.yml", "a: [1\nb: 2\n", "no YAML that can be parsed (line 2)"),
        ("a.json", "[" * 200_000, "no JSON that can be parsed"),
        ("a.py", "x = 1\0\n", "no Python that can be parsed"),
    ],
)
def test_a_text_that_cannot_be_parsed_is_told_with_its_line(
    path: str, text: str, told: str
) -> None:
    assert told in fault(path, text)


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("a.py", "import re\nre.match('\\d', '1')\n"),
        ("a.json", '{"a": 1}'),
        ("a.toml", "a = 1\n"),
        ("a.yaml", "a: &x [1]\nb: *x\nc: !odd 1\n---\nd: 2\n"),
        ("chart/templates/a.yaml", "a: {{ .Values.a }}\n  b: [\n"),
        ("tsconfig.json", "{ // why\n}"),
        ("a.js", "function ("),
        ("Makefile", "\t)"),
        ("a.py", "(" * (MAX_CHARACTERS + 1)),
    ],
)
def test_what_can_be_parsed_or_is_not_judged_is_fine(path: str, text: str) -> None:
    assert fault(path, text) == ""


def test_python_is_told_from_what_is_none() -> None:
    assert parses_as_python("x = 1")
    assert not parses_as_python("x = ")


async def test_an_edit_that_breaks_a_file_is_told_at_once() -> None:
    model = ScriptedModel(BREAK, MEND, FIX, answer())
    result = await code(model)
    (told,) = model.requests[1].messages[-1].results
    assert "mend this file: it is no Python that can be parsed (line 1)" in told.content
    assert FIXED in (opened(result).commit.edits[0].content or "")


async def test_a_file_that_stays_broken_goes_back_to_the_model_and_is_committed_mended() -> None:
    model = ScriptedModel(BREAK, answer(), MEND, FIX, answer())
    result = await code(model, place=untested())
    assert "Some files cannot be parsed." in model.requests[2].messages[-1].text
    assert "shop/stats.py: it is no Python" in model.requests[2].messages[-1].text
    assert FIXED in (commit_of(result.effects[0]).edits[0].content or "")


async def test_a_file_that_is_never_mended_is_not_committed_and_that_is_said() -> None:
    model = ScriptedModel(BREAK, *[answer()] * 2)
    result = await code(model, place=untested())
    assert (result.effects, result.conclusion) == ((), Conclusion.NEUTRAL)
    assert result.title.startswith("Could not, because files cannot be parsed after the edits")
    assert "(shop/stats.py: it is no Python" in result.title


async def test_a_model_that_breaks_it_otherwise_each_time_is_not_asked_for_ever() -> None:
    again = [
        step
        for number in range(9)
        for step in (create(f"shop/new_{number}.py", "def f(:\n"), answer())
    ]
    model = ScriptedModel(*again)
    result = await code(model, place=untested())
    assert result.effects == ()
    assert len(model.requests) == 8


async def test_a_file_that_was_broken_before_may_stay_so() -> None:
    broken = {**FILES, "shop/stats.py": "def mean(values:\n    return 1\n"}
    place = Shop(broken)
    place.info = NO_SANDBOX
    result = await code((edit("return 1", "return 2"), answer()), place=place)
    assert len(result.effects) == 1


async def test_tests_that_pass_know_a_newer_language() -> None:
    place = Shop()
    place.on_run = passes_if(lambda edits: True)
    newer = create("shop/newer.py", "type Number = int\n")
    result = await code((newer, answer()), task(), place)
    assert result.conclusion is Conclusion.SUCCESS
    assert [each.path for each in opened(result).commit.edits] == ["shop/newer.py"]
