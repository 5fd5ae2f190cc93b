"""From the text of `.conductor.yml` to a checked file, or to everything that is wrong with it."""

from dataclasses import dataclass
from functools import cache
from itertools import islice
from typing import Any

from pydantic import ValidationError

from pipelines.config.checks import inconsistencies
from pipelines.config.diagnostics import Diagnostic
from pipelines.config.explain import MAX_MISTAKES, Mistake, mistakes
from pipelines.config.outline import Outline
from pipelines.config.reader import Node, Unreadable, read
from pipelines.config.schema import ConductorFile

PATH = ".conductor.yml"
"""Where a repository keeps its configuration."""

DEFAULT_TEXT = """\
version: 1
workflows:
  pull-request:
    on: { pull_request: {} }
    steps:
      review: { agent: review }
"""
"""What holds for a repository without a file: advice on pull requests, nothing else."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A checked file, or None and at least one diagnostic."""

    file: ConductorFile | None
    diagnostics: tuple[Diagnostic, ...] = ()


def load(text: str | bytes, path: str = PATH) -> Loaded:
    """Return the file that the text describes; never raises, whatever the text."""
    try:
        node = read(text)
    except Unreadable as error:
        return Loaded(None, (_at(path, error.mark.line, error.mark.column, str(error)),))
    if node is None or node.value is None:
        message = "The file is empty; it begins with `version: 1` and has `workflows`."
        return Loaded(None, (_at(path, 1, 1, message),))
    try:
        file = ConductorFile.model_validate(node.plain(), strict=True)
    except ValidationError as error:
        return Loaded(None, _diagnostics(mistakes(error, outline()), node, path))
    found = list(islice(inconsistencies(file), MAX_MISTAKES))
    return Loaded(None if found else file, _diagnostics(found, node, path))


@cache
def default_file() -> ConductorFile:
    """Return what holds for a repository without a file."""
    loaded = load(DEFAULT_TEXT)
    assert loaded.file is not None, loaded.diagnostics
    return loaded.file


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of the file, for editors and for `conductor schema`."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **ConductorFile.model_json_schema(by_alias=True),
        "title": PATH,
    }


@cache
def outline() -> Outline:
    """Return the shape of the file, to look things up in."""
    return Outline(json_schema())


def _diagnostics(found: list[Mistake], node: Node, path: str) -> tuple[Diagnostic, ...]:
    made: list[Diagnostic] = []
    for mistake in found:
        mark = node.locate(mistake.place)
        made.append(_at(path, mark.line, mark.column, mistake.message, mistake.suggestion))
    return tuple(sorted(made, key=lambda d: (d.line, d.column)))


def _at(path: str, line: int, column: int, message: str, hint: str | None = None) -> Diagnostic:
    return Diagnostic(path=path, line=line, column=column, message=message, suggestion=hint)
