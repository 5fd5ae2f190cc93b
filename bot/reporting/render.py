"""Text that people or models wrote, made into Markdown that says it and does nothing else.

Model text never decides the structure of what is posted: it may use paragraphs, bullets, bold,
code spans and code blocks; everything else is shown as typed. Whatever GitHub would make live
(mentions, references, addresses, images, math, HTML) ends up inside a code span.
"""

import re
from collections.abc import Callable, Iterable
from textwrap import dedent

MAX_BODY_BYTES = 65_535
MAX_LINE = 2000
"""GitHub's limit on a comment, a review and a check's summary."""
CUT = "…"

_INVISIBLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b-\u200f\u202a-\u202e"
    "\u2060-\u206f\ufeff\ufff9-\ufffb\U000e0000-\U000e007f]"
)
_MARKER = re.compile(r"<!--(?=\s*conductor:)", re.IGNORECASE)
_SURROGATE = re.compile("[\ud800-\udfff]")
_NEWLINE = re.compile("\r\n|\r|\x85|\u2028|\u2029|\x0b|\x0c")
_LIVE = re.compile(
    r"@|://|www\.|#\w|GH-\d|\$|\]\(|mailto:|xmpp:|javascript:|data:|&#?\w+;", re.IGNORECASE
)
_LINK = re.compile(r"!?\[([^\[\]\n]*)\]\(([^()\n]*)\)")
_SPAN = re.compile(r"(?<!`)(`+)(?!`)(.+?)(?<!`)\1(?!`)")
_BOLD = re.compile(r"\*\*([^\s*](?:[^*\n]{0,300}[^\s*])?)\*\*")
_BULLET = re.compile(r"^\s*[-*+]\s+(?=\S)")
_NUMBERED = re.compile(r"^(\d{1,9})([.)])(?=\s|$)")
_INDENTED = re.compile(r"(?:(?<=\n\n)|\A)(?: {4}.*(?:\n|\Z))+")
_FENCE = re.compile(r"^ {0,3}(`{3,}|~{3,})\s*([^`\n]*)$")
_COMMAND = re.compile(r"^(\s*)/(?=[A-Za-z])", re.MULTILINE)
_INFO = re.compile(r"[a-z0-9+#-]{1,20}")
_LIVE_BLOCKS = frozenset({"math", "mermaid", "geojson", "topojson", "stl", "suggestion"})
_ACTIVE = re.compile(r"([\\`*_\[\]<>&~|!#^{}])")
_PARTING = re.compile(r"(\s+)")
_PARTING_IN_OUR_OWN = re.compile(r"(\s+|\|)")
_ACTIVE_IN_OUR_OWN = re.compile(r"([\\`\[\]<&~!^{}])")


def clean(text: str) -> str:
    """Return text without control, direction and invisible characters; lines end in LF.

    What looks like one of Conductor's own markers is broken: in its own text it would count.
    """
    visible = _INVISIBLE.sub("", _NEWLINE.sub("\n", text.replace("\t", "    ")))
    visible = _MARKER.sub("<! --", visible)
    return _SURROGATE.sub("\N{REPLACEMENT CHARACTER}", visible)


def shortened(text: str, limit: int) -> str:
    """Return at most ``limit`` characters, the last of them an ellipsis if something was cut."""
    return text if len(text) <= limit else text[: limit - 1].rstrip() + CUT


def truncated(text: str, limit: int) -> str:
    """Return at most ``limit`` bytes of UTF-8, cut between two characters."""
    raw = text.encode("utf-8", "replace")
    if len(raw) <= limit:
        return text
    return raw[: limit - len(CUT.encode())].decode("utf-8", "ignore") + CUT


def plain(text: str, limit: int) -> str:
    """Return one line of plain text, for places where GitHub renders no Markdown."""
    return shortened(" ".join(clean(text).split()), limit)


def code_span(text: str) -> str:
    """Return text as a code span that it cannot leave."""
    flat = " ".join(clean(text).split())
    if not flat:
        return ""
    ticks = "`" * (_longest_run(flat, "`") + 1)
    pad = " " if flat[0] == "`" or flat[-1] == "`" else ""
    return f"{ticks}{pad}{flat}{pad}{ticks}"


def fence(text: str, info: str = "") -> str:
    """Return text as a code block that it cannot leave; no line of it looks like a command."""
    shown = _COMMAND.sub(r"\1 /", clean(text).strip("\n"))
    ticks = "`" * max(3, _longest_run(shown, "`") + 1)
    name = info.strip().lower()
    known = name if _INFO.fullmatch(name) and name not in _LIVE_BLOCKS else ""
    return f"{ticks}{known}\n{shown}\n{ticks}"


def suggestion(text: str) -> str | None:
    """Return GitHub's suggestion block; None if the text cannot be shown there as it is."""
    if clean(text.replace("\t", "")) != text.replace("\t", "") or _COMMAND.search(text):
        return None
    ticks = "`" * max(3, _longest_run(text, "`") + 1)
    body = text if text.endswith("\n") or not text else f"{text}\n"
    return f"{ticks}suggestion\n{body}{ticks}"


