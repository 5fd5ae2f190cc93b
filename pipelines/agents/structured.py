"""Asks a model for one JSON object of a schema, and once more if what came back is not that."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar, cast

from pydantic import BaseModel, ConfigDict, ValidationError

from pipelines.agents import prompts
from pipelines.agents.budget import MeteredModel
from pipelines.errors import Retryable, UserError
from pipelines.integrations.llm.base import ChatMessage, ModelRequest, ModelResponse, Part

MAX_CHARACTERS = 1_000_000
_MAX_ECHO = 20_000
_MAX_PROBLEMS = 12
_REFUSALS = ("refusal", "filtered")
Answer = TypeVar("Answer", bound=BaseModel)


class Strict(BaseModel):
    """The base of models that a language model fills in: no coercion, no unknown fields."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


@dataclass(frozen=True, slots=True)
class Reply(Generic[Answer]):
    """The answer, or None and one sentence that says why there is none."""

    answer: Answer | None
    obstacle: str = ""


async def ask(
    model: MeteredModel, request: ModelRequest, schema: type[Answer], repair: str
) -> Reply[Answer]:
    """Return the model's answer as the schema has it.

    ``repair`` names the prompt that asks again; ``{problems}`` in it stands for what was wrong.
    Whatever keeps the model from answering is an obstacle, not an exception.
    """
    try:
        first = await model.complete(request)
        if first.stop in _REFUSALS:
            return Reply(None, "The model refused to answer")
        answer, problems = read_answer(first, schema)
        if answer is None:
            second = await model.complete(_again(request, first, problems, repair))
            answer, problems = read_answer(second, schema)
    except (UserError, Retryable) as error:
        return Reply(None, str(error).rstrip("."))
    return Reply(answer) if answer else Reply(None, "The model's answer was unusable")


def read_answer(
    response: ModelResponse, schema: type[Answer]
) -> tuple[Answer | None, tuple[str, ...]]:
    """Return the answer, or None and what is wrong with it, without the model's own words."""
    cut = ("The answer was cut off at the output limit.",) if response.stop == "length" else ()
    value = _decoded(response.text)
    if value is None:
        return None, (*cut, "The answer is not exactly one JSON object.")
    try:
        return schema.model_validate(value), ()
    except ValidationError as error:
        errors = error.errors(include_input=False, include_url=False)[:_MAX_PROBLEMS]
        return None, (*cut, *(f"Something is wrong: {item['type']}." for item in errors))


def _decoded(text: str) -> Mapping[str, object] | None:
    """Return the one object in a text that prose or a code fence may surround."""
    start, end = text.find("{"), text.rfind("}")
    if start < 0 or end < start or len(text) > MAX_CHARACTERS:
        return None
    try:
        value: object = json.loads(
            text[start : end + 1], object_pairs_hook=unique, parse_constant=refuse
        )
        json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        return None
    return cast("Mapping[str, object]", value) if isinstance(value, dict) else None


def unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Refuse an object that names a key twice: which one was meant cannot be known."""
    if len(dict(pairs)) != len(pairs):
        raise ValueError("a key occurs twice")
    return dict(pairs)


def refuse(constant: str) -> object:
    """Refuse NaN and the infinities, which JSON does not have."""
    raise ValueError(f"{constant} is not JSON")


def _again(
    request: ModelRequest, response: ModelResponse, problems: tuple[str, ...], repair: str
) -> ModelRequest:
    listed = "\n".join(f"- {problem}" for problem in problems)
    text = prompts.load(repair).format(problems=listed)
    echo = response.text[:_MAX_ECHO] if response.text.strip() else "(empty answer)"
    turns = (
        ChatMessage(role="assistant", parts=(Part(text=echo),)),
        ChatMessage(role="user", parts=(Part(text=text),)),
    )
    return request.model_copy(
        update={
            "purpose": f"{request.purpose}.repair",
            "messages": (*request.messages, *turns),
        }
    )
