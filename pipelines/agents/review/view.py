"""A changed file as the review sees it: lines by number on both sides, without secrets."""

import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property

from pipelines.agents.fence import presentable
from pipelines.agents.hidden import describe, find_hidden, strip_hidden
from pipelines.agents.review.identity import scope_digest
from pipelines.agents.review.scopes import Scope, Scopes
from pipelines.diff import (
    CommentableLines,
    Hunk,
    MalformedPatch,
    Side,
    commentable,
    compare,
    parse_patch,
    split_lines,
)
from pipelines.model import ChangedFile, FileStatus
from pipelines.ports import FileText
from pipelines.redaction import find_secrets

_MAX_COMPARED_LINES = 5_000
_MAX_QUOTED = 500
"""Characters of a line that a finding carries."""


@dataclass(frozen=True)
class FileView:
    """One file; ``left`` and ``right`` map line numbers to what may be shown of them.

    Shown lines have secrets replaced and hidden characters removed, so that what a model quotes
    can be looked up in them. ``raw`` is the whole text at head, None if it could not be read.
    """

    path: str
    status: FileStatus
    hunks: tuple[Hunk, ...] = ()
    places: CommentableLines = field(default_factory=CommentableLines)
    left: Mapping[int, str] = field(default_factory=dict[int, str])
    right: Mapping[int, str] = field(default_factory=dict[int, str])
    raw: str | None = None
    secrets: Mapping[int, str] = field(default_factory=dict[int, str])
    """Kind of secret by line of the new file."""
    hidden: Mapping[int, tuple[str, ...]] = field(default_factory=dict[int, tuple[str, ...]])
    """Descriptions of hidden characters by line of the new file."""
    reason: str = ""
    """Why nothing of it can be looked at; empty if something can."""

    @cached_property
    def scopes(self) -> Scopes:
        """The definitions of the file at head."""
        if self.raw is None:
            return Scopes("", ())
        return Scopes(self.path, list(_numbered(self.raw).values()))

    @cached_property
    def digest_of(self) -> Callable[[Scope], str]:
        """The digest of what a definition says at head; each is made once."""

        def digest(scope: Scope) -> str:
            return scope_digest(self.right[n] for n in range(scope.start, scope.end + 1))

        return cache(digest)

    @cached_property
    def filled(self) -> tuple[int, ...]:
        """The numbers of the shown lines of the new file that are not empty, as in digests."""
        return tuple(number for number, text in self.right.items() if text.split())

    @cached_property
    def added(self) -> frozenset[int]:
        """The lines of the new file that the change adds."""
        rows = (row for hunk in self.hunks for row in hunk.lines)
        return frozenset(row.new for row in rows if row.kind == "+" and row.new is not None)

    @cached_property
    def removed(self) -> tuple[str, ...]:
        """The shown lines that the change takes out of the file."""
        rows = (row for hunk in self.hunks for row in hunk.lines)
        return tuple(self.left[row.old] for row in rows if row.kind == "-" and row.old is not None)

    def side(self, side: Side) -> Mapping[int, str]:
        """Return the shown lines of one side by number."""
        return self.left if side == "LEFT" else self.right

    def symbol(self, side: Side, line: int) -> str:
        """Return the name of the definition around a line of the new file, or nothing."""
        scope = self.scopes.around(line) if side == "RIGHT" else None
        return scope.name if scope else ""


def build_view(file: ChangedFile, head: FileText | None, base: FileText | None = None) -> FileView:
    """Return the view of a changed file from its patch and, where they were read, its texts.

    GitHub leaves patches out of large changes without a word; then the two texts are compared. What
    is found that way cannot be commented on in the diff.
    """
    if not file.patch:
        return _compared_view(file, head, base)
    try:
        hunks, places = parse_patch(file.patch), commentable(file.patch)
    except MalformedPatch as error:
        return _unseen(file, error.reason)
    return _view(file, hunks, places, head.text if head else None)


