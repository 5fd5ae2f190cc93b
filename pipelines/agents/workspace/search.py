"""Literal search over many files: linear in their text, capped, and plain about the rest."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from pipelines.agents.tools import ToolError

MAX_QUERY = 200
MAX_FILE_BYTES = 512 * 1024
MAX_TOTAL_BYTES = 16 * 1024 * 1024
MAX_FILES = 2_000
"""Files that one search reads; those that were read before come on top."""
MAX_MATCHES = 60
MAX_MATCHES_IN_FILE = 8
_BATCH = 200
_MAX_LINE = 200


@dataclass(frozen=True, slots=True)
class Query:
    """What is looked for, within one line; ``pattern`` is a glob of the paths, empty for all."""

    text: str
    pattern: str = ""
    ignore_case: bool = False
    whole_word: bool = False


@dataclass(frozen=True, slots=True)
class Match:
    """One line, 1-based, cut to what is worth showing."""

    path: str
    line: int
    text: str


@dataclass(slots=True)
class Found:
    """The matches, and what was not searched."""

    matches: list[Match] = field(default_factory=list[Match])
    more: int = 0
    """Matches beyond those that are listed, in the files that were searched."""
    searched: int = 0
    too_large: list[str] = field(default_factory=list[str])
    unreadable: list[str] = field(default_factory=list[str])
    not_reached: int = 0
    """Files beyond what one search may read."""


class Files(Protocol):
    """Where the texts come from."""

    @property
    def room(self) -> int:
        """How many bytes may still be read."""
        ...

    def to_read(self, path: str) -> int:
        """Return how many bytes would have to be read for a file; 0 if it is at hand."""
        ...

    async def load(self, paths: Sequence[str]) -> None:
        """Read these files now, so that their texts are at hand."""
        ...

    async def text(self, path: str) -> str:
        """Return a text; raises ToolError if there is none."""
        ...


async def search(files: Files, paths: Sequence[str], query: Query) -> Found:
    """Look through the files in order, those whose path has the text first."""
    if not query.text.strip() or len(query.text) > MAX_QUERY or "\n" in query.text:
        raise ToolError(f"Search for 1 to {MAX_QUERY} characters of one line.")
    found = Found()
    chosen = _within_reach(files, _likely_first(paths, query), found)
    for start in range(0, len(chosen), _BATCH):
        batch = chosen[start : start + _BATCH]
        await files.load(batch)
        for path in batch:
            try:
                text = await files.text(path)
            except ToolError:
                found.unreadable.append(path)
                continue
            found.searched += 1
            _collect(path, text, query, found)
    return found


def _likely_first(paths: Sequence[str], query: Query) -> list[str]:
    word = query.text.casefold()
    return sorted(paths, key=lambda path: (word not in path.casefold(), path))


def _within_reach(files: Files, paths: Sequence[str], found: Found) -> list[str]:
    chosen: list[str] = []
    room, turns = min(files.room, MAX_TOTAL_BYTES), MAX_FILES
    for path in paths:
        size = files.to_read(path)
        if size > MAX_FILE_BYTES:
            found.too_large.append(path)
        elif size and (turns == 0 or size > room):
            found.not_reached += 1
        else:
            room -= size
            turns -= size > 0
            chosen.append(path)
    return chosen


def _collect(path: str, text: str, query: Query, found: Found) -> None:
    for in_file, (number, line) in enumerate(_matching_lines(text, query), 1):
        if in_file > MAX_MATCHES_IN_FILE or len(found.matches) >= MAX_MATCHES:
            found.more += 1
        else:
            found.matches.append(Match(path, number, line))


def _matching_lines(text: str, query: Query) -> Iterator[tuple[int, str]]:
    needle = query.text.casefold() if query.ignore_case else query.text
    if needle not in (text.casefold() if query.ignore_case else text):
        return
    for number, line in enumerate(text.split("\n"), 1):
        compared = line.casefold() if query.ignore_case else line
        place = _place(compared, needle, whole_word=query.whole_word)
        if place >= 0:
            start = max(0, min(place, len(line)) - _MAX_LINE // 2) if len(line) > _MAX_LINE else 0
            yield number, line[start : start + _MAX_LINE].rstrip("\r")


def _place(line: str, needle: str, *, whole_word: bool) -> int:
    place = line.find(needle)
    while whole_word and place >= 0:
        end = place + len(needle)
        before, after = line[place - 1 : place], line[end : end + 1]
        if not _in_word(before) and not _in_word(after):
            break
        place = line.find(needle, end)
    return place


def _in_word(character: str) -> bool:
    return character.isalnum() or character == "_"
