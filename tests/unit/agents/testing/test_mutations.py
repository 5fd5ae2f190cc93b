"""Mutants are small, deterministic, on the lines that were asked for, and they parse."""

import ast
import difflib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.agents.testing.mutations import mutants

PYTHON = '''\
"""Words of a module."""
def total(prices, discount=0):
    """Words == of a function."""
    if discount > 100 and prices:
        raise ValueError(f"{discount} is > too much")
    rate = "é" + str(100 - discount)
    flag = True
    return sum(prices) * discount
'''
SCRIPT = """\
import { a } from './a.js';
// if (x === 1) is a comment
export function total(prices, max = 3) {
  if (prices.length === 0 && max > 1) { return 'a === b'; }
  const é = `x === ${1}`; const b = é + prices;
  return b;
}
"""


def changed(before: str, after: str) -> set[int]:
    matcher = difflib.SequenceMatcher(None, before.split("\n"), after.split("\n"))
    return {
        n + 1 for tag, a, b, _, _ in matcher.get_opcodes() if tag != "equal" for n in range(a, b)
    }


def whats(path: str, text: str, *lines: int) -> set[str]:
    return {mutant.what for mutant in mutants(path, text, frozenset(lines), limit=50)}


def test_python_is_mutated_along_its_syntax() -> None:
    assert whats("a.py", PYTHON, 4) == {"negated", "`and` became `or`", "constant changed"}
    assert whats("a.py", PYTHON, 5) == {"left out"}
    assert "`+` became `-`" in whats("a.py", PYTHON, 6)
    assert whats("a.py", PYTHON, 7) == {"constant changed", "left out"}
    assert whats("a.py", PYTHON, 8) == {"returns nothing", "`*` became `//`"}
    assert whats("a.py", PYTHON, 1, 3) == set()


def test_every_python_mutant_parses_and_changes_the_line_it_names() -> None:
    found = mutants("a.py", PYTHON, frozenset(range(1, 9)), limit=50)
    assert len(found) >= 8
    for mutant in found:
        ast.parse(mutant.text)
        assert changed(PYTHON, mutant.text) == {mutant.line}


def test_scripts_are_mutated_outside_of_strings_comments_and_imports() -> None:
    found = mutants("a.ts", SCRIPT, frozenset(range(1, 8)), limit=50)
    assert {mutant.line for mutant in found} == {3, 4, 5, 6}
    for mutant in found:
        assert "'a === b'" in mutant.text
        assert "`x === ${1}`" in mutant.text
        assert changed(SCRIPT, mutant.text) == {mutant.line}
    assert {"`===` became `!==`", "`&&` became `||`", "`>` became `<=`"} <= {m.what for m in found}


def test_go_returns_are_left_alone_because_they_are_typed() -> None:
    text = "package a\nfunc f(a int) int {\n\treturn a + 1\n}\n"
    assert whats("a.go", text, 3) == {"`+` became `-`", "constant changed"}


def test_mutants_are_spread_over_the_lines_and_limited() -> None:
    found = mutants("a.py", PYTHON, frozenset(range(1, 9)), limit=4)
    assert len(found) == 4
    assert len({mutant.line for mutant in found}) == 4
    assert found == mutants("a.py", PYTHON, frozenset(range(1, 9)), limit=4)


@pytest.mark.parametrize("path", ["a.rs", "a.java", "Makefile"])
def test_other_languages_have_no_mutants(path: str) -> None:
    assert mutants(path, PYTHON, frozenset({4})) == ()


def test_text_that_does_not_parse_has_no_mutants() -> None:
    assert mutants("a.py", "def (:\n", frozenset({1})) == ()


@given(text=st.text(max_size=200), lines=st.frozensets(st.integers(1, 10)))
def test_any_text_is_mutated_or_left_and_never_crashes(text: str, lines: frozenset[int]) -> None:
    text = text.encode("utf-8", "replace").decode()
    for path in ("a.py", "a.ts", "a.go"):
        assert all(mutant.text != text for mutant in mutants(path, text, lines))
