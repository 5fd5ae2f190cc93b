"""Chooses what the model is shown of a change within a number of tokens, and says what it is not.

Every file's diff comes first, most valuable file first; what is left of the tokens widens diffs to
the definitions around them and then to whole files. The choice depends on nothing but its input.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from pipelines.agents.review.view import FileView
from pipelines.diff import Hunk
from pipelines.model import Unseen

MAX_LINE = 1_000
"""Characters of a line that are shown; a file with a longer one is covered in part."""
_MAX_SCOPE = 300
_MARGIN = 8
_OVERHEAD_TOKENS = 60
"""What the frame around one file costs at most, beside its path."""

_DOCUMENTS = frozenset({".md", ".rst", ".txt", ".adoc", ".svg", ".csv", ".tsv", ".po"})
_SETTINGS = frozenset({".json", ".yml", ".yaml", ".toml", ".ini", ".cfg", ".xml", ".html", ".css"})
_MADE = frozenset({".lock", ".map", ".snap", ".sum"})
_MADE_NAMES = frozenset({"package-lock.json", "pnpm-lock.yaml", "npm-shrinkwrap.json"})


@dataclass(frozen=True, slots=True)
class Row:
    """One line as it is shown; ``number`` counts in the old file for a deletion."""

    mark: str
    number: int
    text: str
    hunk: int | None
    """Index of the hunk it belongs to; None for context from around the hunks."""


@dataclass(frozen=True, slots=True)
class Block:
    """What is shown of one file."""

    view: FileView
    text: str


@dataclass(frozen=True, slots=True)
class Selection:
    """The blocks in the order they are shown, and the state of each file that was offered."""

    blocks: tuple[Block, ...]
    seen: tuple[str, ...]
    partial: tuple[Unseen, ...]
    unseen: tuple[Unseen, ...]


@dataclass(slots=True)
class _Choice:
    view: FileView
    rows: list[Row]
    hunks: int
    """How many hunks are shown, counted from the first."""
    text: str
    cost: int
    cut: bool


def select(
    views: Sequence[FileView], tokens: int, estimate: Callable[[str], int], shortage: str
) -> Selection:
    """Return what fits into so many tokens as ``estimate`` counts them.

    ``shortage`` is the reason given for a file that does not fit.
    """
    left = tokens
    choices: list[_Choice] = []
    unseen = [Unseen(path=view.path, reason=view.reason) for view in views if view.reason]
    unchanged = [view.path for view in views if not view.reason and not view.hunks]
    for view in sorted((view for view in views if view.hunks), key=_value):
        choice = _first_choice(view, left, estimate)
        if choice is None:
            unseen.append(Unseen(path=view.path, reason=shortage))
            continue
        left -= choice.cost
        choices.append(choice)
    for wanted in (_lines_of_scopes, _lines_of_file):
        for choice in choices:
            left -= _widen(choice, wanted(choice.view), left, estimate)
    return Selection(
        blocks=tuple(Block(choice.view, choice.text) for choice in choices),
        seen=tuple(sorted(unchanged + [c.view.path for c in choices if not _shortfall(c)])),
        partial=_by_path(
            Unseen(path=c.view.path, reason=reason) for c in choices if (reason := _shortfall(c))
        ),
        unseen=_by_path(unseen),
    )


def _by_path(items: Iterable[Unseen]) -> tuple[Unseen, ...]:
    return tuple(sorted(items, key=lambda item: item.path))


def _value(view: FileView) -> tuple[int, int, str]:
    """Sort key: code before settings, documents and generated files; then the larger change."""
    name = PurePosixPath(view.path)
    if name.suffix in _MADE or name.name in _MADE_NAMES or ".min." in name.name:
        kind = 3
    elif name.suffix in _DOCUMENTS:
        kind = 2
    else:
        kind = 1 if name.suffix in _SETTINGS else 0
    changed = sum(row.kind != " " for hunk in view.hunks for row in hunk.lines)
    return kind, -changed, view.path


def _first_choice(view: FileView, tokens: int, estimate: Callable[[str], int]) -> _Choice | None:
    """Return the whole diff if it fits, otherwise its first hunks that do, otherwise None."""
    rows = list(_rows(view))

    def shown(count: int) -> list[Row]:
        return [row for row in rows if row.hunk is not None and row.hunk < count]

    def cost(count: int) -> int:
        return estimate(_render(shown(count))) + estimate(view.path) + _OVERHEAD_TOKENS

    counts = range(len(view.hunks) + 1)
    count = len(view.hunks)
    if cost(count) > tokens:
        count = bisect_right(counts, tokens, lo=1, key=cost) - 1
    if count == 0:
        return None
    cut = any(len(row.text) > MAX_LINE for row in shown(count))
    return _Choice(view, rows, count, _render(shown(count)), cost(count), cut)


def _widen(
    choice: _Choice, wanted: frozenset[int], tokens: int, estimate: Callable[[str], int]
) -> int:
    """Show these lines around the hunks too if they fit; return what that costs."""
    if choice.hunks < len(choice.view.hunks):
        return 0
    shown = [row for row in choice.rows if row.hunk is not None or row.number in wanted]
    text = _render(shown)
    cost = estimate(text) + estimate(choice.view.path) + _OVERHEAD_TOKENS
    if cost <= choice.cost or cost - choice.cost > tokens:
        return 0
    extra, choice.text, choice.cost = cost - choice.cost, text, cost
    return extra


def _lines_of_scopes(view: FileView) -> frozenset[int]:
    """The lines of the definitions around each change, or a few lines where there is none."""
    wanted: set[int] = set()
    for line in sorted(_changed_places(view)):
        if line in wanted:
            continue
        scope = view.scopes.around(line)
        if scope and scope.end - scope.start < _MAX_SCOPE:
            wanted.update(range(scope.start, scope.end + 1))
        else:
            wanted.update(range(line - _MARGIN, line + _MARGIN + 1))
    return frozenset(wanted)


def _lines_of_file(view: FileView) -> frozenset[int]:
    return frozenset(view.right) if view.raw is not None else frozenset()


def _changed_places(view: FileView) -> Iterator[int]:
    """Yield added lines, and for a deletion the line of the new file that follows it."""
    for hunk in view.hunks:
        following = hunk.new_start
        for row in hunk.lines:
            if row.new is not None:
                following = row.new + 1
            if row.kind != " ":
                yield row.new if row.new is not None else following


def _rows(view: FileView) -> Iterator[Row]:
    """Yield the file from top to bottom with its deletions; only its hunks if that is all."""
    position = 1
    for index, hunk in enumerate(view.hunks):
        yield from _context(view, position, _first_new(hunk))
        for line in hunk.lines:
            if line.new is not None:
                yield Row(line.kind, line.new, view.right[line.new], index)
            elif line.old is not None:
                yield Row("-", line.old, view.left[line.old], index)
        position = _first_new(hunk) + hunk.new_count
    yield from _context(view, position, max(view.right, default=0) + 1)


def _context(view: FileView, start: int, stop: int) -> Iterator[Row]:
    if view.raw is not None:
        for number in range(start, stop):
            yield Row(" ", number, view.right[number], None)


def _first_new(hunk: Hunk) -> int:
    return hunk.new_start if hunk.new_count else hunk.new_start + 1


def _render(rows: Sequence[Row]) -> str:
    """Return numbered lines; a row of dots stands for lines that are left out."""
    parts: list[str] = []
    expected = 1
    for row in rows:
        if row.mark != "-":
            if row.number > expected:
                parts.append("      ...")
            expected = row.number + 1
        text = row.text if len(row.text) <= MAX_LINE else row.text[:MAX_LINE] + " [line cut]"
        parts.append(f"{row.number:>6} {row.mark} {text}")
    return "\n".join(parts)


def _shortfall(choice: _Choice) -> str:
    total = len(choice.view.hunks)
    if choice.hunks < total:
        return f"only {choice.hunks} of {total} changed sections fit into the model's input"
    return f"lines longer than {MAX_LINE} characters were cut" if choice.cut else ""
