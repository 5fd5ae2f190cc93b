"""Which function or class a line belongs to."""

import ast
import re
from collections.abc import Sequence
from dataclasses import dataclass

_DEFINITION = re.compile(
    r"\s*(?:(?:export|default|public|private|protected|internal|static|final|abstract|async"
    r"|override|virtual|inline|pub(?:\([a-z]+\))?|unsafe|extern)\s+)*"
    r"(?:def|func|fun|fn|function|class|struct|interface|trait|impl|enum|module|namespace|sub"
    r"|describe|it|test|resource|job)\b"
)
_CALLABLE = re.compile(r"\s*[\w$][^;=]*\([^;]*\{\s*$")
_CONTROL = re.compile(r"\s*[}\s]*(?:if|else|for|foreach|while|switch|match|catch|try|do|return)\b")
_CLOSERS = ("}", ")", "]", "end")
_REACH = 400
"""How many lines up and down the heuristic looks."""


@dataclass(frozen=True, slots=True)
class Scope:
    """A definition's lines, 1-based and inclusive, and a name that is stable while it moves."""

    start: int
    end: int
    name: str


class Scopes:
    """The definitions of one file: Python by its syntax tree, anything else by indentation."""

    def __init__(self, path: str, lines: Sequence[str]) -> None:
        self._lines = lines
        python = path.endswith((".py", ".pyi"))
        self._tree = _python_scopes(lines) if python else None
        self.broken = python and self._tree is None
        """Whether it should have a syntax tree and has none, so that definitions are guessed."""

    def around(self, line: int) -> Scope | None:
        """Return the innermost definition that holds the line, or None."""
        if self._tree is None:
            return _scope_by_indentation(self._lines, line)
        holding = [scope for scope in self._tree if scope.start <= line <= scope.end]
        return min(holding, key=lambda scope: scope.end - scope.start, default=None)


def _python_scopes(lines: Sequence[str]) -> list[Scope] | None:
    """Return every definition, or None if the text is not Python that this version parses."""
    try:
        tree = ast.parse("\n".join(lines))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    scopes: list[Scope] = []
    pending: list[tuple[ast.AST, str]] = [(tree, "")]
    while pending:
        node, prefix = pending.pop()
        for child in ast.iter_child_nodes(node):
            name = prefix
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                name = f"{prefix}.{child.name}".lstrip(".")
                first = min([child.lineno, *(d.lineno for d in child.decorator_list)])
                scopes.append(Scope(first, child.end_lineno or child.lineno, name))
            pending.append((child, name))
    return scopes


def _scope_by_indentation(lines: Sequence[str], line: int) -> Scope | None:
    header = _header_above(lines, line)
    if header is None:
        return None
    end = _end_below(lines, header)
    if end < line:
        return None
    return Scope(header, end, " ".join(lines[header - 1].split())[:120])


def _header_above(lines: Sequence[str], line: int) -> int | None:
    """Return the nearest less indented line that opens a definition, the line itself included."""
    if not 1 <= line <= len(lines):
        return None
    limit = _indent(lines[line - 1]) + 1 if lines[line - 1].strip() else 1000
    for number in range(line, max(0, line - _REACH), -1):
        text = lines[number - 1]
        if not text.strip() or _indent(text) >= limit or text.strip().startswith(_CLOSERS):
            continue
        if _opens(text):
            return number
        limit = _indent(text) + (1 if number == line else 0)
    return None


def _end_below(lines: Sequence[str], header: int) -> int:
    depth = _indent(lines[header - 1])
    last = header
    for number in range(header + 1, min(len(lines), header + _REACH) + 1):
        text = lines[number - 1].strip()
        if text and _indent(lines[number - 1]) <= depth:
            if text.startswith(_CLOSERS):
                return number
            if text != "{":
                return last
        if text:
            last = number
    return last


def _opens(text: str) -> bool:
    if _CONTROL.match(text):
        return False
    return bool(_DEFINITION.match(text) or _CALLABLE.match(text))


def _indent(text: str) -> int:
    expanded = text.expandtabs(4)
    return len(expanded) - len(expanded.lstrip())
