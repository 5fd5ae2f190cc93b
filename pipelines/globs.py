"""Path patterns that cost time linear in the path, whatever the pattern.

``*`` and ``?`` match within one segment, ``**`` as a whole segment matches any number of them. A
pattern matches the whole path. Each is translated to an expression of atomic groups: taking the
first place where the text between two stars fits is always right, so nothing is ever tried twice.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

MAX_LENGTH = 256
MAX_PATTERNS = 200

_UNSUPPORTED = {
    "[": "character classes are not supported; use `?` or `*`",
    "]": "character classes are not supported; use `?` or `*`",
    "{": "alternatives are not supported; write one pattern for each",
    "}": "alternatives are not supported; write one pattern for each",
    "\\": "escapes are not supported; paths are separated by `/`",
}


class GlobError(ValueError):
    """A pattern that cannot be used; the text is one sentence for whoever wrote it."""

    def __init__(self, pattern: str, reason: str) -> None:
        shown = pattern if len(pattern) <= 60 else pattern[:57] + "..."
        super().__init__(f"The pattern {shown!r} cannot be used: {reason}.")
        self.pattern = pattern
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Glob:
    """A checked pattern; made by ``compile``."""

    pattern: str
    expression: re.Pattern[str]

    def matches(self, path: str) -> bool:
        """Whether the whole path, POSIX and relative to the root, fits the pattern."""
        return self.expression.fullmatch(path) is not None


@lru_cache(maxsize=1024)
def compile(pattern: str) -> Glob:  # noqa: A001 - the word the standard library uses for this
    """Return the matcher of one pattern; raises GlobError."""
    if reason := _objection(pattern):
        raise GlobError(pattern, reason)
    return Glob(pattern, re.compile(_translate(pattern.split("/")), re.DOTALL))


def compile_all(patterns: Sequence[str]) -> tuple[Glob, ...]:
    """Return the matchers of at most 200 patterns; raises GlobError."""
    if len(patterns) > MAX_PATTERNS:
        raise GlobError(patterns[MAX_PATTERNS], f"more than {MAX_PATTERNS} patterns")
    return tuple(compile(pattern) for pattern in patterns)


def any_match(globs: Iterable[Glob], path: str) -> bool:
    """Whether at least one of the patterns matches the path."""
    return any(glob.matches(path) for glob in globs)


def _objection(pattern: str) -> str | None:
    """Return why a pattern cannot be used, the first reason of several."""
    rules = (
        (not pattern, "it is empty"),
        (len(pattern) > MAX_LENGTH, f"it has more than {MAX_LENGTH} characters"),
        (pattern.startswith("!"), "a leading `!` is not supported"),
        (pattern.startswith("/"), "it is absolute; paths start at the root without `/`"),
        (pattern.endswith("/"), "it ends with `/`; add `**` for everything below"),
        (not pattern.isprintable(), "it contains a character that cannot be printed"),
    )
    reasons = [reason for holds, reason in rules if holds]
    reasons += [_UNSUPPORTED[c] for c in pattern[:MAX_LENGTH] if c in _UNSUPPORTED]
    return reasons[0] if reasons else _segment_objection(pattern.split("/"))


def _segment_objection(segments: list[str]) -> str | None:
    for segment in segments:
        if segment in ("", ".", ".."):
            return f"it has an empty, `.` or `..` segment ({segment or '//'})"
        if "**" in segment and segment != "**":
            return "`**` must stand alone between slashes, as in `src/**/*.py`"
    return None


def _translate(segments: list[str]) -> str:
    """Join segments; every run of them between two ``**`` takes the first place where it fits."""
    *runs, last = _split_at_double_stars(segments)
    if not runs:
        return "/".join(map(_segment, last))
    head = "".join(_segment(segment) + "/" for segment in runs[0])
    middle = "".join(
        "(?>(?:[^/]+/)*?" + "".join(_segment(segment) + "/" for segment in run) + ")"
        for run in runs[1:]
    )
    tail = "(?:[^/]+/)*" + "/".join(map(_segment, last)) if last else ".+"
    return head + middle + tail


def _split_at_double_stars(segments: list[str]) -> list[list[str]]:
    """Return the runs between ``**`` segments, without empty ones inside."""
    runs: list[list[str]] = [[]]
    for segment in segments:
        if segment != "**":
            runs[-1].append(segment)
        elif runs[-1] or len(runs) == 1:
            runs.append([])
    return runs


def _segment(segment: str) -> str:
    """Return an expression for one segment that leaves nothing to come back to."""
    if segment == "*":
        return "[^/]+"
    first, *rest = (
        "".join("[^/]" if c == "?" else re.escape(c) for c in part)
        for part in re.split(r"\*", segment)
    )
    if not rest:
        return first
    middle = "".join(f"(?>[^/]*?{part})" for part in rest[:-1] if part)
    return f"(?>{first}{middle}[^/]*{rest[-1]}(?=/|\\Z))"
