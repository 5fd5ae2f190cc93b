"""Takes secrets out of what is recorded and leaves their shape, so that a replay still finds them.

A placeholder of another shape would change what an agent does with the text around it.
"""

import json
import re
from typing import TypeVar

from pydantic import JsonValue

from pipelines.model import Frozen
from pipelines.redaction import REDACTED, Secret, find_secrets

F = TypeVar("F", bound=Frozen)

_LONGEST_PREFIX = 16
_BEFORE, _AFTER = 200, 60
_CLASSES = ((re.compile(r"[a-z]"), "a"), (re.compile(r"[A-Z]"), "A"), (re.compile(r"[0-9]"), "0"))


def masked(model: F) -> tuple[F, int]:
    """Return the model with every secret in its texts made unrecognisable, and their number."""
    value, count = _mask(model.model_dump(mode="json"))
    if not count:
        return model, 0
    return type(model).model_validate_json(json.dumps(value)), count


def mask(text: str) -> tuple[str, int]:
    """Return the text, of the same length and the same lines, without its secrets."""
    secrets = find_secrets(text)
    for secret in secrets:
        text = text[: secret.start] + _shape(text, secret) + text[secret.end :]
    return text, len(secrets)


def _shape(text: str, secret: Secret) -> str:
    """Return what takes the secret's place: the least of its beginning that tells its kind."""
    hidden = text[secret.start : secret.end]
    before = text[max(0, secret.start - _BEFORE) : secret.start]
    after = text[secret.end : secret.end + _AFTER]
    for kept in range(min(_LONGEST_PREFIX, len(hidden) // 2) + 1):
        shape = hidden[:kept] + _plain(hidden[kept:])
        found = find_secrets(before + shape + after)
        if any(one.start == len(before) and one.kind == secret.kind for one in found):
            return shape
    filler = REDACTED.ljust(len(hidden), "*")[: len(hidden)]
    return "".join("\n" if old == "\n" else new for old, new in zip(hidden, filler, strict=True))


def _plain(text: str) -> str:
    for pattern, letter in _CLASSES:
        text = pattern.sub(letter, text)
    return text


def _mask(value: JsonValue) -> tuple[JsonValue, int]:
    if isinstance(value, str):
        return mask(value)
    if isinstance(value, list):
        parts = [_mask(part) for part in value]
        return [part for part, _ in parts], sum(count for _, count in parts)
    if isinstance(value, dict):
        named = {name: _mask(part) for name, part in value.items()}
        total = sum(count for _, count in named.values())
        return {name: part for name, (part, _) in named.items()}, total
    return value, 0
