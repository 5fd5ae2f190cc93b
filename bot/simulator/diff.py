"""Unified diffs as GitHub shows them, read from git, and where lines go between two commits."""

import re
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from bot.simulator.git import GitRepository

Side = Literal["LEFT", "RIGHT"]

MAX_PATCH_LINES = 20_000
MAX_PATCH_BYTES = 500_000
"""Beyond these GitHub lists a file without its patch (docs: "Limits for viewing content")."""

_HUNK = re.compile(r"^@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@")
_STATUS = {"A": "added", "D": "removed", "M": "modified", "R": "renamed", "C": "copied"}


@dataclass(frozen=True, slots=True)
class Row:
    """A line of a patch: its text with the mark, and its number on the sides that have it."""

    text: str
    left: int | None
    right: int | None
    hunk: int
    position: int
    """Lines below the first hunk header, counted as GitHub's ``position``."""


@dataclass(frozen=True)
class FileDiff:
    """One changed file between two trees."""

    path: str
    previous: str | None
    status: str
    sha: str | None
    additions: int
    deletions: int
    binary: bool
    patch: str | None

    @cached_property
    def rows(self) -> list[Row]:
        """The patch line by line."""
        return parse(self.patch or "")

    def find(self, side: Side, line: int) -> Row | None:
        """The patch's row that carries a line of one side, if the diff shows it."""
        if side == "LEFT":
            return next((row for row in self.rows if row.left == line), None)
        return next((row for row in self.rows if row.right == line), None)

    def hunk_until(self, row: Row) -> str:
        """GitHub's ``diff_hunk``: the hunk's header and its lines down to the one commented."""
        headers = [line for line in (self.patch or "").split("\n") if line.startswith("@@")]
        lines = [r.text for r in self.rows if r.hunk == row.hunk and r.position <= row.position]
        return "\n".join([headers[row.hunk], *lines])


def parse(patch: str) -> list[Row]:
    """Number the lines of a patch on both sides."""
    rows: list[Row] = []
    left = right = 0
    hunk = position = -1
    for line in patch.split("\n") if patch else []:
        position += 1
        if header := _HUNK.match(line):
            left, right, hunk = int(header[1]), int(header[3]), hunk + 1
            continue
        mark = line[:1]
        if mark == "\\":
            continue
        rows.append(
            Row(
                line,
                left if mark != "+" else None,
                right if mark != "-" else None,
                hunk,
                position,
            )
        )
        left += mark != "+"
        right += mark != "-"
    return rows


async def between(git: GitRepository, base: str, head: str) -> list[FileDiff]:
    """Every changed file from one tree to another, renames detected, three lines of context."""
    common = ("diff", "-M", "-l1000", "--no-ext-diff", "--no-textconv", "--no-color")
    raw = (await git.run(*common, "--raw", "--abbrev=40", "-z", base, head)).split(b"\0")
    numbers = (await git.run(*common, "--numstat", "-z", base, head)).split(b"\0")
    patches = _sections(await git.run(*common, "-U3", "-p", base, head))
    files: list[FileDiff] = []
    fields = iter(field.decode(errors="replace") for field in raw)
    counts = iter(field.decode(errors="replace") for field in numbers)
    for meta in fields:
        if not meta:
            break
        _, _, _, new, state = meta.split(" ")
        path = next(fields)
        previous = path if state[0] in "RC" else None
        path = next(fields) if previous else path
        added, deleted, name = next(counts).split("\t")
        if not name:
            _ = next(counts), next(counts)
        section = patches.pop(0)
        if state[0] == "T":
            section += b"\n" + patches.pop(0)
        files.append(
            FileDiff(
                path=path,
                previous=previous,
                status=_STATUS.get(state[0], "changed"),
                sha=None if set(new) == {"0"} else new,
                additions=0 if added == "-" else int(added),
                deletions=0 if deleted == "-" else int(deleted),
                binary=added == "-",
                patch=_patch(section),
            )
        )
    return files


def _patch(section: bytes) -> str | None:
    start = section.find(b"\n@@")
    body = section[start + 1 :] if start >= 0 else b""
    fits = body.count(b"\n") <= MAX_PATCH_LINES and len(body) <= MAX_PATCH_BYTES
    return body.decode(errors="replace").rstrip("\n") if body and fits else None


def _sections(out: bytes) -> list[bytes]:
    parts = re.split(rb"^(?=diff --git )", out, flags=re.MULTILINE)
    return [part for part in parts if part.startswith(b"diff --git ")]


async def text(git: GitRepository, base: str, head: str) -> bytes:
    """The whole diff as the ``diff`` media type sends it."""
    return await git.run("diff", "-M", "--no-ext-diff", "--no-textconv", "--no-color", base, head)


class LineMap:
    """Where the lines of one version of a file are in another."""

    def __init__(self, patch: str, target: str | None) -> None:
        """``patch`` has no context lines; ``target`` is the path afterwards, None if deleted."""
        self.target = target
        self._hunks = [
            (int(m[1]), int(m[2] or 1), int(m[3]), int(m[4] or 1))
            for m in (_HUNK.match(line) for line in patch.split("\n"))
            if m
        ]

    def __call__(self, line: int) -> int | None:
        """The line's new number; None if it was changed or removed."""
        shift = 0
        for old, old_count, _, new_count in self._hunks:
            first = old if old_count else old + 1
            if line < first:
                break
            if line < first + old_count:
                return None
            shift += new_count - old_count
        return line + shift if self.target else None


async def line_maps(git: GitRepository, old: str, new: str) -> dict[str, LineMap]:
    """A map for each path of ``old`` that differs in ``new``."""
    common = ("diff", "-M", "--no-ext-diff", "--no-textconv", "--no-color")
    raw = (await git.run(*common, "--raw", "-z", old, new)).decode(errors="replace").split("\0")
    sections = _sections(await git.run(*common, "-U0", "-p", old, new))
    maps: dict[str, LineMap] = {}
    fields = iter(raw)
    for meta in fields:
        if not meta:
            break
        state, path = meta.split(" ")[-1], next(fields)
        target = next(fields) if state[0] in "RC" else path
        patch = sections.pop(0).decode(errors="replace")
        if state[0] == "T":
            sections.pop(0)
        gone = state[0] in "DT"
        maps[path] = LineMap(patch[max(patch.find("\n@@"), 0) :], None if gone else target)
    return maps
