"""A changed file as the review sees it: lines by number on both sides, without secrets."""

import re
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from pipelines.agents.hidden import describe, find_hidden, strip_hidden
from pipelines.agents.review.scopes import Scopes
from pipelines.diff import (
    CommentableLines,
    Hunk,
    MalformedPatch,
    Side,
    commentable,
    parse_patch,
    split_lines,
)
from pipelines.model import ChangedFile, FileStatus
from pipelines.ports import FileText
from pipelines.redaction import find_secrets, redact


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


def build_view(file: ChangedFile, text: FileText | None) -> FileView:
    """Return the view of a changed file from its patch and, where it was read, its text."""
    empty = FileView(path=file.path, status=file.status)
    if file.patch is None:
        return _unseen(empty, _why_no_patch(file, text))
    try:
        hunks = parse_patch(file.patch)
        places = commentable(file.patch)
    except MalformedPatch as error:
        return _unseen(empty, error.reason)
    if not hunks:
        return _unseen(empty, _why_no_patch(file, text))
    raw = text.text if text and _agrees(text.text, hunks) else None
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


def shown_lines(text: str) -> list[str]:
    """Return a text's lines as they may be shown."""
    return list(_shown(_numbered(text)).values())


def _unseen(view: FileView, reason: str) -> FileView:
    return FileView(path=view.path, status=view.status, reason=reason)


def _why_no_patch(file: ChangedFile, text: FileText | None) -> str:
    if text and text.reason and text.reason != "missing":
        return text.reason
    if file.status is FileStatus.RENAMED and not file.additions and not file.deletions:
        return "renamed without changes, so there is no diff"
    return "the diff has no patch for it (binary, too large, or a mode change)"


def _agrees(text: str | None, hunks: Sequence[Hunk]) -> bool:
    """Whether the text is the one that the patch leads to."""
    if text is None:
        return False
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
    """Redact the lines together, because a key spans several, and clean each of them."""
    redacted, _ = redact("\n".join(lines.values()))
    texts = redacted.split("\n") if lines else []
    return {n: strip_hidden(text)[0] for n, text in zip(lines, texts, strict=True)}


def _secret_lines(lines: Mapping[int, str]) -> dict[int, str]:
    text, numbers = "\n".join(lines.values()), list(lines)
    starts = [0, *(match.end() for match in re.finditer("\n", text))]
    return {
        numbers[bisect_right(starts, secret.start) - 1]: secret.kind
        for secret in reversed(find_secrets(text))
    }


def _hidden_lines(lines: Mapping[int, str]) -> dict[int, tuple[str, ...]]:
    found = {n: {line[i] for i in find_hidden(line)} for n, line in lines.items()}
    return {n: tuple(describe(c) for c in sorted(chars)) for n, chars in found.items() if chars}
