"""Which lines ran, as Cobertura XML, coverage.py's JSON or lcov say."""

import json
from dataclasses import dataclass
from typing import cast
from xml.parsers import expat

from pipelines.agents.testing.reports.claims import MAX_CHARACTERS, UnreadableReport
from pipelines.agents.testing.reports.junit import MAX_DEPTH

_MAX_LINES = 2_000_000
_MAX_LINE = 10_000_000


@dataclass(frozen=True, slots=True)
class CoveredLines:
    """By file: the lines that could run, and those that did."""

    lines: dict[str, frozenset[int]]
    covered: dict[str, frozenset[int]]

    @property
    def total(self) -> int:
        """How many lines could run."""
        return sum(map(len, self.lines.values()))

    @property
    def total_covered(self) -> int:
        """How many lines did run."""
        return sum(map(len, self.covered.values()))

    def missed(self, path: str) -> frozenset[int]:
        """Return the lines of a file that could run and did not."""
        return self.lines.get(path, frozenset()) - self.covered.get(path, frozenset())


def read_coverage(text: str) -> CoveredLines:
    """Return the claims of a report in one of the formats; UnreadableReport if it has none."""
    if len(text) > MAX_CHARACTERS:
        raise UnreadableReport("it is larger than 10 MiB")
    head = text.lstrip()[:1]
    if head == "<":
        return _cobertura(text)
    return _coverage_py(text) if head == "{" else _lcov(text)


class _Counter:
    """Collects hits; more than one entry for a line covers it if any of them does."""

    def __init__(self) -> None:
        self._hits: dict[str, dict[int, bool]] = {}
        self._size = 0

    def add(self, path: str, line: object, hit: object) -> None:
        """Note one line; what is no line number is left out."""
        try:
            number, ran = int(str(line)), float(str(hit)) > 0
        except (ValueError, OverflowError):
            return
        self._size += 1
        if self._size > _MAX_LINES:
            raise UnreadableReport(f"it has more than {_MAX_LINES:,} lines")
        if 0 < number < _MAX_LINE:
            lines = self._hits.setdefault(path, {})
            lines[number] = lines.get(number, False) or ran

    def result(self) -> CoveredLines:
        """Return what was collected; UnreadableReport if it is nothing."""
        if not self._hits:
            raise UnreadableReport("it names no line")
        return CoveredLines(
            lines={path: frozenset(hits) for path, hits in self._hits.items()},
            covered={
                path: frozenset(line for line, ran in hits.items() if ran)
                for path, hits in self._hits.items()
            },
        )


def _cobertura(text: str) -> CoveredLines:
    counter, depth, path = _Counter(), 0, ""

    def start(tag: str, attributes: dict[str, str]) -> None:
        nonlocal depth, path
        depth += 1
        if depth > MAX_DEPTH:
            raise UnreadableReport(f"it is nested more than {MAX_DEPTH} deep")
        if tag == "class":
            path = attributes.get("filename", "")
        elif tag == "line" and path:
            counter.add(path, attributes.get("number"), attributes.get("hits"))

    def end(_: str) -> None:
        nonlocal depth
        depth -= 1

    def doctype(name: str, system: str | None, public: str | None, internal: int) -> None:
        # Cobertura's writers name its public document type, which expat does not fetch.
        if internal:
            raise UnreadableReport("it declares entities")

    parser = expat.ParserCreate("utf-8")
    parser.StartDoctypeDeclHandler = doctype
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    try:
        parser.Parse(text.encode("utf-8", "replace"), True)
    except expat.ExpatError as error:
        raise UnreadableReport(f"it is not well-formed XML (line {error.lineno})") from error
    return counter.result()


def _coverage_py(text: str) -> CoveredLines:
    counter = _Counter()
    try:
        files = cast("dict[str, dict[str, list[object]]]", json.loads(text)["files"])
        for path, file in files.items():
            for key, hit in (("executed_lines", 1), ("missing_lines", 0)):
                for line in file[key]:
                    counter.add(path, line, hit)
    except (ValueError, RecursionError, KeyError, TypeError, AttributeError) as error:
        raise UnreadableReport("it is not what coverage.py writes") from error
    return counter.result()


def _lcov(text: str) -> CoveredLines:
    counter, path = _Counter(), ""
    for line in text.splitlines():
        kind, _, rest = line.partition(":")
        if kind == "SF":
            path = rest.strip()
        elif kind == "DA" and path:
            number, _, hits = rest.partition(",")
            counter.add(path, number, hits.partition(",")[0])
    return counter.result()
