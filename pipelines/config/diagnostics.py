"""What is wrong with a file, and where: one clear sentence a mistake."""

import difflib
from collections.abc import Iterable

from pipelines.model import Frozen


class Diagnostic(Frozen):
    """One mistake in a configuration file; line and column count from 1."""

    path: str
    line: int
    column: int
    message: str
    suggestion: str | None = None
    """What was probably meant, ready to be typed in."""

    def __str__(self) -> str:
        """Return ``path:line:column: message``, with the suggestion as a question."""
        hint = f" Did you mean `{self.suggestion}`?" if self.suggestion else ""
        return f"{self.path}:{self.line}:{self.column}: {self.message}{hint}"


def nearest(word: str, known: Iterable[str]) -> str | None:
    """Return the known word that somebody who typed ``word`` most probably meant, if any."""
    lower = word[:100].lower()
    by_lower = {name.lower(): name for name in known}
    if lower in by_lower:
        return by_lower[lower]
    close = difflib.get_close_matches(lower, by_lower, n=1, cutoff=0.6)
    if not close:
        return None
    return by_lower[close[0]]


def shown(word: object, limit: int = 40) -> str:
    """Return a stranger's text fit for a message: on one line, printable and short."""
    text = "".join(
        c if c.isprintable() and c != "`" else "\N{REPLACEMENT CHARACTER}"
        for c in str(word)[: limit + 1]
    )
    return text if len(text) <= limit else text[: limit - 1] + "…"
