"""JUnit XML, as pytest, vitest, node and Maven write it; document types are refused."""

from dataclasses import dataclass, field
from xml.parsers import expat

from pipelines.agents.testing.reports.claims import (
    MAX_CASES,
    MAX_CHARACTERS,
    CaseOutcome,
    Claims,
    UnreadableReport,
    case,
    claims_of,
    number,
)
from pipelines.model import CaseResult

MAX_DEPTH = 64
_MAX_SEEN = 200_000
_MAX_TEXT = 20_000
_OUTCOMES: dict[str, CaseOutcome] = {
    "failure": "failed",
    "error": "error",
    "skipped": "skipped",
}


def read_junit(text: str) -> Claims:
    """Return the report's claims; UnreadableReport if it is not JUnit XML or beyond limits."""
    if len(text) > MAX_CHARACTERS:
        raise UnreadableReport("it is larger than 10 MiB")
    reader = _Reader()
    reader.parse(text)
    if not reader.is_junit:
        raise UnreadableReport("it is not a JUnit report")
    return claims_of(reader.cases, miscounted=reader.miscounted)


@dataclass(slots=True)
class _Suite:
    """A suite that is open: what it says of itself and how many cases it was seen to have."""

    declared: str | None
    seen: int = 0
    nested: bool = False


@dataclass(slots=True)
class _Open:
    """A case that is open."""

    attributes: dict[str, str]
    outcome: CaseOutcome = "passed"
    message: list[str] = field(default_factory=list[str])
    size: int = 0


class _Reader:
    def __init__(self) -> None:
        self.cases: list[CaseResult] = []
        self.is_junit = False
        self.miscounted = False
        self._depth = 0
        self._seen = 0
        self._suites: list[_Suite] = []
        self._case: _Open | None = None
        self._inside = False

    def parse(self, text: str) -> None:
        """Read the whole text."""
        parser = expat.ParserCreate("utf-8")
        parser.StartDoctypeDeclHandler = _refuse_doctype
        parser.EntityDeclHandler = _refuse_doctype
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._text
        try:
            parser.Parse(text.encode("utf-8", "replace"), True)
        except expat.ExpatError as error:
            raise UnreadableReport(f"it is not well-formed XML (line {error.lineno})") from error

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise UnreadableReport(f"it is nested more than {MAX_DEPTH} deep")
        if tag in ("testsuite", "testsuites"):
            self._open_suite(tag, attributes)
        elif tag == "testcase":
            self._open_case(attributes)
        elif self._case and tag in _OUTCOMES:
            self._case.outcome = _OUTCOMES[tag]
            self._inside = True
            self._add(attributes.get("message", ""))

    def _open_suite(self, tag: str, attributes: dict[str, str]) -> None:
        self.is_junit = True
        if self._suites:
            self._suites[-1].nested = True
        declared = attributes.get("tests") if tag == "testsuite" else None
        self._suites.append(_Suite(declared))

    def _open_case(self, attributes: dict[str, str]) -> None:
        self._seen += 1
        if self._seen > _MAX_SEEN:
            raise UnreadableReport(f"it has more than {_MAX_SEEN:,} cases")
        if self._suites:
            self._suites[-1].seen += 1
        self._case = _Open(attributes)

    def _text(self, text: str) -> None:
        if self._inside:
            self._add(text)

    def _add(self, text: str) -> None:
        """Keep the text up to a limit, beyond which its newest part replaces what came before."""
        if self._case is None or not text:
            return
        self._case.message.append(text)
        self._case.size += len(text)
        while self._case.size > _MAX_TEXT and len(self._case.message) > 2:
            self._case.size -= len(self._case.message.pop(1))

    def _end(self, tag: str) -> None:
        self._depth -= 1
        if tag in _OUTCOMES:
            if self._case:
                self._add("\n")
            self._inside = False
        elif tag == "testcase" and self._case:
            if len(self.cases) < 2 * MAX_CASES:
                self.cases.append(_result(self._case))
            self._case = None
        elif tag in ("testsuite", "testsuites") and self._suites:
            suite = self._suites.pop()
            if suite.declared is not None and not suite.nested:
                self.miscounted |= number(suite.declared) != suite.seen


def _result(opened: _Open) -> CaseResult:
    attributes = opened.attributes
    group = attributes.get("classname", "")
    name = attributes.get("name", "")
    line = attributes.get("line")
    return case(
        f"{group}::{name}" if group else name,
        opened.outcome,
        seconds=number(attributes.get("time")),
        message="".join(opened.message).strip(),
        path=attributes.get("file"),
        # pytest counts from 0 here.
        line=int(min(number(line), 1e7)) + 1 if line and number(line) >= 0 else None,
    )


def _refuse_doctype(*_: object) -> None:
    raise UnreadableReport("it declares a document type, which no test runner does")
