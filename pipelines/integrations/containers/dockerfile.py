"""Reads a Dockerfile into its instructions; nothing of it is run.

Source: the Dockerfile reference (parser directives, continuations, heredocs, stages).
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

MAX_INSTRUCTIONS = 500
_DIRECTIVE = re.compile(r"#\s*([a-z]+)\s*=\s*(\S+)\s*", re.IGNORECASE)
_INSTRUCTION = re.compile(r"\s*([A-Za-z]+)(?:\s+(.*))?", re.DOTALL)
_HEREDOC = re.compile(r"<<-?\s*[\"']?([A-Za-z_]\w*)[\"']?")
_VARIABLE = re.compile(r"\$(?:\{([A-Za-z_]\w*)(?::?[-+]([^}]*))?\}|([A-Za-z_]\w*))")
_FLAG = re.compile(r"--([a-z-]+)(?:=(\S*))?\s+")
_ASSIGNED = re.compile(r"([A-Za-z_]\w*)=(\"[^\"]*\"|'[^']*'|\S*)")
KNOWN = frozenset(
    {
        "FROM", "RUN", "CMD", "LABEL", "MAINTAINER", "EXPOSE", "ENV", "ADD", "COPY", "ENTRYPOINT",
        "VOLUME", "USER", "WORKDIR", "ARG", "ONBUILD", "STOPSIGNAL", "HEALTHCHECK", "SHELL",
    }
)  # fmt: skip


class NoDockerfile(Exception):
    """The text is no Dockerfile; the message is one sentence."""

    def __init__(self, message: str, line: int) -> None:
        super().__init__(message)
        self.line = line


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction; ``rest`` has its continuations joined, and heredocs as they stand."""

    name: str
    rest: str
    line: int

    @property
    def flags(self) -> Mapping[str, str]:
        """The ``--name=value`` in front of the arguments."""
        return dict(_split_flags(self.rest)[0])

    @property
    def arguments(self) -> str:
        """What follows the flags."""
        return _split_flags(self.rest)[1]

    @property
    def words(self) -> tuple[str, ...]:
        """The arguments one by one; those of the JSON form without quotes."""
        return self.exec_form if self.exec_form is not None else tuple(self.arguments.split())

    @property
    def exec_form(self) -> tuple[str, ...] | None:
        """The arguments as a JSON list, None if they are none."""
        try:
            value: object = json.loads(self.arguments)
        except (ValueError, RecursionError):
            return None
        if not isinstance(value, list):
            return None
        return tuple(str(each) for each in value)  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]

    @property
    def assignments(self) -> Mapping[str, str]:
        """The variables that ENV, ARG or LABEL sets; an ARG without a value is empty."""
        pairs = {name: value.strip("\"'") for name, value in _ASSIGNED.findall(self.rest)}
        first, _, value = self.rest.strip().partition(" ")
        if not pairs and re.fullmatch(r"[A-Za-z_]\w*", first):
            pairs[first] = value.strip()
        return pairs


@dataclass(frozen=True, slots=True)
class Stage:
    """One ``FROM`` and what follows it."""

    base: str
    """The image with build arguments filled in, as far as they have defaults."""
    name: str
    line: int
    instructions: tuple[Instruction, ...]


@dataclass(frozen=True, slots=True)
class Dockerfile:
    """A whole file."""

    directives: Mapping[str, str]
    instructions: tuple[Instruction, ...]
    stages: tuple[Stage, ...]


def read(text: str) -> Dockerfile:
    """Return a file's instructions and stages; raises NoDockerfile."""
    lines = text.replace("\r\n", "\n").split("\n")
    directives = dict(_directives(lines))
    found = tuple(_instructions(lines, directives.get("escape", "\\")))
    return Dockerfile(directives, found, tuple(_stages(found)))


