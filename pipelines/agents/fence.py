"""Wraps strangers' text so that a model can tell it from what it is asked to do."""

import re

from pipelines.agents.hidden import strip_hidden
from pipelines.ports import Rng
from pipelines.redaction import redact

_LOOK_ALIKE = re.compile(r"<<<(?=\s*DATA)|(?<=DATA)(\s*)>>>", re.IGNORECASE)


class Fence:
    """Delimiters with a random word that whoever wrote the text could not know."""

    def __init__(self, rng: Rng) -> None:
        self._word = f"{rng.getrandbits(128):032x}"

    @property
    def announcement(self) -> str:
        """The sentence that tells the model the word; it goes before the first block."""
        return f"The id of every data block in this message is {self._word}.\n\n"

    def block(self, kind: str, text: str) -> str:
        """Return text that was made presentable as one block of data; delimiters are defused."""
        safe = _LOOK_ALIKE.sub(_defuse, text).replace(self._word, "")
        return f"<<<DATA {self._word} {kind}\n{safe}\n{self._word} DATA>>>\n\n"


def presentable(text: str) -> str:
    """Return strangers' text without hidden characters, then without secrets.

    In this order, because a hidden character inside a secret keeps it from being recognised.
    """
    return redact(strip_hidden(text)[0])[0]


def one_line(text: str, limit: int) -> str:
    """Return strangers' text as one presentable line, cut with an ellipsis at the limit."""
    line = " ".join(presentable(text).split())
    return line if len(line) <= limit else f"{line[: limit - 1].rstrip()}…"


def _defuse(match: re.Match[str]) -> str:
    return match.group().replace("<<<", "((( ").replace(">>>", " )))")
