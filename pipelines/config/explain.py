"""From the validator's errors to sentences about the file, each at the line of its key."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from pipelines.config.diagnostics import nearest, shown
from pipelines.config.outline import Outline, Place

MAX_MISTAKES = 50

_NOT_HERE = {
    "sandbox": "how code is isolated is the operator's choice",
    "env": "the environment of tests is the operator's choice",
    "environment_variables": "the environment of tests is the operator's choice",
    "secrets": "secrets are never given to a run",
    "prompt": "the agents' instructions cannot be replaced",
    "instructions": "the agents' instructions cannot be replaced",
    "capabilities": "what an agent may do is fixed",
    "permissions": "what an agent may do is fixed",
}

_EXPECTED = {
    "string_type": "text; put it in quotes",
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "`true` or `false`",
    "tuple_type": "a list, as in `[one, two]`",
    "dict_type": "a mapping of names to values",
    "model_type": "a mapping of keys to values",
    "model_attributes_type": "a mapping of keys to values",
}


@dataclass(frozen=True, slots=True)
class Mistake:
    """What is wrong at a place in the file, and what was probably meant."""

    place: Place
    message: str
    suggestion: str | None = None
    unknown_key: bool = False


def mistakes(error: ValidationError, outline: Outline) -> list[Mistake]:
    """Return what the validator found, without errors that only follow from others."""
    found = error.errors(include_url=False)[: 4 * MAX_MISTAKES]
    places = [detail["loc"] for detail in found]
    made = [
        _mistake(detail, outline)
        for detail in found
        if not any(_inside(place, detail["loc"]) for place in places)
    ]
    mistyped = {(*m.place[:-1], m.suggestion) for m in made if m.unknown_key}
    return [m for m in made if m.place not in mistyped][:MAX_MISTAKES]


def _inside(inner: Place, outer: Place) -> bool:
    return len(inner) > len(outer) and inner[: len(outer)] == outer


def _mistake(detail: ErrorDetails, outline: Outline) -> Mistake:
    kind, loc, value = detail["type"], detail["loc"], detail["input"]
    place = outline.without_tags(loc)
    if loc and loc[-1] == "[key]":
        made = _wrong_name(place[:-1])
    elif kind == "extra_forbidden":
        made = _unknown_key(place, outline.keys(loc[:-1]))
    elif kind == "missing":
        made = Mistake(place, f"`{place[-1]}` is missing{_within(place[:-1])}.")
    elif kind == "union_tag_not_found":
        made = _no_agent(place, value)
    elif kind == "union_tag_invalid":
        made = _wrong_choice((*place, "agent"), value["agent"], outline.choices(loc))
    elif kind in ("literal_error", "is_instance_of"):
        made = _wrong_choice(place, value, outline.choices(loc))
    else:
        made = Mistake(place, _sentence(detail, place))
    return made


def _no_agent(place: Place, step: Mapping[str, object]) -> Mistake:
    """Name the key that was meant to be `agent`, if there is one."""
    mistyped = nearest("agent", step)
    if mistyped is not None:
        return _unknown_key((*place, mistyped), ("agent",))
    return Mistake(place, f"`agent` is missing{_within(place)}.")


def _wrong_name(place: Place) -> Mistake:
    message = (
        f"The name {_code(place[-1:])} must begin with a letter or digit and go on with at most "
        "62 letters, digits, `.`, `_` or `-`."
    )
    return Mistake(place, message)


def _unknown_key(place: Place, known: Sequence[str]) -> Mistake:
    key = str(place[-1])
    if key in _NOT_HERE:
        return Mistake(place, f"`{key}` cannot be set here: {_NOT_HERE[key]}.")
    alien = "" if key.isascii() else "; it has letters that only look like Latin ones"
    message = f"There is no key {_code(place[-1:])}{_within(place[:-1])}{alien}."
    return Mistake(place, message, nearest(key, known), unknown_key=True)


def _wrong_choice(place: Place, value: object, choices: Sequence[str]) -> Mistake:
    listed = ", ".join(f"`{name}`" for name in choices)
    wanted = f"one of {listed}" if len(choices) > 1 else listed
    message = f"{_code(place)} must be {wanted}, not `{shown(value)}`."
    return Mistake(place, message, nearest(value, choices) if isinstance(value, str) else None)


_Context = Mapping[str, Any]
_LIMITS: dict[str, Callable[[_Context], str]] = {
    "too_short": lambda c: "must not be empty",
    "too_long": lambda c: f"has more than {c['max_length']} entries",
    "string_too_short": lambda c: "must not be empty",
    "string_too_long": lambda c: f"is longer than {c['max_length']} characters",
    "string_pattern_mismatch": lambda c: "is not written as such a value must be",
    "greater_than": lambda c: f"must be more than {c['gt']:g}",
    "greater_than_equal": lambda c: f"must be at least {c['ge']:g}",
    "less_than": lambda c: f"must be less than {c['lt']:g}",
    "less_than_equal": lambda c: f"must be at most {c['le']:g}",
    "finite_number": lambda c: "must be a finite number",
}


def _sentence(detail: ErrorDetails, place: Place) -> str:
    kind, context = detail["type"], detail.get("ctx", {})
    if kind == "value_error":
        return str(context["error"])
    if kind in _EXPECTED:
        return f"{_code(place)} must be {_EXPECTED[kind]}."
    if limit := _LIMITS.get(kind):
        return f"{_code(place)} {limit(context)}."
    return f"{_code(place)} is not valid: {detail['msg']}."


def _code(place: Place) -> str:
    """Return the keys that lead to a place, as people write them, in a code span."""
    text = ""
    for step in place:
        text += f"[{step}]" if isinstance(step, int) else f".{shown(step)}"
    return f"`{text.removeprefix('.') or 'the file'}`"


def _within(place: Place) -> str:
    return f" in {_code(place)}" if place else ""