def images_of(text: str) -> tuple[str, ...]:
    """Return the images that a build would begin with or copy from; raises NoDockerfile."""
    file = read(text)
    known = {"scratch"}
    found: dict[str, None] = {}
    for number, stage in enumerate(file.stages):
        copied = (
            each.flags["from"]
            for each in stage.instructions
            if each.name in ("COPY", "ADD") and each.flags.get("from")
        )
        known |= {str(number)}
        found |= dict.fromkeys(i for i in (stage.base, *copied) if i.lower() not in known)
        known |= {stage.name} - {""}
    return tuple(found)


def _directives(lines: Sequence[str]) -> Iterator[tuple[str, str]]:
    for line in lines:
        match = _DIRECTIVE.fullmatch(line.strip())
        if match is None:
            return
        yield match[1].lower(), match[2]


def _instructions(lines: Sequence[str], escape: str) -> Iterator[Instruction]:
    number = count = 0
    while number < len(lines):
        start = number
        if not lines[number].strip() or lines[number].lstrip().startswith("#"):
            number += 1
            continue
        joined, number = _joined(lines, number, escape)
        match = _INSTRUCTION.fullmatch(joined)
        name = match[1].upper() if match else ""
        if match is None or name not in KNOWN:
            raise NoDockerfile("The line is no instruction of a Dockerfile.", start + 1)
        rest = match[2] or ""
        if name in ("RUN", "COPY", "ADD"):
            body, number = _heredocs(rest, lines, number)
            rest += body
        count += 1
        if count > MAX_INSTRUCTIONS:
            raise NoDockerfile(f"It has more than {MAX_INSTRUCTIONS} instructions.", start + 1)
        yield Instruction(name, rest.strip(), start + 1)


def _joined(lines: Sequence[str], number: int, escape: str) -> tuple[str, int]:
    """Return a line with its continuations, and the number of the line after them."""
    parts: list[str] = []
    while number < len(lines):
        line = lines[number].rstrip()
        number += 1
        if parts and (not line or line.lstrip().startswith("#")):
            continue
        if not line.endswith(escape):
            parts.append(line)
            break
        parts.append(line[: -len(escape)])
    return " ".join(parts), number


def _heredocs(rest: str, lines: Sequence[str], number: int) -> tuple[str, int]:
    body: list[str] = []
    for word in _HEREDOC.findall(rest):
        while number < len(lines) and lines[number].strip("\t ") != word:
            body.append(lines[number])
            number += 1
        if number >= len(lines):
            raise NoDockerfile("A here-document has no end.", number)
        number += 1
    return ("\n" + "\n".join(body) if body else ""), number


def _stages(instructions: Sequence[Instruction]) -> Iterator[Stage]:
    defaults: dict[str, str] = {}
    froms = [i for i, each in enumerate(instructions) if each.name == "FROM"]
    for each in instructions[: froms[0] if froms else None]:
        if each.name != "ARG":
            raise NoDockerfile("Only ARG may stand before the first FROM.", each.line)
        defaults.update(each.assignments)
    if not froms:
        raise NoDockerfile("It has no FROM.", 1)
    for start, end in zip(froms, (*froms[1:], len(instructions)), strict=True):
        head = instructions[start]
        words = head.words
        if not words or len(words) not in (1, 3) or (len(words) == 3 and words[1].upper() != "AS"):
            raise NoDockerfile("FROM takes an image, and a name after AS.", head.line)
        name = words[2].lower() if len(words) == 3 else ""
        base = _filled(words[0], defaults)
        yield Stage(base, name, head.line, tuple(instructions[start + 1 : end]))


def _filled(image: str, defaults: Mapping[str, str]) -> str:
    def value(match: re.Match[str]) -> str:
        return defaults.get(match[1] or match[3]) or match[2] or match[0]

    return _VARIABLE.sub(value, image)


def _split_flags(rest: str) -> tuple[list[tuple[str, str]], str]:
    flags: list[tuple[str, str]] = []
    while match := _FLAG.match(rest):
        flags.append((match[1], match[2] or ""))
        rest = rest[match.end() :]
    return flags, rest
