"""The hidden comments by which Conductor finds its own words again.

A marker counts only in a text that the App's own account wrote: anybody can type one.
"""

import re
from dataclasses import dataclass

_WORD = r"[A-Za-z0-9._:/+=@-]{1,200}"
_FINDING = re.compile(rf"<!-- conductor:finding ({_WORD})(?: ({_WORD}))? -->")
_FIXED = re.compile(rf"<!-- conductor:fixed ({_WORD}) -->")
_KEY = re.compile(rf"<!-- conductor:key ({_WORD}) -->")
_UNSAFE = re.compile(r"[^A-Za-z0-9._:/+=@-]")


@dataclass(frozen=True, slots=True)
class FindingMarker:
    """Identity of a finding as posted; ``anchor`` is empty if none was given."""

    fingerprint: str
    anchor: str = ""


def _word(text: str) -> str:
    """Return ``text`` fit for a marker: nothing in it can end the comment."""
    return _UNSAFE.sub("_", text)[:200].replace("--", "__") or "_"


def finding(fingerprint: str, anchor: str = "") -> str:
    """Return the marker of one finding."""
    tail = f" {_word(anchor)}" if anchor else ""
    return f"<!-- conductor:finding {_word(fingerprint)}{tail} -->"


def fixed(fingerprint: str) -> str:
    """Return the marker of the answer that a finding is fixed."""
    return f"<!-- conductor:fixed {_word(fingerprint)} -->"


def key(effect_key: str) -> str:
    """Return the marker of one effect, by which a repeat finds it."""
    return f"<!-- conductor:key {_word(effect_key)} -->"


def find_finding(body: str) -> FindingMarker | None:
    """Return the finding a comment carries, or None."""
    match = _FINDING.search(body)
    return FindingMarker(match[1], match[2] or "") if match else None


def has_fixed(body: str) -> bool:
    """Whether a comment is an answer that a finding is fixed."""
    return _FIXED.search(body) is not None


def has_key(body: str, effect_key: str) -> bool:
    """Whether a text was written by this very effect."""
    return _word(effect_key) in _KEY.findall(body)
