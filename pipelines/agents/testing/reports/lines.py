"""Reports that are lines of text: ``go test -json`` and the verbose output of unittest."""

import json
import re
from collections import defaultdict
from dataclasses import dataclass
from typing import cast

from pipelines.agents.testing.reports.claims import (
    MAX_CHARACTERS,
    CaseOutcome,
    Claims,
    UnreadableReport,
    case,
    claims_of,
)
from pipelines.model import CaseResult

_GO: dict[str, CaseOutcome] = {"pass": "passed", "fail": "failed", "skip": "skipped"}
_MAX_LINES = 500_000
_MAX_KEPT = 8_000
# `test_a (tests.test_cart.CartTest.test_a) ... ok`, and before 3.11 without the last name; what the
# test prints may stand before the result, and a docstring on a line of its own.
_CASE = re.compile(r"^(\w+) \(([\w.<>]+)\)(.*)$")
_RESULT = re.compile(r"\.\.\. (ok|FAIL|ERROR|skipped\b.*|expected failure|unexpected success)$")
_LATE = re.compile(r"^(ok|FAIL|ERROR)$")
_SECTION = re.compile(r"^(FAIL|ERROR): (\w+) \(([\w.<>]+)\)")
_UNITTEST: dict[str, CaseOutcome] = {
    "ok": "passed",
    "FAIL": "failed",
    "ERROR": "error",
    "expected failure": "passed",
    "unexpected success": "failed",
}
_RAN = re.compile(r"^Ran (\d{1,9}) tests? in ", re.MULTILINE)


@dataclass(slots=True)
class _GoTest:
    outcome: CaseOutcome | None = None
    seconds: float = 0.0
    output: str = ""
    ends: int = 0


def read_go(text: str) -> Claims:
    """Return the claims of an event stream; UnreadableReport if there is not one event in it."""
    if len(text) > MAX_CHARACTERS:
        raise UnreadableReport("it is larger than 10 MiB")
    tests: dict[tuple[str, str], _GoTest] = defaultdict(_GoTest)
    events = 0
    for line in text.splitlines()[:_MAX_LINES]:
        event = _event(line)
        if event is not None:
            events += 1
            _take(tests, event)
    if not events:
        raise UnreadableReport("it has no event of `go test -json`")
    return claims_of(
        result for (package, name), test in tests.items() for result in _go(package, name, test)
    )


def _event(line: str) -> dict[str, object] | None:
    try:
        value: object = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, dict) or "Action" not in value:
        return None
    return cast("dict[str, object]", value)


def _take(tests: dict[tuple[str, str], _GoTest], event: dict[str, object]) -> None:
    package, name = (str(event.get(key) or "") for key in ("Package", "Test"))
    action = event.get("Action")
    test = tests[package, name]
    if action in ("output", "build-output"):
        test.output = (test.output + str(event.get("Output") or ""))[-_MAX_KEPT:]
    elif isinstance(action, str) and action in _GO:
        test.outcome = _GO[action]
        test.ends += 1
        elapsed = event.get("Elapsed")
        test.seconds = float(elapsed) if isinstance(elapsed, int | float) else 0.0


def _go(package: str, name: str, test: _GoTest) -> list[CaseResult]:
    """A package is a case only if it failed, e.g. did not build; a test without an end crashed."""
    if not name:
        if test.outcome != "failed":
            return []
        return [case(package, "error", seconds=test.seconds, message=test.output)]
    outcome = test.outcome or "error"
    result = case(f"{package}::{name}", outcome, seconds=test.seconds, message=test.output)
    return [result] * max(1, test.ends)


def read_unittest(output: str) -> Claims:
    """Return the claims of ``python -m unittest -v``; UnreadableReport without its last line."""
    ran = _RAN.findall(output)
    if not ran:
        raise UnreadableReport("unittest never said how many tests it ran")
    results: list[tuple[str, CaseOutcome]] = []
    pending: str | None = None
    for line in output.splitlines()[:_MAX_LINES]:
        if start := _CASE.match(line):
            pending = _unittest_name(start[1], start[2])
        end = _RESULT.search(line) or (_LATE.match(line) if pending else None)
        if end and pending:
            results.append((pending, _UNITTEST.get(end[1], "skipped")))
            pending = None
    messages = _sections(output)
    cases = [case(name, outcome, message=messages.pop(name, "")) for name, outcome in results]
    # What fails outside of a test, e.g. in setUpClass, has a section but no line of its own.
    cases += [case(name, "error", message=text) for name, text in messages.items()]
    return claims_of(cases, miscounted=int(ran[-1]) != len(results))


def _unittest_name(name: str, place: str) -> str:
    group = place.removesuffix(f".{name}")
    return f"{group}::{name}"


def _sections(output: str) -> dict[str, str]:
    """Return what is written about each failure, by its name."""
    found: dict[str, list[str]] = {}
    current: list[str] | None = None
    for line in output.splitlines():
        if start := _SECTION.match(line):
            current = found.setdefault(_unittest_name(start[2], start[3]), [])
        elif line.startswith(("=====", "Ran ")):
            current = None
        elif current is not None and not line.startswith("-----"):
            current.append(line)
    return {name: "\n".join(lines) for name, lines in found.items()}
