"""Regular expressions of a simple kind: characters and classes in a row, each with a count.

A stranger's expression is never given to ``re``, where it could take for ever: what is not of this
kind is refused, and matching one of this kind takes time linear in the text for each place.
"""

import random
import string
from dataclasses import dataclass

from pipelines.errors import ConductorError

MAX_LENGTH = 200
_MAX_COUNT = 64
_OPEN_COUNT = 8
_CLASSES = {
    "d": string.digits,
    "w": string.ascii_letters + string.digits + "_",
    "s": " ",
}
_ANY = string.ascii_letters + string.digits
_SPECIAL = "()|*+?{}"


class Unsupported(ConductorError):
    """An expression that is not of the simple kind."""


@dataclass(frozen=True, slots=True)
class Part:
    """Characters of which at least ``least`` and at most ``most`` stand here."""

    characters: str
    least: int
    most: int


def parse(pattern: str) -> tuple[Part, ...]:
    """Return the parts of an expression; raises Unsupported."""
    if len(pattern) > MAX_LENGTH:
        raise Unsupported(f"the pattern has more than {MAX_LENGTH} characters")
    text = pattern.removeprefix("^")
    text = text[:-1] if text.endswith("$") and not text.endswith("\\$") else text
    parts: list[Part] = []
    index = 0
    while index < len(text):
        characters, index = _characters(text, index)
        least, most, index = _count(text, index)
        parts.append(Part(characters, least, most))
    return tuple(parts)


def sample(parts: tuple[Part, ...], rng: random.Random, *, shortest: bool = False) -> str:
    """Return a text that the expression matches as a whole."""
    counts = [p.least if shortest else rng.randint(p.least, p.most) for p in parts]
    drawn = zip(parts, counts, strict=True)
    return "".join(rng.choice(part.characters) for part, count in drawn for _ in range(count))


def matches(parts: tuple[Part, ...], text: str) -> bool:
    """Whether the parts, in a row, are the whole text."""
    reached = {0}
    for part in parts:
        after = set[int]()
        for start in reached:
            run = 0
            if part.least == 0:
                after.add(start)
            while run < part.most and start + run < len(text):
                if text[start + run] not in part.characters:
                    break
                run += 1
                if run >= part.least:
                    after.add(start + run)
        reached = after
    return len(text) in reached


def _characters(text: str, index: int) -> tuple[str, int]:
    character = text[index]
    if character == "[":
        return _set(text, index + 1)
    if character == "\\":
        following = text[index + 1 : index + 2]
        if following in _CLASSES:
            return _CLASSES[following], index + 2
        if following and not following.isalnum():
            return following, index + 2
        raise Unsupported("the pattern uses an escape that is not understood")
    if character in _SPECIAL or character in "^$":
        raise Unsupported("the pattern uses groups, alternatives or anchors inside")
    return (_ANY if character == "." else character), index + 1


def _set(text: str, index: int) -> tuple[str, int]:
    end = text.find("]", index + 1)
    body = text[index:end] if end > 0 else "^"
    if body.startswith("^"):
        raise Unsupported("the pattern uses a class that is not understood")
    found: list[str] = []
    position = 0
    while position < len(body):
        if body[position] == "\\" and position + 1 < len(body):
            following = body[position + 1]
            found.append(_CLASSES.get(following, following))
            position += 2
        elif body[position + 1 : position + 2] == "-" and position + 2 < len(body):
            first, last = ord(body[position]), ord(body[position + 2])
            if not first <= last <= first + 200:
                raise Unsupported("the pattern uses a range that is not understood")
            found.append("".join(map(chr, range(first, last + 1))))
            position += 3
        else:
            found.append(body[position])
            position += 1
    return "".join(found), end + 1


def _count(text: str, index: int) -> tuple[int, int, int]:
    character = text[index : index + 1]
    open_ended = {"*": (0, _OPEN_COUNT), "+": (1, _OPEN_COUNT), "?": (0, 1)}
    if character in open_ended:
        least, most = open_ended[character]
        return least, most, index + 1
    if character != "{":
        return 1, 1, index
    end = text.find("}", index)
    low, comma, high = text[index + 1 : end].partition(",")
    if end < 0 or not low.isdecimal() or not (high.isdecimal() or not high):
        raise Unsupported("the pattern uses a count that is not understood")
    least = int(low[:4])
    most = int(high[:4]) if high else (least + _OPEN_COUNT if comma else least)
    if not least <= most <= _MAX_COUNT:
        raise Unsupported(f"the pattern repeats more than {_MAX_COUNT} times")
    return least, most, end + 1
