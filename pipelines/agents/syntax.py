"""Whether a text is of the language that its name says, for a few that need no tool."""

import ast
import json
import tomllib
import warnings
from collections.abc import Callable, Mapping
from pathlib import PurePosixPath

import yaml

MAX_CHARACTERS = 256 * 1024
"""Longer texts are not judged."""
_WITH_COMMENTS = (
    "tsconfig", "jsconfig", "devcontainer", "settings", "launch", "tasks", ".eslintrc",
)  # fmt: skip
"""JSON that its own readers allow comments in, by the start of its name."""
_TEMPLATE = ("{{", "{%")
_BROKEN = (SyntaxError, ValueError, yaml.YAMLError, RecursionError, MemoryError)


def parses_as_python(text: str) -> bool:
    """Whether this version of Python parses it; nothing of it is run."""
    try:
        _python(text)
    except _BROKEN:
        return False
    return True


def fault(path: str, text: str) -> str:
    """Return what is wrong with a text, as half a sentence; empty if it is fine or not judged.

    Judged are Python as this version has it, JSON, TOML and YAML. What may be a template of one of
    them is not.
    """
    name = PurePosixPath(path)
    language, read = _READERS.get(name.suffix, ("", None))
    template = language != "Python" and any(mark in text for mark in _TEMPLATE)
    commented = language == "JSON" and name.name.startswith(_WITH_COMMENTS)
    if read is None or template or commented or len(text) > MAX_CHARACTERS:
        return ""
    try:
        read(text)
    except _BROKEN as error:
        return f"it is no {language} that can be parsed{_place(error)}"
    return ""


def _python(text: str) -> None:
    with warnings.catch_warnings():
        # An odd escape in a string is for the project's own linter.
        warnings.simplefilter("ignore")
        ast.parse(text)


def _yaml(text: str) -> None:
    """Go through the events alone: nothing is built, so aliases cannot grow and tags do nothing."""
    for _ in yaml.parse(text, Loader=yaml.SafeLoader):
        pass


_READERS: Mapping[str, tuple[str, Callable[[str], object]]] = {
    ".py": ("Python", _python),
    ".pyi": ("Python", _python),
    ".json": ("JSON", json.loads),
    ".toml": ("TOML", tomllib.loads),
    ".yml": ("YAML", _yaml),
    ".yaml": ("YAML", _yaml),
}


def _place(error: BaseException) -> str:
    """Return the line, as far as the parser says it; its words may quote the text."""
    line: object = None
    match error:
        case SyntaxError() | json.JSONDecodeError():
            line = error.lineno
        case yaml.MarkedYAMLError() if error.problem_mark is not None:
            line = error.problem_mark.line + 1
        case _:
            pass
    return f" (line {line})" if line else ""
