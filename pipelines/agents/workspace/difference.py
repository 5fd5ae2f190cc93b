"""What an edit changed in a file, as a unified diff that git would apply."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

from pipelines.diff import split_lines

_CONTEXT = 3
_MAX_PRODUCT = 4_000_000
"""Lines before times lines after that are compared; larger regions are shown as replaced."""

Opcode = tuple[str, int, int, int, int]


@dataclass(frozen=True, slots=True)
class FileChange:
    """One edited file; ``diff`` has git's headers, and texts are None where there is no file."""

    path: str
    before: str | None
    after: str | None
    diff: str
    additions: int
    deletions: int

    @property
    def kind(self) -> str:
        """``added``, ``deleted`` or ``changed``."""
        if self.before is None:
            return "added"
        return "deleted" if self.after is None else "changed"


def compare(path: str, before: str | None, after: str | None) -> FileChange:
    """Return the change between two texts of a file."""
    olds, news = split_lines(before or ""), split_lines(after or "")
    rows = [
        f"--- {'/dev/null' if before is None else f'a/{path}'}\n",
        f"+++ {'/dev/null' if after is None else f'b/{path}'}\n",
    ]
    added = deleted = 0
    for group in _grouped(olds, news):
        rows.append(_header(group))
        for mark, line in _lines(group, olds, news):
            added += mark == "+"
            deleted += mark == "-"
            ending = "" if line.endswith("\n") else "\n\\ No newline at end of file\n"
            rows.append(f"{mark}{line}{ending}")
    return FileChange(path, before, after, "".join(rows), added, deleted)


def _grouped(olds: Sequence[str], news: Sequence[str]) -> Iterator[list[Opcode]]:
    """Yield hunks; equal lines at both ends, all but the context, are not compared again."""
    shorter = min(len(olds), len(news))
    start = next((i for i in range(shorter) if olds[i] != news[i]), shorter)
    if start == len(olds) == len(news):
        return
    rest = shorter - start
    end = next((i for i in range(rest) if olds[-1 - i] != news[-1 - i]), rest)
    start, end = max(0, start - _CONTEXT), max(0, end - _CONTEXT)
    old, new = olds[start : len(olds) - end], news[start : len(news) - end]
    groups: Iterable[Sequence[Opcode]] = [[("replace", 0, len(old), 0, len(new))]]
    if len(old) * len(new) <= _MAX_PRODUCT:
        groups = SequenceMatcher(None, old, new).get_grouped_opcodes(_CONTEXT)
    for group in groups:
        yield [(tag, a + start, b + start, c + start, d + start) for tag, a, b, c, d in group]


def _header(group: Sequence[Opcode]) -> str:
    """Name the lines of a hunk; an empty side names the line before it."""
    sides: list[str] = []
    for first, last in ((group[0][1], group[-1][2]), (group[0][3], group[-1][4])):
        sides.append(f"{first + (last > first)},{last - first}")
    return f"@@ -{sides[0]} +{sides[1]} @@\n"


def _lines(
    group: Sequence[Opcode], olds: Sequence[str], news: Sequence[str]
) -> Iterator[tuple[str, str]]:
    for tag, old_from, old_to, new_from, new_to in group:
        if tag == "equal":
            yield from ((" ", line) for line in olds[old_from:old_to])
        else:
            yield from (("-", line) for line in olds[old_from:old_to])
            yield from (("+", line) for line in news[new_from:new_to])
