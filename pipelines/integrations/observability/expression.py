"""The part of PromQL that can be answered from scrapes, as a tree.

What is not in the grammar is refused by name, never answered wrongly. Regular expressions are only
taken in a form whose matching takes polynomial time.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NoReturn

from pipelines.errors import UserError

MAX_QUERY = 4096
_MAX_DEPTH = 30
_TOKEN = re.compile(
    r"""\s*(?:
      (?P<string>"(?:[^"\\\n]|\\.)*")
    | (?P<duration>\[\s*(?:\d{1,9}(?:ms|[smhdw]))+\s*\])
    | (?P<number>(?:\d{1,30}(?:\.\d{0,30})?|\.\d{1,30})(?:[eE][+-]?\d{1,3})?)
    | (?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*)
    | (?P<sign>=~|!~|!=|=|[-+*/(){},])
    )""",
    re.VERBOSE | re.ASCII,
)
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0}
_PLAIN_PATTERN = re.compile(r"(?:[\w:/| -]|\\[.]|\.(?![*+?]))*(?:\.[*+](?:[\w:/| -]|\\[.])*){0,2}")
_ESCAPE = re.compile(r'\\(?:(["\\nt])|U([0-9a-f]{8}))')

MatchOp = Literal["=", "!=", "=~", "!~"]
ArithmeticOp = Literal["+", "-", "*", "/", "or"]
RangeFunction = Literal["rate", "increase", "changes"]
AggregateOp = Literal["sum", "avg", "min", "max", "count"]


class NeedsPrometheus(UserError):
    """The query is beyond what can be answered from scrapes."""

    def __init__(self, what: str) -> None:
        super().__init__(f"needs Prometheus: {what} cannot be answered from a metrics page")


@dataclass(frozen=True, slots=True)
class Number:
    """A constant."""

    value: float


@dataclass(frozen=True, slots=True)
class Matcher:
    """A condition on one label; a label that is missing is empty."""

    label: str
    op: MatchOp
    value: str

    def accepts(self, value: str) -> bool:
        """Whether a label's value fulfils it."""
        if self.op in ("=", "!="):
            return (value == self.value) == (self.op == "=")
        return bool(re.fullmatch(self.value, value[:512])) == (self.op == "=~")


@dataclass(frozen=True, slots=True)
class Selector:
    """Series of one name whose labels fulfil all matchers."""

    name: str
    matchers: tuple[Matcher, ...] = ()


@dataclass(frozen=True, slots=True)
class OverRange:
    """A function of what each series did over the seconds before."""

    function: RangeFunction
    selector: Selector
    seconds: float


@dataclass(frozen=True, slots=True)
class Quantile:
    """``histogram_quantile``."""

    q: "Expression"
    buckets: "Expression"


@dataclass(frozen=True, slots=True)
class Aggregate:
    """All series as one, or one for each combination of the labels in ``by``."""

    op: AggregateOp
    by: tuple[str, ...]
    inner: "Expression"


@dataclass(frozen=True, slots=True)
class Binary:
    """Arithmetic between numbers and series with equal labels, or a union."""

    op: ArithmeticOp
    left: "Expression"
    right: "Expression"


Expression = Number | Selector | OverRange | Quantile | Aggregate | Binary

_RANGE_FUNCTIONS: dict[str, RangeFunction] = {
    "rate": "rate",
    "increase": "increase",
    "changes": "changes",
}
_AGGREGATES: dict[str, AggregateOp] = {
    "sum": "sum",
    "avg": "avg",
    "min": "min",
    "max": "max",
    "count": "count",
}
_LEVELS: tuple[Mapping[str, ArithmeticOp], ...] = (
    {"or": "or"},
    {"+": "+", "-": "-"},
    {"*": "*", "/": "/"},
)
_MATCH_OPS: Mapping[str, MatchOp] = {"=": "=", "!=": "!=", "=~": "=~", "!~": "!~"}
_RESERVED = {"and", "unless", "bool", "on", "ignoring", "without", "offset", "group_left", "by"}


def parse(query: str) -> Expression:
    """Return the tree of a query; raises NeedsPrometheus."""
    if len(query) > MAX_QUERY:
        raise NeedsPrometheus("so long a query")
    parser = _Parser(query)
    tree = parser.expression()
    parser.expect_end()
    return tree


def names(tree: Expression) -> set[str]:
    """Return the names of all metrics that a tree reads."""
    match tree:
        case Selector():
            return {tree.name}
        case OverRange():
            return {tree.selector.name}
        case Quantile():
            return names(tree.q) | names(tree.buckets)
        case Aggregate():
            return names(tree.inner)
        case Binary():
            return names(tree.left) | names(tree.right)
        case Number():
            return set()


def reach(tree: Expression) -> float:
    """Return how many seconds before a moment its value depends on."""
    match tree:
        case OverRange():
            return tree.seconds
        case Quantile():
            return max(reach(tree.q), reach(tree.buckets))
        case Aggregate():
            return reach(tree.inner)
        case Binary():
            return max(reach(tree.left), reach(tree.right))
        case Number() | Selector():
            return 0.0


