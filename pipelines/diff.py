"""Unified diffs: what changed where, which lines can carry a comment, where a line went."""

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Literal

from unidiff.errors import UnidiffParseError
from unidiff.patch import Hunk as ParsedHunk
from unidiff.patch import PatchSet

from pipelines.errors import UserError

Side = Literal["LEFT", "RIGHT"]
"""LEFT counts lines in the old file, RIGHT in the new one; the words are GitHub's."""

_HEADERS = ("--- a/file\n", "+++ b/file\n")
_KINDS = (" ", "+", "-")


class MalformedPatch(UserError):
    """A patch that does not follow the unified format; ``reason`` says where."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"The patch cannot be read: {reason}.")
        self.reason = reason


@dataclass(frozen=True, slots=True)
class DiffLine:
    """One line of a hunk without its line feed; a carriage return before it is kept."""

    kind: Literal[" ", "+", "-"]
    old: int | None
    new: int | None
    text: str


@dataclass(frozen=True, slots=True)
class Hunk:
    """Neighbouring changes and the context around them; starts are 1-based."""

    old_start: int
    old_count: int
    new_start: int
    new_count: int
    lines: tuple[DiffLine, ...]
    section: str = ""

    @property
    def left(self) -> frozenset[int]:
        """The old file's line numbers that the hunk shows."""
        return frozenset(line.old for line in self.lines if line.old is not None)

    @property
    def right(self) -> frozenset[int]:
        """The new file's line numbers that the hunk shows."""
        return frozenset(line.new for line in self.lines if line.new is not None)


@dataclass(frozen=True, slots=True)
class CommentableLines:
    """Where GitHub accepts a review comment: on lines inside a hunk, a range inside one hunk."""

    left: tuple[frozenset[int], ...] = ()
    right: tuple[frozenset[int], ...] = ()

    def allows(self, side: Side, start: int, line: int) -> bool:
        """Whether a comment on these lines, both inclusive, would be accepted."""
        wanted = range(start, line + 1)
        hunks = self.left if side == "LEFT" else self.right
        return bool(wanted) and any(start in hunk and hunk.issuperset(wanted) for hunk in hunks)


def parse_patch(patch: str | None) -> tuple[Hunk, ...]:
    """Return the hunks of a patch that has no file headers; none for an absent or empty one.

    Raises MalformedPatch when counts do not add up, hunks overlap or anything else is in between.
    """
    if not patch:
        return ()
    lines = patch.removesuffix("\n").split("\n")
    try:
        files = PatchSet([*_HEADERS, *(f"{line}\n" for line in lines)])
    except (UnidiffParseError, ValueError) as error:
        raise MalformedPatch(str(error).strip()[:200]) from error
    if len(files) != 1:
        raise MalformedPatch("it holds something other than hunks of one file")
    hunks = [_hunk(hunk) for hunk in files[0]]
    if sum(1 + len(hunk) for hunk in files[0]) != len(lines):
        raise MalformedPatch("it holds lines outside its hunks")
    _check_order(hunks)
    return tuple(hunks)


def compare(old: str, new: str, context: int = 3) -> tuple[Hunk, ...]:
    """Return the hunks between two texts, as a diff with that many lines of context has them."""
    olds, news = ([line.removesuffix("\n") for line in split_lines(text)] for text in (old, new))
    groups = SequenceMatcher(None, olds, news).get_grouped_opcodes(context)
    return tuple(_compared(group, olds, news) for group in groups)


def _compared(
    group: Sequence[tuple[str, int, int, int, int]], olds: Sequence[str], news: Sequence[str]
) -> Hunk:
    lines: list[DiffLine] = []
    for tag, old_from, old_to, new_from, new_to in group:
        if tag == "equal":
            pairs = zip(range(old_from, old_to), range(new_from, new_to), strict=True)
            lines += [DiffLine(" ", old + 1, new + 1, olds[old]) for old, new in pairs]
        else:
            lines += [DiffLine("-", n + 1, None, olds[n]) for n in range(old_from, old_to)]
            lines += [DiffLine("+", None, n + 1, news[n]) for n in range(new_from, new_to)]
    old_count, new_count = group[-1][2] - group[0][1], group[-1][4] - group[0][3]
    return Hunk(
        old_start=group[0][1] + (old_count > 0),
        old_count=old_count,
        new_start=group[0][3] + (new_count > 0),
        new_count=new_count,
        lines=tuple(lines),
    )


def commentable(patch: str | None) -> CommentableLines:
    """Return where comments on this file are accepted; raises MalformedPatch."""
    hunks = parse_patch(patch)
    return CommentableLines(
        left=tuple(hunk.left for hunk in hunks), right=tuple(hunk.right for hunk in hunks)
    )


def split_lines(text: str) -> list[str]:
    """Split at line feeds only, as git counts lines, keeping line ends."""
    lines = text.split("\n")
    ends = [f"{line}\n" for line in lines[:-1]]
    return [*ends, lines[-1]] if lines[-1] else ends


def apply_suggestion(text: str, start: int, line: int, suggestion: str) -> str:
    """Return the text with lines start to line, both inclusive, replaced.

    The replaced lines' own line ends are used, and a missing final one stays missing. An empty
    suggestion deletes the lines. Raises ValueError for lines that the text does not have.
    """
    lines = split_lines(text)
    if not 1 <= start <= line <= len(lines):
        raise ValueError(f"The text has {len(lines)} lines, so {start} to {line} is not in it.")
    ending = "\r\n" if lines[start - 1].endswith("\r\n") else "\n"
    body = suggestion.replace("\r\n", "\n").removesuffix("\n")
    new = [part + ending for part in body.split("\n")] if suggestion else []
    if new and line == len(lines) and not lines[-1].endswith("\n"):
        new[-1] = new[-1].removesuffix(ending)
    return "".join([*lines[: start - 1], *new, *lines[line:]])


def _hunk(parsed: ParsedHunk) -> Hunk:
    return Hunk(
        old_start=parsed.source_start,
        old_count=parsed.source_length,
        new_start=parsed.target_start,
        new_count=parsed.target_length,
        lines=tuple(
            DiffLine(
                kind=line.line_type,
                old=line.source_line_no,
                new=line.target_line_no,
                text=line.value.removesuffix("\n"),
            )
            for line in parsed
            if line.line_type in _KINDS
        ),
        section=parsed.section_header.rstrip("\r"),
    )


def _first_old(hunk: Hunk) -> int:
    """The first old line at or after the hunk: a pure insertion names the line before it."""
    return hunk.old_start if hunk.old_count else hunk.old_start + 1


def _check_order(hunks: Sequence[Hunk]) -> None:
    old_end = new_end = 0
    for hunk in hunks:
        new_first = hunk.new_start if hunk.new_count else hunk.new_start + 1
        if _first_old(hunk) <= old_end or new_first <= new_end:
            raise MalformedPatch("its hunks overlap or are out of order")
        old_end = _first_old(hunk) + hunk.old_count - 1
        new_end = new_first + hunk.new_count - 1
