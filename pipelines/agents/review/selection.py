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
    changes: bool
    """Whether it is in a hunk; otherwise it is context from around the hunks."""


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
    """The whole file where its text is known, otherwise its hunks."""
    text: str
    cost: int
    shortfall: str = ""
    """Why the file is not shown whole; empty if all of its changes are."""
    cut: bool = False


def select(
    views: Sequence[FileView], tokens: int, estimate: Callable[[str], int], shortage: str
) -> Selection:
    """Return what fits into so many tokens as ``estimate`` counts them.

    ``shortage`` is the reason given for a file that does not fit. One that would not fit even alone
    is shown from its start, if at least half of the tokens are left for it.
    """
    left = tokens
    choices: list[_Choice] = []
    oversize: list[_Choice] = []
    for view in sorted((view for view in views if view.hunks), key=_value):
        choice = _whole_diff(view, estimate)
        if choice.cost <= left:
            left -= choice.cost
            choices.append(choice)
        elif choice.cost > tokens:
            oversize.append(choice)
    for choice in oversize:
        if 2 * left >= tokens and _cut(choice, left, estimate):
            left -= choice.cost
            choices.append(choice)
    for wanted in (_lines_of_scopes, _lines_of_file):
        for choice in choices:
            left -= _widen(choice, wanted(choice.view), left, estimate)
    return _selection(views, choices, shortage)


def _selection(views: Sequence[FileView], choices: Sequence[_Choice], shortage: str) -> Selection:
    chosen = {choice.view.path for choice in choices}
    whole = [choice.view.path for choice in choices if not choice.shortfall]
    unchanged = [view.path for view in views if not view.reason and not view.hunks]
    missing = [view for view in views if view.reason or (view.hunks and view.path not in chosen)]
    return Selection(
        blocks=tuple(Block(choice.view, choice.text) for choice in choices),
        seen=tuple(sorted(whole + unchanged)),
        partial=_by_path(
            Unseen(path=c.view.path, reason=c.shortfall) for c in choices if c.shortfall
        ),
        unseen=_by_path(Unseen(path=v.path, reason=v.reason or shortage) for v in missing),
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


def _whole_diff(view: FileView, estimate: Callable[[str], int]) -> _Choice:
    rows = list(_rows(view))
    shown = [row for row in rows if row.changes]
    choice = _Choice(view, rows, "", 0)
    _show(choice, shown, estimate)
    if any(len(row.text) > MAX_LINE for row in shown):
        choice.shortfall = f"lines longer than {MAX_LINE} characters were cut"
    return choice


def _cut(choice: _Choice, tokens: int, estimate: Callable[[str], int]) -> bool:
    """Show only the first lines of the diff that fit; False if no changed line does."""
    shown = [row for row in choice.rows if row.changes]

    def cost(count: int) -> int:
        _show(choice, shown[:count], estimate)
        return choice.cost

    count = bisect_right(range(len(shown) + 1), tokens, lo=1, key=cost) - 1
    _show(choice, shown[:count], estimate)
    choice.cut = True
    done, total = (sum(row.mark != " " for row in rows) for rows in (shown[:count], shown))
    choice.shortfall = f"only the first {done} of {total} changed lines fit into the model's input"
    return done > 0


def _show(choice: _Choice, rows: Sequence[Row], estimate: Callable[[str], int]) -> None:
    choice.text = _render(rows)
    choice.cost = estimate(choice.text) + estimate(choice.view.path) + _OVERHEAD_TOKENS


def _widen(
    choice: _Choice, wanted: frozenset[int], tokens: int, estimate: Callable[[str], int]
) -> int:
    """Show these lines around the hunks too if they fit; return what that costs."""
    if choice.cut:
        return 0
    text, cost = choice.text, choice.cost
    _show(choice, [row for row in choice.rows if row.changes or row.number in wanted], estimate)
    extra = choice.cost - cost
    if not 0 < extra <= tokens:
        choice.text, choice.cost = text, cost
        return 0
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
    for hunk in view.hunks:
        yield from _context(view, position, _first_new(hunk))
        for line in hunk.lines:
            if line.new is not None:
                yield Row(line.kind, line.new, view.right[line.new], changes=True)
            elif line.old is not None:
                yield Row("-", line.old, view.left[line.old], changes=True)
        position = _first_new(hunk) + hunk.new_count
    yield from _context(view, position, max(view.right, default=0) + 1)


def _context(view: FileView, start: int, stop: int) -> Iterator[Row]:
    if view.raw is not None:
        for number in range(start, stop):
            yield Row(" ", number, view.right[number], changes=False)


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