def _view(
    file: ChangedFile, hunks: tuple[Hunk, ...], places: CommentableLines, text: str | None
) -> FileView:
    raw = text if text is not None and _agrees(text, hunks) else None
    numbered = _numbered(raw) if raw is not None else _from_hunks(hunks, "RIGHT")
    return FileView(
        path=file.path,
        status=file.status,
        hunks=hunks,
        places=places,
        left=_shown(_from_hunks(hunks, "LEFT")),
        right=_shown(numbered),
        raw=raw,
        secrets=_secret_lines(numbered),
        hidden=_hidden_lines(numbered),
    )


def _compared_view(file: ChangedFile, head: FileText | None, base: FileText | None) -> FileView:
    old = "" if file.status is FileStatus.ADDED else _text_of(base)
    new = "" if file.status is FileStatus.REMOVED else _text_of(head)
    if old is None or new is None:
        unreadable = next((text.reason for text in (head, base) if text and text.reason), "")
        return _unseen(file, unreadable or "the diff has no patch for it")
    if max(old.count("\n"), new.count("\n")) > _MAX_COMPARED_LINES:
        return _unseen(file, "the diff has no patch for it, and it is too long to compare")
    hunks = compare(old, new)
    if not hunks and file.status in (FileStatus.MODIFIED, FileStatus.CHANGED):
        return _unseen(file, "its lines did not change, so perhaps its mode did")
    return _view(file, hunks, CommentableLines(), new)


def _text_of(text: FileText | None) -> str | None:
    return text.text if text else None


def shown_lines(text: str) -> list[str]:
    """Return a text's lines as they may be shown."""
    return list(_shown(_numbered(text)).values())


def excerpt(lines: Iterable[str]) -> str:
    """Return quoted lines as one text, in which a line of minified code is cut."""
    return "\n".join(
        line if len(line) <= _MAX_QUOTED else f"{line[:_MAX_QUOTED]}…" for line in lines
    )


def _unseen(file: ChangedFile, reason: str) -> FileView:
    return FileView(path=file.path, status=file.status, reason=reason)


def _agrees(text: str, hunks: Sequence[Hunk]) -> bool:
    """Whether the text is the one that the patch leads to."""
    lines = _numbered(text)
    rows = (row for hunk in hunks for row in hunk.lines if row.new is not None)
    return all(lines.get(row.new or 0) == _plain(row.new or 0, row.text) for row in rows)


def _plain(number: int, text: str) -> str:
    """Return a line without its end, and the first one without a byte order mark."""
    line = text.rstrip("\r\n")
    return line.removeprefix("\ufeff") if number == 1 else line


def _numbered(text: str) -> dict[int, str]:
    return {n: _plain(n, line) for n, line in enumerate(split_lines(text), 1)}


def _from_hunks(hunks: Sequence[Hunk], side: Side) -> dict[int, str]:
    rows = (row for hunk in hunks for row in hunk.lines)
    numbers = ((row.old if side == "LEFT" else row.new, row.text) for row in rows)
    return {number: _plain(number, text) for number, text in numbers if number is not None}


def _shown(lines: Mapping[int, str]) -> dict[int, str]:
    """Clean each line and redact them together, because a key spans several."""
    texts = presentable("\n".join(lines.values())).split("\n") if lines else []
    return dict(zip(lines, texts, strict=True))


def _secret_lines(lines: Mapping[int, str]) -> dict[int, str]:
    text, numbers = strip_hidden("\n".join(lines.values()))[0], list(lines)
    starts = [0, *(match.end() for match in re.finditer("\n", text))]
    return {
        numbers[bisect_right(starts, secret.start) - 1]: secret.kind
        for secret in reversed(find_secrets(text))
    }


def _hidden_lines(lines: Mapping[int, str]) -> dict[int, tuple[str, ...]]:
    found = {n: {line[i] for i in find_hidden(line)} for n, line in lines.items()}
    return {n: tuple(describe(c) for c in sorted(chars)) for n, chars in found.items() if chars}
