"""The table of what is promised: complete, and every proof that it names is there."""

import ast
import re
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
TABLE = ROOT / "docs" / "reliability.md"
_ROW = re.compile(r"^\| (R\d\d) \|(.*)\|$", re.MULTILINE)
_PROOF = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")


@cache
def found_in(path: Path) -> frozenset[str]:
    tree = ast.parse(path.read_text())
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    return frozenset(node.name for node in tree.body if isinstance(node, functions))


def test_each_row_is_there_once() -> None:
    rows = [name for name, _ in _ROW.findall(TABLE.read_text())]
    assert rows == [f"R{number:02}" for number in range(1, 35)]


def test_each_row_names_a_test_that_exists() -> None:
    missing: list[str] = []
    for row, text in _ROW.findall(TABLE.read_text()):
        proofs = _PROOF.findall(text)
        assert proofs, f"{row} names no test"
        for path, name in proofs:
            if not (ROOT / path).is_file() or name not in found_in(ROOT / path):
                missing.append(f"{row}: {path}::{name}")
    assert not missing


def test_nothing_else_is_named_in_a_form_that_is_not_looked_up() -> None:
    text = TABLE.read_text()
    assert len(_PROOF.findall(text)) == text.count("::")
