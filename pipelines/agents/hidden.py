"""Characters that a reader does not see but a model or a compiler does.

Sources: Unicode's Default_Ignorable_Code_Point, and "Trojan Source" (CVE-2021-42574) for the
bidirectional controls. Joiners and variation selectors are let through where scripts and emoji
need them, so that ordinary text in any language stays as it is.
"""

import re
import unicodedata
from functools import lru_cache

_JOINERS = frozenset("\u200c\u200d")
_JOINING_SCRIPTS = (
    "ARABIC", "SYRIAC", "NKO", "MANDAIC", "MONGOLIAN", "DEVANAGARI", "BENGALI", "GURMUKHI",
    "GUJARATI", "ORIYA", "TAMIL", "TELUGU", "KANNADA", "MALAYALAM", "SINHALA", "KHMER", "MYANMAR",
    "TIBETAN", "BALINESE", "JAVANESE", "THAI", "LAO",
)  # fmt: skip
_EMOJI_BASES = frozenset("#*0123456789\u203c\u2049\u3030\u303d")
_OTHER_INVISIBLE = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2028\u2029\u2065\u2800\u3164\uffa0")
_VISIBLE_FORMATS = frozenset("\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u070f\u0890\u0891\u08e2")
_SUSPECT = re.compile(r"[^\t\n\f\r -~]")
_HTML_COMMENT = re.compile(r"<!--.*?(?:-->|\Z)", re.DOTALL)


def find_hidden(text: str) -> list[int]:
    """Return the positions of characters that are invisible and not needed where they stand."""
    return [m.start() for m in _SUSPECT.finditer(text) if _is_hidden(text, m.start())]


def strip_hidden(text: str) -> tuple[str, int]:
    """Return the text without its hidden characters, and how many were taken out."""
    positions = set(find_hidden(text))
    if not positions:
        return text, 0
    return "".join(c for i, c in enumerate(text) if i not in positions), len(positions)


def strip_comments(markdown: str) -> tuple[str, int]:
    """Return the text without HTML comments, which GitHub does not render, and their number."""
    return _HTML_COMMENT.subn("", markdown)


def describe(character: str) -> str:
    """Return the code point and the name, for example ``U+202E RIGHT-TO-LEFT OVERRIDE``."""
    name = unicodedata.name(character, "unnamed")
    return f"U+{ord(character):04X} {name}"


def _is_hidden(text: str, index: int) -> bool:
    character = text[index]
    if character in _JOINERS:
        return not _joins(text, index)
    if _is_selector(character):
        return not _selects(text, index)
    return _is_invisible(character)


@lru_cache(maxsize=4096)
def _is_invisible(character: str) -> bool:
    code = ord(character)
    if 0xE0000 <= code <= 0xE0FFF or 0xFFF0 <= code <= 0xFFF8 or character in _OTHER_INVISIBLE:
        return True
    if character in _VISIBLE_FORMATS or code in (0x110BD, 0x110CD) or 0x13430 <= code <= 0x1345F:
        return False
    category = unicodedata.category(character)
    return category == "Cf" or (category == "Cc" and character not in "\t\n\r\f")


def _is_selector(character: str) -> bool:
    return "\ufe00" <= character <= "\ufe0f" or "\u180b" <= character <= "\u180f"


def _selects(text: str, index: int) -> bool:
    """Whether a variation selector follows something that has variants."""
    before = text[index - 1] if index else ""
    if not before:
        return False
    if not "\ufe00" <= text[index] <= "\ufe0f":
        return text[index] != "\u180e" and _script(before) == "MONGOLIAN"
    is_emoji = before in _EMOJI_BASES or unicodedata.category(before) in ("So", "Sm", "Sk")
    return text[index] in "\ufe0e\ufe0f" and is_emoji and before != "\u2800"


def _joins(text: str, index: int) -> bool:
    """Whether a joiner stands between letters or emoji that it can join."""
    before, after = text[max(0, index - 1) : index], text[index + 1 : index + 2]
    if not before or not after:
        return False
    if text[index] == "\u200d" and unicodedata.category(after) == "So":
        return unicodedata.category(before) in ("So", "Sk") or before == "\ufe0f"
    return _script(before) in _JOINING_SCRIPTS and _script(after) in _JOINING_SCRIPTS


@lru_cache(maxsize=4096)
def _script(character: str) -> str:
    return unicodedata.name(character, "").split(" ")[0]
