"""What makes two findings the same one, whatever lines they moved to and whatever words they use.

A finding hangs on the code it quotes. Its fingerprint is over the path, the definition around the
code, the category and the code itself without its spacing. Its anchor lists a short digest of each
quoted line, so that a later review can tell whether that code still stands in a file, and a digest
of the definition around them, so that it can tell whether anything was done about it there.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from pipelines.diff import Side
from pipelines.model import Severity

_MAX_LINES = 12
_DIGITS = 8
_SIMILAR = 0.5
_WORD = re.compile(
    rf"(?P<severity>{'|'.join(Severity)})(?P<left>\.left)?"
    rf"(?P<lines>(?:\.[0-9a-f]{{{_DIGITS}}})*)(?:\.in(?P<scope>[0-9a-f]{{16}}))?"
)


def normalised(lines: Iterable[str]) -> list[str]:
    """Return the lines with runs of white space made one space, without empty ones."""
    return [text for line in lines if (text := " ".join(line.split()))]


def fingerprint(path: str, symbol: str, category: str, quoted: Iterable[str]) -> str:
    """Return 16 hexadecimal digits that stay the same while the code only moves."""
    return _digest([path, symbol, category, *normalised(quoted)])


def scope_digest(lines: Iterable[str]) -> str:
    """Return 16 hexadecimal digits that stay the same while only the spacing changes."""
    return _digest(normalised(lines))


def _digest(words: Iterable[str]) -> str:
    return hashlib.sha256("\0".join(words).encode("utf-8", "surrogatepass")).hexdigest()[:16]


def digests(lines: Iterable[str]) -> tuple[str, ...]:
    """Return one short digest for each line that is not empty."""
    texts = (text.encode("utf-8", "surrogatepass") for text in normalised(lines))
    return tuple(hashlib.sha256(text).hexdigest()[:_DIGITS] for text in texts)


@dataclass(frozen=True)
class Anchor:
    """The severity a finding was given and the digests of the first lines it quoted.

    As a word: ``high.1a2b3c4d.5e6f7a8b.in0123456789abcdef``, where the last part may be missing, or
    ``high.left.1a2b3c4d`` for lines of the old file.
    """

    severity: Severity | None
    lines: tuple[str, ...]
    side: Side = "RIGHT"
    scope: str = ""
    """Digest of the code around the lines; empty if it shall not tell whether it was mended."""

    @classmethod
    def of(
        cls, severity: Severity, quoted: Iterable[str], side: Side = "RIGHT", scope: str = ""
    ) -> "Anchor":
        """Return the anchor of a new finding."""
        return cls(severity, digests(quoted)[:_MAX_LINES], side, scope)

    @classmethod
    def parse(cls, word: str) -> "Anchor":
        """Read an anchor back; one that cannot be read is empty, and so stands nowhere."""
        match = _WORD.fullmatch(word)
        if match is None:
            return cls(None, ())
        lines = tuple(match["lines"].split(".")[1 : _MAX_LINES + 1])
        side: Side = "LEFT" if match["left"] else "RIGHT"
        return cls(Severity(match["severity"]), lines, side, match["scope"] or "")

    def __str__(self) -> str:
        """Return the anchor as one word without spaces."""
        side = ["left"] * (self.side == "LEFT")
        scope = [f"in{self.scope}"] * bool(self.scope)
        return ".".join([str(self.severity or ""), *side, *self.lines, *scope])

    @cached_property
    def _set(self) -> frozenset[str]:
        return frozenset(self.lines)

    def resembles(self, other: "Anchor") -> bool:
        """Whether at least half of the shorter one's lines are lines of the other."""
        shorter = min(len(self._set), len(other._set))
        return (
            self.side == other.side
            and bool(shorter)
            and len(self._set & other._set) >= _SIMILAR * shorter
        )

    def stands_in(self, file: Sequence[str]) -> bool:
        """Whether all lines still follow one another in a file given as digests."""
        return next(self.places_in(file), None) is not None

    def places_in(self, file: Sequence[str]) -> Iterator[int]:
        """Yield where all lines follow one another in a file given as digests."""
        size = len(self.lines)
        for start in range(len(file) - size + 1) if size else ():
            if tuple(file[start : start + size]) == self.lines:
                yield start
