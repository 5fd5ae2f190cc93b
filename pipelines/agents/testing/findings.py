"""Puts failures on lines: a place counts only if the file at head has it."""

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Set
from pathlib import PurePosixPath

from pipelines.agents.fence import presentable
from pipelines.agents.testing.layout import is_own
from pipelines.diff import MalformedPatch, commentable, split_lines
from pipelines.model import CaseResult, ChangedFile, Finding, Severity
from pipelines.ports import Reader

MAX_FINDINGS = 50
_MAX_TITLE = 160
_MAX_EXPLANATION = 2_000
_PYTHON = re.compile(r'File "([^"\n]{1,400})", line (\d{1,7})')
_PLAIN = re.compile(r"([\w@+./-]{1,400}\.\w{1,5}):(\d{1,7})(?!\w)")
_SYSTEM = ("site-packages/", "node_modules/", "node:", "/usr/lib/", "/usr/local/lib/")
Place = tuple[str, int]


async def findings_of(
    failures: Iterable[CaseResult],
    reader: Reader,
    paths: Set[str],
    changed: Mapping[str, ChangedFile],
) -> tuple[Finding, ...]:
    """Return a finding for each failure that has a place, at most 50."""
    wanted = list(failures)[:MAX_FINDINGS]
    places = {case.name: list(_places(case, paths)) for case in wanted}
    named = dict.fromkeys(path for found in places.values() for path, _ in found)
    if not named:
        return ()
    texts = await reader.read(list(named), at="head")
    lines = {path: split_lines(file.text) for path, file in texts.items() if file.text is not None}
    found = [
        _finding(case, place, lines[place[0]], changed.get(place[0]))
        for case in wanted
        if (place := _best(places[case.name], lines, changed))
    ]
    return tuple({finding.fingerprint: finding for finding in found}.values())


def _places(case: CaseResult, paths: Set[str]) -> Iterator[Place]:
    """Yield the places that a failure names, the deepest first, then that of the test itself."""
    matches = (*_PYTHON.finditer(case.message), *_PLAIN.finditer(case.message))
    for match in sorted(matches, key=lambda match: -match.start()):
        path = _inside(match[1], paths)
        if path:
            yield path, int(match[2])
    own = _inside(case.path, paths) if case.path else None
    if own:
        yield own, case.line or 1


def _inside(named: str, paths: Set[str]) -> str | None:
    """Return the repository's path for one that may start with where the sandbox keeps it."""
    if any(part in named for part in _SYSTEM):
        return None
    parts = PurePosixPath(named).parts
    for start in range(len(parts)):
        path = "/".join(parts[start:])
        if path in paths and is_own(path):
            return path
    return None


def _best(
    places: list[Place], lines: Mapping[str, list[str]], changed: Mapping[str, ChangedFile]
) -> Place | None:
    """Return the first place with text, one in a changed file before all others."""
    real = [(path, line) for path, line in places if 0 < line <= len(lines.get(path, ()))]
    real = [(path, line) for path, line in real if lines[path][line - 1].strip()]
    return next((place for place in real if place[0] in changed), real[0] if real else None)


def _finding(
    case: CaseResult, place: Place, lines: list[str], changed: ChangedFile | None
) -> Finding:
    path, line = place
    digest = hashlib.sha256(f"test\0{path}\0{case.name}".encode()).hexdigest()
    return Finding(
        fingerprint=digest[:16],
        path=path,
        start_line=line,
        line=line,
        severity=Severity.HIGH,
        category="testing",
        title=f"{case.name[: _MAX_TITLE - 8]} fails",
        explanation=case.message[-_MAX_EXPLANATION:].strip() or "The report gives no reason.",
        quote=presentable(lines[line - 1].rstrip("\r\n")),
        in_diff=_in_diff(changed, line),
    )


def _in_diff(changed: ChangedFile | None, line: int) -> bool:
    try:
        return changed is not None and commentable(changed.patch).allows("RIGHT", line, line)
    except MalformedPatch:
        return False