class _Parser:
    def __init__(self, query: str) -> None:
        self._query = query
        self._position = 0
        self._depth = 0
        self._kind = self._text = ""
        self._advance()

    def expression(self, level: int = 0) -> Expression:
        """Read operators of this level and above; all of them associate to the left."""
        if level == len(_LEVELS):
            return self._unary()
        self._depth += 1
        if self._depth > _MAX_DEPTH * len(_LEVELS):
            raise NeedsPrometheus("so deep a query")
        left = self.expression(level + 1)
        while self._text in _LEVELS[level]:
            op = _LEVELS[level][self._text]
            self._advance()
            left = Binary(op, left, self.expression(level + 1))
        self._depth -= 1
        return left

    def expect_end(self) -> None:
        if self._kind:
            self._refuse()

    def _unary(self) -> Expression:
        if self._skip("-"):
            return Binary("-", Number(0.0), self._primary())
        return self._primary()

    def _primary(self) -> Expression:
        if self._kind == "number":
            return Number(float(self._take("number")))
        if self._skip("("):
            inner = self.expression()
            self._sign(")")
            return inner
        name = self._take("name")
        if name in _RANGE_FUNCTIONS and self._text == "(":
            return self._over_range(_RANGE_FUNCTIONS[name])
        if name == "histogram_quantile" and self._text == "(":
            return self._quantile()
        if name in _AGGREGATES and self._text in ("(", "by"):
            return self._aggregate(_AGGREGATES[name])
        if self._text == "(" or name in _RESERVED:
            raise NeedsPrometheus(f"`{name[:40]}`")
        return self._selector(name)

    def _over_range(self, function: RangeFunction) -> Expression:
        self._sign("(")
        selector = self._selector(self._take("name"))
        seconds = _seconds(self._take("duration"))
        self._sign(")")
        return OverRange(function, selector, seconds)

    def _quantile(self) -> Expression:
        self._sign("(")
        q = self.expression()
        self._sign(",")
        buckets = self.expression()
        self._sign(")")
        return Quantile(q, buckets)

    def _aggregate(self, op: AggregateOp) -> Expression:
        by = self._labels() if self._text == "by" else None
        self._sign("(")
        inner = self.expression()
        self._sign(")")
        if by is None and self._text == "by":
            by = self._labels()
        return Aggregate(op, by or (), inner)

    def _labels(self) -> tuple[str, ...]:
        self._advance()
        self._sign("(")
        labels: list[str] = []
        while self._kind == "name":
            labels.append(self._take("name"))
            self._skip(",")
        self._sign(")")
        return tuple(labels)

    def _selector(self, name: str) -> Selector:
        if not self._skip("{"):
            return Selector(name)
        found: list[Matcher] = []
        while self._kind == "name":
            found.append(self._matcher())
            self._skip(",")
        self._sign("}")
        return Selector(name, tuple(found))

    def _matcher(self) -> Matcher:
        label = self._take("name")
        op = _MATCH_OPS.get(self._text)
        if op is None:
            self._refuse()
        self._advance()
        value = _unescape(self._take("string")[1:-1])
        if op in ("=~", "!~") and not _PLAIN_PATTERN.fullmatch(value):
            raise NeedsPrometheus("so elaborate a regular expression")
        return Matcher(label, op, value)

    def _skip(self, sign: str) -> bool:
        """Go past a sign if it stands here."""
        found = self._text == sign and self._kind == "sign"
        if found:
            self._advance()
        return found

    def _sign(self, sign: str) -> None:
        if not self._skip(sign):
            self._refuse()

    def _take(self, kind: str) -> str:
        if self._kind != kind:
            self._refuse()
        text = self._text
        self._advance()
        return text

    def _advance(self) -> None:
        match = _TOKEN.match(self._query, self._position)
        if match is None:
            rest = self._query[self._position :].strip()
            self._kind, self._text = ("unknown", rest[:20]) if rest else ("", "")
            return
        self._position = match.end()
        self._kind = match.lastgroup or ""
        self._text = match[self._kind]

    def _refuse(self) -> NoReturn:
        raise NeedsPrometheus(f"`{self._text[:40]}`" if self._text else "an unfinished query")


def _seconds(text: str) -> float:
    parts = re.findall(r"(\d+)(ms|[smhdw])", text)
    seconds = sum(int(number) * _UNITS[unit] for number, unit in parts)
    if seconds <= 0:
        raise NeedsPrometheus("an empty span")
    return seconds


def _unescape(text: str) -> str:
    def one(match: re.Match[str]) -> str:
        if match[1]:
            return {"n": "\n", "t": "\t"}.get(match[1], match[1])
        return chr(min(int(match[2], 16), 0x10FFFF))

    return _ESCAPE.sub(one, text)
