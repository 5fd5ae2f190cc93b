"""A reader for a small, safe part of YAML 1.2 that knows the place of every key and value.

Refused: more than 64 KiB, anything but UTF-8, aliases, anchors, tags, merge keys, several
documents, duplicate keys, keys that are not text, nesting beyond 16 and more than 5,000 values.
Only `true`, `false`, `null`, and plain decimal numbers are more than text, so that `on`, `no`,
`012`, `1:30` and `1_000` stay what they look like. Limits are checked while parsing, so a hostile
file costs no more than a large honest one.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

import yaml
from yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

from pipelines.config.diagnostics import shown

MAX_BYTES = 64 * 1024
MAX_DEPTH = 16
MAX_NODES = 5_000

Scalar = None | bool | int | float | str

_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]{0,17})")
_DECIMAL = re.compile(
    r"[-+]?((0|[1-9][0-9]{0,17})(\.[0-9]{1,30})?|\.[0-9]{1,30})([eE][-+]?[0-9]{1,2})?"
)
_WORDS: dict[str, bool | None] = {
    "": None,
    "~": None,
    **dict.fromkeys(("null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Mark:
    """A place in the text; line and column count from 1."""

    line: int = 1
    column: int = 1


class Unreadable(Exception):
    """The text is not YAML of the kind accepted here; the message is one sentence."""

    def __init__(self, message: str, mark: Mark) -> None:
        super().__init__(message)
        self.mark = mark


@dataclass(slots=True)
class Node:
    """A value with its place, and the places of its keys if it is a mapping."""

    mark: Mark
    value: "Scalar | dict[str, Node] | list[Node]"
    keys: dict[str, Mark] = field(default_factory=dict[str, Mark])

    def plain(self) -> object:
        """Return the value without places: dicts, tuples and scalars."""
        if isinstance(self.value, dict):
            return {key: node.plain() for key, node in self.value.items()}
        if isinstance(self.value, list):
            return tuple(node.plain() for node in self.value)
        return self.value

    def locate(self, place: tuple[int | str, ...]) -> Mark:
        """Return where a value is, or its key; steps that lead nowhere are passed over."""
        node, mark = self, self.mark
        for step in place:
            if isinstance(node.value, dict) and isinstance(step, str) and step in node.value:
                node, mark = node.value[step], node.keys[step]
            elif isinstance(node.value, list) and isinstance(step, int):
                node = node.value[step]
                mark = node.mark
        return mark


def read(source: str | bytes) -> Node | None:
    """Return the tree of a document, None if it is empty; raises Unreadable."""
    documents = read_all(source, at_most=1)
    return documents[0] if documents else None


def read_all(source: str | bytes, *, at_most: int) -> list[Node]:
    """Return the trees of a file's documents; raises Unreadable, also if there are more."""
    text = _decoded(source)
    try:
        return list(_Builder(_events(text)).documents(at_most))
    except yaml.MarkedYAMLError as error:
        raise _explained(error) from error
    except yaml.reader.ReaderError as error:
        message = "The file contains a character that YAML does not allow."
        raise Unreadable(message, _mark_at(text, int(error.position))) from error


def _decoded(source: str | bytes) -> str:
    data = source.encode("utf-8", "surrogatepass") if isinstance(source, str) else source
    if len(data) > MAX_BYTES:
        raise Unreadable(f"The file is larger than {MAX_BYTES // 1024} KiB.", Mark())
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise Unreadable("The file is UTF-16; save it as UTF-8.", Mark())
    try:
        text = data.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        before = data[: error.start].decode("utf-8", "replace")
        message = "The file is not UTF-8 text; save it as UTF-8."
        raise Unreadable(message, _mark_at(before, len(before))) from error
    return text


def _mark_at(text: str, index: int) -> Mark:
    before = text[:index]
    return Mark(before.count("\n") + 1, index - (before.rfind("\n") + 1) + 1)


def _mark(event: Event) -> Mark:
    start = event.start_mark
    return Mark() if start is None else Mark(start.line + 1, start.column + 1)


def _events(text: str) -> Iterator[Event]:
    """Return the parser's events, made lazily, so that a limit ends the work."""
    return yaml.parse(text, Loader=yaml.SafeLoader)


