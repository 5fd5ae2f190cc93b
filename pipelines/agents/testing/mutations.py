"""Small deterministic defects in changed lines; a test that means something notices one."""

import ast
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Set
from dataclasses import dataclass

from pipelines.agents.syntax import parses_as_python

MAX_MUTANTS = 8
_MAX_TEXT = 300_000
_SWAPS: dict[type[ast.operator], tuple[str, str]] = {
    ast.Add: ("+", "-"),
    ast.Sub: ("-", "+"),
    ast.Mult: ("*", "//"),
    ast.Div: ("/", "*"),
    ast.FloorDiv: ("//", "*"),
    ast.Mod: ("%", "*"),
}
# Longest first: each place is changed by the first that fits.
_TEXTUAL: tuple[tuple[str, str], ...] = (
    (r"===", "!=="),
    (r"!==", "==="),
    (r"==", "!="),
    (r"!=", "=="),
    (r"<=", ">"),
    (r"(?<![=-])>=", "<"),
    (r"(?<= )<(?= )", ">="),
    (r"(?<= )>(?= )", "<="),
    (r"&&", "||"),
    (r"\|\|", "&&"),
    (r"(?<= )\+(?= )", "-"),
    (r"(?<= )-(?= )", "+"),
    (r"(?<= )\*(?= )", "/"),
    (r"(?<= )/(?= )", "*"),
    (r"\btrue\b", "false"),
    (r"\bfalse\b", "true"),
)
_TOKEN = re.compile("|".join(f"({pattern})" for pattern, _ in _TEXTUAL))
_NUMBER = re.compile(r"(?<![\w.])\d{1,9}(?![\w.])")
_RETURN = re.compile(r"\breturn\s+([^;\n]+?)(;?)\s*$")
_LITERALS = re.compile(
    r"//[^\n]*|/\*.*?(?:\*/|\Z)|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'|`(?:\\.|[^`\\])*`",
    re.DOTALL,
)
_UNTOUCHED = re.compile(r"^\s*(?:import\b|export\s+\*|package\b|from\b|type\b|interface\b)")


@dataclass(frozen=True, slots=True)
class Mutant:
    """A file with one defect on one line; ``what`` is a clause."""

    line: int
    what: str
    text: str


@dataclass(frozen=True, slots=True)
class _Patch:
    """Replace the bytes from start to end."""

    line: int
    start: int
    end: int
    by: str
    what: str


def mutants(path: str, text: str, lines: Set[int], limit: int = MAX_MUTANTS) -> tuple[Mutant, ...]:
    """Return at most so many mutants of these lines, spread over them; same input, same mutants.

    Python is changed along its syntax tree, JavaScript, TypeScript and Go as text; of other
    languages there are none.
    """
    if len(text) > _MAX_TEXT or not lines:
        return ()
    suffix = path.rsplit(".", 1)[-1]
    if suffix == "py":
        return _take(_python(text, lines), text, limit, check=True)
    if suffix in ("js", "jsx", "ts", "tsx", "mjs", "cjs", "mts", "cts", "go"):
        return _take(_textual(text, lines, go=suffix == "go"), text, limit, check=False)
    return ()


def _take(patches: Iterable[_Patch], text: str, limit: int, *, check: bool) -> tuple[Mutant, ...]:
    """Apply one patch of each line in turn until there are enough; ``check`` wants it to parse."""
    by_line: dict[int, list[_Patch]] = defaultdict(list)
    for patch in patches:
        by_line[patch.line].append(patch)
    rounds = max(map(len, by_line.values()), default=0)
    data, found = text.encode(), dict[str, Mutant]()
    for turn in range(rounds):
        for line in sorted(by_line):
            if turn >= len(by_line[line]):
                continue
            patch = by_line[line][turn]
            changed = (data[: patch.start] + patch.by.encode() + data[patch.end :]).decode()
            if changed != text and (not check or parses_as_python(changed)):
                found.setdefault(changed, Mutant(patch.line, patch.what, changed))
            if len(found) == limit:
                return tuple(found.values())
    return tuple(found.values())


class _Offsets:
    """Byte offsets of the places of syntax-tree nodes."""

    def __init__(self, text: str) -> None:
        self.data = text.encode()
        self._starts = [0]
        for line in self.data.splitlines(keepends=True):
            self._starts.append(self._starts[-1] + len(line))

    def span(self, node: ast.expr | ast.stmt) -> tuple[int, int]:
        """Return where a node starts and ends."""
        end_line, end_column = node.end_lineno or node.lineno, node.end_col_offset or 0
        start = self._starts[node.lineno - 1] + node.col_offset
        return start, self._starts[end_line - 1] + end_column

    def source(self, node: ast.expr | ast.stmt) -> str:
        """Return a node's own text."""
        start, end = self.span(node)
        return self.data[start:end].decode("utf-8", "replace")


