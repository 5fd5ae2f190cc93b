"""Commit messages: plain text in which nothing of a stranger's takes effect on GitHub.

In a commit message GitHub acts on names, on "fixes #1", on trailers and on words that skip checks.
"""

import re

from bot.reporting.render import clean, plain

MAX_HEADLINE = 100
MAX_TITLE = 250
_MENTION = re.compile(r"@(?=\w)")
_CLOSING = re.compile(
    r"\b(close[sd]?|fix(?:e[sd])?|resolve[sd]?)(:?\s+)(?=[\w./-]*#\d|GH-\d|https?://)",
    re.IGNORECASE,
)
_SKIPPING = re.compile(
    r"\[\s*(?:skip[ -]ci|ci[ -]skip|no[ -]ci|skip[ -]actions|actions[ -]skip)\s*\]|"
    r"\bskip-checks\s*:\s*true\b",
    re.IGNORECASE,
)
_TRAILER = re.compile(r"^\s*(?:[\w-]+-by|conductor-[\w-]+)\s*:.*$", re.IGNORECASE | re.MULTILINE)
_GAP = re.compile(r"\n{3,}")


def headline(text: str) -> str:
    """Return the first line of a commit message."""
    return plain(_tamed(text), MAX_HEADLINE) or "Change files"


def pull_title(text: str) -> str:
    """Return the title of a pull request, which becomes part of a commit's message at its merge."""
    return plain(_tamed(text), MAX_TITLE) or "Changes by Conductor"


def commit_text(text: str) -> str:
    """Return what follows the first line, without trailers: those are Conductor's to write."""
    return _GAP.sub("\n\n", _TRAILER.sub("", _tamed(clean(text)))).strip()


def _tamed(text: str) -> str:
    text = _CLOSING.sub(r"\1\2issue ", _SKIPPING.sub("", text))
    return _MENTION.sub("(at)", text)
