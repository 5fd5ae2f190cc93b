"""How a command is written: ``/conductor VERB …`` or ``@APP VERB …`` at the start of a line.

What a reader of the rendered comment would not take for a command is none: code, quotes, lists,
links and comments are left alone. Markdown itself decides what is what.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.token import Token

from pipelines.model import Frozen

MAX_TEXT = 65_536
MAX_PARAGRAPH = 4_096
MAX_COMMANDS = 10
MAX_ARGUMENTS = 50

_OPEN, _CLOSE = "\ue000", "\ue001"
"""Private-use characters that mark the start of a candidate line while Markdown is parsed."""

_MARKED = re.compile(f"{_OPEN}([0-9]+){_CLOSE}")
_MARKDOWN = MarkdownIt("commonmark").disable(["inline", "text_join"])
_INLINE = MarkdownIt("commonmark")
_BREAKS = frozenset({"softbreak", "hardbreak"})


class ParsedCommand(Frozen):
    """One command of a comment; ``line`` counts from 1."""

    verb: str
    """In lower case, as typed: whether there is such a verb is for the table to say."""
    arguments: tuple[str, ...] = ()
    line: int


def parse(text: str, slug: str) -> tuple[ParsedCommand, ...]:
    """Return the commands of a comment in order; ``slug`` is the App's name in mentions."""
    source = text[:MAX_TEXT].replace(_OPEN, "").replace(_CLOSE, "").replace("\r\n", "\n")
    lines = re.split(r"[\n\r]", source)
    address = _address(slug)
    candidates = {i: match for i, line in enumerate(lines) if (match := address.fullmatch(line))}
    if not candidates:
        return ()
    marked = [f"{_OPEN}{i}{_CLOSE}{x}" if i in candidates else x for i, x in enumerate(lines)]
    started = _line_starts("\n".join(marked))
    return tuple(_command(i + 1, candidates[i]["rest"]) for i in list(started)[:MAX_COMMANDS])


def _address(slug: str) -> re.Pattern[str]:
    """Return what a whole command line looks like; the rest of it is the command."""
    name = rf"/conductor|@{re.escape(slug)}(?:\[bot\])?[,:]?"
    rest = r"(?:[ \t]+(?P<rest>.*))?"
    return re.compile(rf" {{0,3}}(?:{name}){rest}", re.IGNORECASE | re.DOTALL)


def _line_starts(marked: str) -> Iterator[int]:
    """Yield the numbers of the marks that are plain text at the start of a line of a paragraph.

    Only paragraphs with a mark are parsed to their last character, and none of a length that no
    paragraph with a command has: the parser takes quadratic time over hostile ones.
    """
    references: dict[str, Any] = {}
    for token in _MARKDOWN.parse(marked, references):
        text = token.content
        top = token.type == "inline" and token.level == 1
        if top and _OPEN in text and len(text) <= MAX_PARAGRAPH:
            (parsed,) = _INLINE.parseInline(text, references)
            yield from _plain_marks(parsed.children or ())


def _plain_marks(children: Sequence[Token]) -> Iterator[int]:
    previous: Token | None = None
    for child in children:
        fresh = previous is None or previous.type in _BREAKS
        match = _MARKED.match(child.content) if child.type == "text" else None
        if fresh and match and child.level == 0:
            yield int(match[1])
        previous = child


def _command(line: int, rest: str | None) -> ParsedCommand:
    """Read verb and arguments; nothing at all is a call for help."""
    words = [_clean(word) for word in (rest or "").split()[: MAX_ARGUMENTS + 1]]
    verb, *arguments = [word for word in words if word] or ["help"]
    return ParsedCommand(verb=verb.lower()[:40], arguments=tuple(arguments), line=line)


def _clean(word: str) -> str:
    """Drop what cannot be seen: control, format and private characters."""
    return "".join(character for character in word if character.isprintable())