class _Builder:
    """Builds the tree from events and counts what it costs."""

    def __init__(self, events: Iterator[Event]) -> None:
        self._events = events
        self._nodes = 0

    def documents(self, at_most: int) -> Iterator[Node]:
        documents = 0
        for event in self._events:
            if isinstance(event, DocumentStartEvent):
                documents += 1
                if documents > at_most:
                    most = "one YAML document" if at_most == 1 else f"{at_most} YAML documents"
                    raise Unreadable(f"The file has more than {most}.", _mark(event))
                if event.tags:
                    raise Unreadable("YAML tags are not accepted here.", _mark(event))
                yield self._node(next(self._events), depth=1)

    def _node(self, event: Event, depth: int) -> Node:
        mark = _mark(event)
        self._nodes += 1
        if self._nodes > MAX_NODES:
            raise Unreadable(f"The file has more than {MAX_NODES:,} values.", mark)
        if depth > MAX_DEPTH:
            raise Unreadable(f"The file is nested more than {MAX_DEPTH} deep.", mark)
        _refuse_references(event, mark)
        if isinstance(event, MappingStartEvent):
            return self._mapping(mark, depth)
        if isinstance(event, SequenceStartEvent):
            return self._sequence(mark, depth)
        assert isinstance(event, ScalarEvent), "no other event begins a value"
        return Node(mark, _scalar(event, mark))

    def _mapping(self, mark: Mark, depth: int) -> Node:
        values: dict[str, Node] = {}
        keys: dict[str, Mark] = {}
        while not isinstance(event := next(self._events), MappingEndEvent):
            key, place = _key(event), _mark(event)
            if key in keys:
                first = keys[key].line
                raise Unreadable(f"The key `{shown(key)}` is already set on line {first}.", place)
            keys[key] = place
            values[key] = self._node(next(self._events), depth + 1)
        return Node(mark, values, keys)

    def _sequence(self, mark: Mark, depth: int) -> Node:
        items: list[Node] = []
        while not isinstance(event := next(self._events), SequenceEndEvent):
            items.append(self._node(event, depth + 1))
        return Node(mark, items)


def _refuse_references(event: Event, mark: Mark) -> None:
    if isinstance(event, AliasEvent):
        raise Unreadable("YAML aliases (`*name`) are not accepted here; repeat the value.", mark)
    if getattr(event, "anchor", None) is not None:
        raise Unreadable("YAML anchors (`&name`) are not accepted here; repeat the value.", mark)
    if getattr(event, "tag", None) is not None:
        raise Unreadable("YAML tags (`!name`) are not accepted here; write the plain value.", mark)


def _key(event: Event) -> str:
    mark = _mark(event)
    _refuse_references(event, mark)
    if not isinstance(event, ScalarEvent):
        raise Unreadable("A key must be plain text.", mark)
    if event.value == "<<" and event.style is None:
        raise Unreadable("YAML merge keys (`<<`) are not accepted here; repeat the values.", mark)
    _refuse_unprintable(event.value, mark)
    return event.value


def _refuse_unprintable(text: str, mark: Mark) -> None:
    if found := _UNPRINTABLE.search(text):
        code = f"U+{ord(found.group()):04X}"
        raise Unreadable(f"A text contains the control character {code}.", mark)


def _scalar(event: ScalarEvent, mark: Mark) -> Scalar:
    text = event.value
    _refuse_unprintable(text, mark)
    if event.style is not None:
        return text
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    if _DECIMAL.fullmatch(text):
        return float(text)
    return text


def _explained(error: yaml.MarkedYAMLError) -> Unreadable:
    """Turn the parser's complaint into a sentence with the place it is about."""
    place = error.problem_mark or error.context_mark
    mark = Mark(place.line + 1, place.column + 1) if place else Mark()
    problem = error.problem or error.context or "it cannot be parsed"
    if "'\\t'" in problem:
        return Unreadable("Tabs cannot indent YAML; use spaces.", mark)
    return Unreadable(f"This is not valid YAML: {shown(problem, 120)}.", mark)
