"""The answer that is asked of the model, and how it is read when it is not what was asked."""

import json
from collections.abc import Iterator
from typing import Annotated, Literal, cast

from pydantic import AfterValidator, ValidationError

from pipelines.agents.structured import MAX_CHARACTERS, Strict, refuse, unique
from pipelines.errors import ConductorError
from pipelines.integrations.llm.base import OutputSchema

_MAX_VALUES = 2_000
_MAX_ERRORS = 12

Category = Literal[
    "correctness",
    "security",
    "data-loss",
    "concurrency",
    "performance",
    "error-handling",
    "compatibility",
    "resource-leak",
    "testing",
    "maintainability",
]


def _encodable(text: str) -> str:
    """Refuse lone surrogates, which JSON can carry in but nothing can carry out."""
    text.encode()
    return text


Text = Annotated[str, AfterValidator(_encodable)]


class ProposedFinding(Strict):
    """One finding, as the model proposes it."""

    path: Text
    side: Literal["new", "old"]
    line: int
    quote: Text
    severity: Literal["info", "low", "medium", "high", "critical"]
    category: Category
    title: Text
    explanation: Text
    suggestion: Text | None


class ReviewAnswer(Strict):
    """All findings of a review."""

    findings: list[ProposedFinding]


OUTPUT = OutputSchema(name="review", json_schema=ReviewAnswer.model_json_schema())


class InvalidAnswer(ConductorError):
    """An answer that is not of the schema; ``problems`` are sentences without the model's text."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        super().__init__(" ".join(problems))
        self.problems = problems


def parse_answer(text: str) -> ReviewAnswer:
    """Return the one answer in the text, which prose or a fence may surround.

    Raises InvalidAnswer.
    """
    if len(text) > MAX_CHARACTERS:
        raise InvalidAnswer((f"The answer has more than {MAX_CHARACTERS} characters.",))
    values = list(_json_objects(text))
    if len(values) != 1:
        found = "no complete JSON object" if not values else f"{len(values)} JSON objects"
        raise InvalidAnswer((f"The answer holds {found}; it must be exactly one.",))
    try:
        return ReviewAnswer.model_validate(values[0])
    except ValidationError as error:
        raise InvalidAnswer(tuple(_sentences(error))) from error


def salvage(text: str) -> list[ProposedFinding]:
    """Return every finding in the text that is valid by itself, in order."""
    found: list[ProposedFinding] = []
    for value in _json_objects(text[:MAX_CHARACTERS]):
        listed = value.get("findings")
        items = cast("list[object]", listed) if isinstance(listed, list) else [value]
        found += [finding for item in items if (finding := _finding(item))]
    return found


def _finding(item: object) -> ProposedFinding | None:
    try:
        return ProposedFinding.model_validate(item)
    except ValidationError:
        return None


def _json_objects(text: str) -> Iterator[dict[str, object]]:
    """Yield the objects in a text; what stands inside one that is broken counts by itself."""
    decoder = json.JSONDecoder(object_pairs_hook=unique, parse_constant=refuse)
    position = text.find("{")
    for _ in range(_MAX_VALUES):
        if position < 0:
            return
        try:
            value, end = decoder.raw_decode(text, position)
        except (ValueError, RecursionError):
            end = position + 1
        else:
            yield value
        position = text.find("{", end)


def _sentences(error: ValidationError) -> Iterator[str]:
    """Name the first places and what is wrong there; keys are shown only if they are ours."""
    known = {*ProposedFinding.model_fields, *ReviewAnswer.model_fields}
    for item in error.errors(include_input=False, include_url=False)[:_MAX_ERRORS]:
        parts = (str(p) if isinstance(p, int) or p in known else "(other)" for p in item["loc"])
        yield f"At {'.'.join(parts) or 'the top'}: {item['msg']}."
