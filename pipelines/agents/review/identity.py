"""What makes two findings the same one, whatever lines they moved to and whatever words they use.

A finding hangs on the code it quotes. Its fingerprint is over the path, the definition around the
code, the category and the code itself without its spacing; its anchor lists a short digest of each
quoted line, so that a later review can tell whether that code still stands in a file.
"""

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from pipelines.diff import Side
from pipelines.model import Severity

_MAX_LINES = 12
_DIGITS = 8
_DIGEST = re.compile(f"[0-9a-f]{{{_DIGITS}}}")
_SIMILAR = 0.5
_LEFT = "left"


def normalised(lines: Iterable[str]) -> list[str]:
    """Return the lines with runs of white space made one space, without empty ones."""
    return [text for line in lines if (text := " ".join(line.split()))]


def fingerprint(path: str, symbol: str, category: str, quoted: Iterable[str]) -> str:
    """Return 16 hexadecimal digits that stay the same while the code only moves."""
    words = "\0".join([path, symbol, category, *normalised(quoted)])
    return hashlib.sha256(words.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def digests(lines: Iterable[str]) -> tuple[str, ...]:
    """Return one short digest for each line that is not empty."""
    texts = (text.encode("utf-8", "surrogatepass") for text in normalised(lines))
    return tuple(hashlib.sha256(text).hexdigest()[:_DIGITS] for text in texts)


@dataclass(frozen=True)
class Anchor:
    """The severity a finding was given and the digests of the first lines it quoted.

    As a word: ``high.1a2b3c4d.5e6f7a8b``, or ``high.left.1a2b3c4d`` for lines of the old file.
    """

    severity: Severity | None
    lines: tuple[str, ...]
    side: Side = "RIGHT"

    @classmethod
    def of(cls, severity: Severity, quoted: Iterable[str], side: Side = "RIGHT") -> "Anchor":
        """Return the anchor of a new finding."""
        return cls(severity, digests(quoted)[:_MAX_LINES], side)

    @classmethod
    def parse(cls, word: str) -> "Anchor":
        """Read an anchor back; one that cannot be read is empty, and so stands nowhere."""
        head, *lines = word.split(".")
        side: Side = "LEFT" if lines[:1] == [_LEFT] else "RIGHT"
        lines = lines[1:] if side == "LEFT" else lines
        sound = head in list(Severity) and all(_DIGEST.fullmatch(line) for line in lines)
        return cls(Severity(head), tuple(lines[:_MAX_LINES]), side) if sound else cls(None, ())

    def __str__(self) -> str:
        """Return the anchor as one word without spaces."""
        side = (_LEFT,) if self.side == "LEFT" else ()
        return ".".join([str(self.severity or ""), *side, *self.lines])

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
        size = len(self.lines)
        if not size:
            return False
        places = range(len(file) - size + 1)
        return any(tuple(file[i : i + size]) == self.lines for i in places)
