"""The shape of a configuration file, as its JSON Schema tells it, to look things up by place."""

from collections.abc import Mapping, Sequence
from typing import Any

Place = tuple[int | str, ...]
"""The keys and list indices that lead from the root of the file to a value."""

JsonSchema = Mapping[str, Any]

_NOTHING: JsonSchema = {}


class Outline:
    """Answers what may stand at a place; the validator's places also name members of unions."""

    def __init__(self, schema: JsonSchema) -> None:
        self._schema = schema

    def at(self, loc: Place) -> JsonSchema:
        """Return the schema of a place, an empty one where nothing is known."""
        here = self._schema
        for step in loc:
            here = self._descend(here, step)
        return here

    def without_tags(self, loc: Place) -> Place:
        """Return the place as it is in the file, without steps into the members of a union."""
        kept: list[int | str] = []
        here = self._schema
        for step in loc:
            if "discriminator" not in here:
                kept.append(step)
            here = self._descend(here, step)
        return tuple(kept)

    def keys(self, loc: Place) -> Sequence[str]:
        """Return the keys that a section knows."""
        return list(self.at(loc).get("properties", ()))

    def choices(self, loc: Place) -> Sequence[str]:
        """Return the values that a place accepts, if they are listed."""
        return self.listed(self.at(loc))

    def listed(self, schema: JsonSchema) -> Sequence[str]:
        """Return the values that a schema lists as the only ones, or nothing."""
        if "discriminator" in schema:
            return list(schema["discriminator"]["mapping"])
        values = schema.get("enum", [schema["const"]] if "const" in schema else [])
        return [str(value) for value in values]

    def resolved(self, schema: JsonSchema | bool) -> JsonSchema:
        """Follow references, and take the member of a union that is not null."""
        if isinstance(schema, bool):
            return _NOTHING
        for option in schema.get("anyOf", ()):
            if option.get("type") != "null":
                return self.resolved(option)
        if "$ref" in schema:
            name = str(schema["$ref"]).rpartition("/")[2]
            return self.resolved(self._schema["$defs"][name])
        return schema

    def _descend(self, here: JsonSchema, step: int | str) -> JsonSchema:
        if "discriminator" in here:
            reference = here["discriminator"]["mapping"].get(step)
            return self.resolved({"$ref": reference}) if reference else _NOTHING
        if isinstance(step, int):
            return self.resolved(here.get("items", _NOTHING))
        named = here.get("properties", _NOTHING).get(step)
        others = [*here.get("patternProperties", _NOTHING).values()]
        return self.resolved(named or (others or [here.get("additionalProperties", _NOTHING)])[0])
