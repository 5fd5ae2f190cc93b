"""The hidden comments by which Conductor finds its own words again.

A marker counts only in a text that the App's own account wrote: anybody can type one. Those that
start work are signed as well (``signed_markers``), since others may edit the App's texts.
"""

import re
from dataclasses import dataclass
from urllib.parse import quote, unquote

_WORD = r"[A-Za-z0-9._:/+=@-]{1,200}"
_FINDING = re.compile(
    rf"<!-- conductor:finding ({_WORD})(?: ({_WORD}))?(?: in ([A-Za-z0-9._/%~-]{{1,1000}}))? -->"
)
_FIXED = re.compile(rf"<!-- conductor:fixed ({_WORD}) -->")
_KEY = re.compile(rf"<!-- conductor:key ({_WORD}) -->")
_UNSAFE = re.compile(r"[^A-Za-z0-9._:/+=@-]")


@dataclass(frozen=True, slots=True)
class FindingMarker:
    """Identity of a finding as posted; ``anchor`` and ``path`` are empty if none was given."""

    fingerprint: str
    anchor: str = ""
    path: str = ""


def _word(text: str) -> str:
    """Return ``text`` fit for a marker: nothing in it can end the comment."""
    return _UNSAFE.sub("_", text)[:200] or "_"


def finding(fingerprint: str, anchor: str = "", path: str = "") -> str:
    """Return the marker of one finding; ``path`` where no thread tells it."""
    tail = f" {_word(anchor)}" if anchor else ""
    place = f" in {quote(path, safe='/')}" if path else ""
    return f"<!-- conductor:finding {_word(fingerprint)}{tail}{place} -->"


def fixed(fingerprint: str) -> str:
    """Return the marker of the answer that a finding is fixed."""
    return f"<!-- conductor:fixed {_word(fingerprint)} -->"


def key(effect_key: str) -> str:
    """Return the marker of one effect, by which a repeat finds it."""
    return f"<!-- conductor:key {_word(effect_key)} -->"


def find_findings(body: str) -> list[FindingMarker]:
    """Return the findings that a text carries, in order."""
    return [
        FindingMarker(match[1], match[2] or "", unquote(match[3] or ""))
        for match in _FINDING.finditer(body)
    ]


def has_fixed(body: str) -> bool:
    """Whether a comment is an answer that a finding is fixed."""
    return _FIXED.search(body) is not None


def has_key(body: str, effect_key: str) -> bool:
    """Whether a text was written by this very effect."""
    return _word(effect_key) in _KEY.findall(body)
