"""What is wrong with a file that builds or ships, as one sentence with its line."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from pipelines.agents.fence import presentable

Level = Literal["error", "warning", "note"]
_MAX_SHOWN = 120

SECRET_KEY = re.compile(r"password|passwd|secret|token|api_?key|private_?key", re.IGNORECASE)
"""What the name of a variable says that holds a secret."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One finding: an error is never proposed, a warning is worth a repair, a note is only said."""

    level: Level
    text: str
    line: int = 0
    """1-based; 0 for the file as a whole."""

    def __str__(self) -> str:
        """Return the sentence, with its line in front."""
        return f"line {self.line}: {self.text}" if self.line else self.text


def error(text: str, line: int = 0) -> Problem:
    """Return what keeps a file from being proposed."""
    return Problem("error", text, line)


def warning(text: str, line: int = 0) -> Problem:
    """Return what the model is asked to mend, and people are told if it does not."""
    return Problem("warning", text, line)


def note(text: str, line: int = 0) -> Problem:
    """Return what people should know."""
    return Problem("note", text, line)


def errors(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    """Return those that keep a file from being proposed."""
    return tuple(problem for problem in problems if problem.level == "error")


def code(text: str) -> str:
    """Return a stranger's word in code marks: one line, short, nothing hidden or secret in it."""
    line = " ".join(presentable(text[: 4 * _MAX_SHOWN]).split()).replace("`", "")
    return f"`{line if len(line) <= _MAX_SHOWN else line[: _MAX_SHOWN - 1] + '…'}`"
