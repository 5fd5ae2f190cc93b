"""JSON Schema as the providers' strict structured output takes it."""

from collections.abc import Mapping
from typing import Any, cast

# Checked by our own parser after the answer arrives; the providers refuse them in strict schemas.
_UNSUPPORTED = frozenset(
    {
        "default",
        "examples",
        "exclusiveMaximum",
        "exclusiveMinimum",
        "format",
        "maxItems",
        "maxLength",
        "maximum",
        "minItems",
        "minLength",
        "minimum",
        "multipleOf",
        "pattern",
        "title",
        "uniqueItems",
    }
)
_SAID = frozenset(_UNSUPPORTED - {"default", "examples", "title"})


def strict(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy in the subset that Anthropic and OpenAI both enforce.

    Every object is closed and every property required (one that may be left out must therefore be
    nullable in the caller's model), ``oneOf`` becomes ``anyOf``, and limits that cannot be enforced
    are told to the model in the description.
    """
    out: dict[str, Any] = {}
    for key, value in schema.items():
        if key in ("properties", "$defs"):
            out[key] = {name: strict(inner) for name, inner in _mapping(value).items()}
        elif key in ("anyOf", "oneOf", "allOf"):
            out["anyOf" if key == "oneOf" else key] = [strict(_mapping(each)) for each in value]
        elif key == "items":
            out[key] = strict(_mapping(value))
        elif key not in _UNSUPPORTED and key != "discriminator":
            out[key] = value
    if "properties" in out or out.get("type") == "object":
        out.setdefault("properties", {})
        out["additionalProperties"] = False
        out["required"] = list(out["properties"])
    if "$ref" in out:
        # A reference stands alone in the strict subset.
        return {key: value for key, value in out.items() if key in ("$ref", "$defs")}
    return _described(out, schema)


def _described(out: dict[str, Any], schema: Mapping[str, Any]) -> dict[str, Any]:
    limits = ", ".join(f"{key}: {schema[key]}" for key in schema if key in _SAID)
    if limits:
        out["description"] = f"{out.get('description', '')} ({limits})".strip()
    return out


def _mapping(value: object) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise TypeError(f"a schema must be an object, not {type(value).__name__}")
    return cast("Mapping[str, Any]", value)