def line(text: str, limit: int = 200) -> str:
    """Return one line of somebody's text as Markdown."""
    return _tame(_spans(shortened(" ".join(clean(text).split()), limit), _ACTIVE, _words))


def prose(text: str, limit: int = 4000) -> str:
    """Return somebody's paragraphs as Markdown."""
    return "\n".join(_lines(shortened(clean(text), limit), _ACTIVE))


def own_markdown(text: str, *, may_mention: str = "") -> str:
    """Return Conductor's own Markdown with whatever slipped into it made harmless.

    Tables, lists, quotes and emphasis stay; ``may_mention`` may be addressed once.
    """
    address = f"@{may_mention}"
    indented = _INDENTED.sub(lambda match: f"\n{fence(dedent(match[0]))}\n", clean(text))
    rendered = "\n".join(_lines(indented, _ACTIVE_IN_OUR_OWN))
    live = re.compile(rf"`{re.escape(address)}([:,.]?)`(?!`)")
    return live.sub(rf"{address}\1", rendered, count=1) if may_mention else rendered


def fit(blocks: Iterable[str], tail: str, limit: int = MAX_BODY_BYTES) -> str:
    """Return the blocks, parted by empty lines, as far as they fit whole, and always the tail."""
    room = limit - len(tail.encode()) - 120
    kept, left = list[str](), 0
    for block in blocks:
        size = len(block.encode()) + 2
        if left or size > room:
            left += 1
            continue
        room -= size
        kept.append(block)
    if left:
        kept.append(f"{left} more parts did not fit here; the run's page has them all.")
    return "\n\n".join([*kept, tail] if tail else kept)


def _longest_run(text: str, character: str) -> int:
    return max((len(run) for run in re.findall(f"{re.escape(character)}+", text)), default=0)


def _lines(text: str, active: re.Pattern[str]) -> list[str]:
    """Return rendered lines; code blocks are kept as such, also one that is never closed."""
    done = list[str]()
    block: list[str] | None = None
    opener = info = ""
    for raw in text.split("\n"):
        match = _FENCE.match(raw)
        if block is None and match:
            block, opener, info = [], match[1], match[2]
        elif block is None:
            done.append(_text_line(raw, active))
        elif match and match[1].startswith(opener) and not match[2].strip():
            done += ["", fence("\n".join(block), info), ""]
            block = None
        else:
            block.append(raw)
    if block is not None:
        done += ["", fence("\n".join(block), info), ""]
    return done


def _text_line(raw: str, active: re.Pattern[str]) -> str:
    """Return one line outside code: no indentation, and at its start only a bullet counts."""
    if active is _ACTIVE_IN_OUR_OWN:
        return _COMMAND.sub(r"\1\\/", _line(raw.strip(), active))
    bullet = _BULLET.match(raw)
    rest = _line(raw[bullet.end() :] if bullet else raw.strip(), active)
    return f"- {_tame(rest)}" if bullet else _tame(rest)


def _tame(rest: str) -> str:
    """Return a line whose start begins no list, rule, heading or command."""
    rest = _NUMBERED.sub(r"\1\\\2", rest)
    return f"\\{rest}" if rest[:1] in ("-", "+", "=", "/", ":") else rest


def _line(text: str, active: re.Pattern[str]) -> str:
    return _spans(shortened(text, MAX_LINE), active, _bold)


def _spans(
    text: str, active: re.Pattern[str], between: Callable[[str, re.Pattern[str]], str]
) -> str:
    """Return one line with its code spans kept and the rest rendered by ``between``."""
    text = _LINK.sub(lambda match: f"{match[1]} ({match[2]})", text)
    parts, position = list[str](), 0
    for match in _SPAN.finditer(text):
        parts += [between(text[position : match.start()], active), _kept(match[2], active)]
        position = match.end()
    return _joined([*parts, between(text[position:], active)])


def _kept(code: str, active: re.Pattern[str]) -> str:
    """Return a code span; where tables are allowed a bar would end it, so it becomes a likeness."""
    bar = "\N{BOX DRAWINGS LIGHT VERTICAL}" if active is _ACTIVE_IN_OUR_OWN else "|"
    return code_span(code.replace("|", bar))


def _bold(text: str, active: re.Pattern[str]) -> str:
    parts, position = list[str](), 0
    for match in _BOLD.finditer(text):
        parts += [_words(text[position : match.start()], active)]
        parts += [f"**{_words(match[1], active)}**"]
        position = match.end()
    return _joined([*parts, _words(text[position:], active)])


def _words(text: str, active: re.Pattern[str]) -> str:
    parting = _PARTING_IN_OUR_OWN if active is _ACTIVE_IN_OUR_OWN else _PARTING
    return _joined(
        code_span(piece) if _LIVE.search(piece) else active.sub(r"\\\1", piece)
        for piece in parting.split(text)
    )


def _joined(parts: Iterable[str]) -> str:
    """Return the parts in a row; two code spans that meet are parted, or they would be one."""
    whole = ""
    for part in parts:
        gap = " " if whole.endswith("`") and part.startswith("`") else ""
        whole += gap + part
    return whole