def _python(text: str, lines: Set[int]) -> Iterator[_Patch]:
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return
    offsets = _Offsets(text)
    inside_strings = {
        id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr)
        for part in ast.walk(node)
    }  # fmt: skip
    documentation = {
        id(part) for node in ast.walk(tree) if isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant) for part in (node, node.value)
    }  # fmt: skip
    for node in ast.walk(tree):
        if not isinstance(node, ast.expr | ast.stmt) or node.lineno not in lines:
            continue
        if id(node) not in inside_strings and id(node) not in documentation:
            yield from _of_node(node, offsets)


def _of_node(node: ast.expr | ast.stmt, offsets: _Offsets) -> Iterator[_Patch]:
    start, end = offsets.span(node)
    match node:
        case ast.Compare():
            yield _Patch(node.lineno, start, end, f"(not ({offsets.source(node)}))", "negated")
        case ast.If(test=test) | ast.While(test=test) if not isinstance(test, ast.Compare):
            yield _negated(node.lineno, test, offsets)
        case ast.IfExp(test=test) if not isinstance(test, ast.Compare):
            yield _negated(node.lineno, test, offsets)
        case ast.BoolOp(values=[first, second, *_]):
            words = ("and", "or") if isinstance(node.op, ast.And) else ("or", "and")
            yield from _swapped(node.lineno, first, second, words, offsets)
        case ast.BinOp() if type(node.op) in _SWAPS:
            yield from _swapped(node.lineno, node.left, node.right, _SWAPS[type(node.op)], offsets)
        case ast.Return(value=ast.expr() as value) if offsets.source(value) != "None":
            yield _Patch(node.lineno, *offsets.span(value), "None", "returns nothing")
        case ast.Constant():
            yield from _constant(node, start, end)
        case ast.Assign() | ast.AugAssign() | ast.Raise() | ast.Expr():
            yield _Patch(node.lineno, start, end, "pass", "left out")
        case _:
            return


def _negated(line: int, test: ast.expr, offsets: _Offsets) -> _Patch:
    return _Patch(line, *offsets.span(test), f"(not ({offsets.source(test)}))", "negated")


def _swapped(
    line: int, left: ast.expr, right: ast.expr, words: tuple[str, str], offsets: _Offsets
) -> Iterator[_Patch]:
    """Replace the operator that stands between two operands, where it is easily told."""
    old, new = words
    begin, stop = offsets.span(left)[1], offsets.span(right)[0]
    between = offsets.data[begin:stop].decode("utf-8", "replace")
    if "#" not in between and between.count(old) == 1:
        at = begin + len(between[: between.index(old)].encode())
        yield _Patch(line, at, at + len(old), new, f"`{old}` became `{new}`")


def _constant(node: ast.Constant, start: int, end: int) -> Iterator[_Patch]:
    value = node.value
    if isinstance(value, bool):
        yield _Patch(node.lineno, start, end, str(not value), "constant changed")
    elif isinstance(value, int | float):
        yield _Patch(node.lineno, start, end, repr(value + 1), "constant changed")
    elif isinstance(value, str) and value:
        yield _Patch(node.lineno, start, end, "''", "constant emptied")


def _textual(text: str, lines: Set[int], *, go: bool) -> Iterator[_Patch]:
    """Change operators, numbers and returns outside of strings and comments."""
    masked = _LITERALS.sub(lambda match: re.sub(r"[^\n]", " ", match.group()), text)
    offset = 0
    shown = text.split("\n")
    for number, line in enumerate(masked.split("\n"), 1):
        if number in lines and not _UNTOUCHED.match(line):
            for start, end, by, what in _of_line(line, go=go):
                # Masking keeps the number of characters; patches count bytes.
                before = offset + len(shown[number - 1][:start].encode())
                size = len(shown[number - 1][start:end].encode())
                yield _Patch(number, before, before + size, by, what)
        offset += len(shown[number - 1].encode()) + 1


def _of_line(line: str, *, go: bool) -> Iterator[tuple[int, int, str, str]]:
    for match in _TOKEN.finditer(line):
        by = _TEXTUAL[(match.lastindex or 1) - 1][1]
        yield match.start(), match.end(), by, f"`{match.group()}` became `{by}`"
    for match in _NUMBER.finditer(line):
        yield match.start(), match.end(), str(int(match.group()) + 1), "constant changed"
    returned = None if go else _RETURN.search(line)
    if returned and returned[1].strip() not in ("undefined", "null", "(", "{", "["):
        yield returned.start(1), returned.end(1), "undefined", "returns nothing"
