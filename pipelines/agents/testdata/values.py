"""Values that a JSON Schema allows: the edges first, then drawn from a seeded generator."""

import random
import string
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, cast

from pipelines.agents.testdata.patterns import parse, sample
from pipelines.errors import ConductorError

Edge = Literal["least", "most", "unicode", "null", "plain"]
"""Which corner of what is allowed a record is taken from; ``plain`` is none."""
EDGES: tuple[Edge, ...] = ("least", "most", "unicode", "null")

_MAX_DEPTH = 12
_MAX_STRING = 200
_MAX_ITEMS = 3
_WIDE = 1_000_000
_START = datetime(2020, 1, 1, tzinfo=UTC)
_SPAN_SECONDS = 5 * 365 * 86_400
_WORDS = (
    "amber",
    "birch",
    "cedar",
    "delta",
    "ember",
    "fjord",
    "grove",
    "harbor",
    "iris",
    "juniper",
)
_UNICODE = "Zoë 東京 Ωλ İß 🙂 ñ"
_LETTERS = string.ascii_lowercase


class Impossible(ConductorError):
    """A schema for which no value can be made; the text is a clause that says why."""


@dataclass(slots=True)
class Maker:
    """Makes values for one document, drawing from one generator in a fixed order."""

    document: Mapping[str, Any]
    rng: random.Random

    def record(self, edge: Edge) -> Any:
        """Return one whole value; raises Impossible."""
        return self._value(dict(self.document), edge, 0)

    def _value(self, schema: Mapping[str, Any], edge: Edge, depth: int) -> Any:
        if depth > _MAX_DEPTH:
            raise Impossible("it goes round in a circle of required fields")
        schema = self._resolved(schema, depth)
        if "const" in schema:
            return schema["const"]
        if "enum" in schema:
            return self._one_of(cast("list[Any]", schema["enum"]), edge)
        for key in ("anyOf", "oneOf"):
            if key in schema:
                return self._value(self._branch(schema, key, edge), edge, depth + 1)
        return self._typed(self._kind(schema, edge), schema, edge, depth)

    def _typed(self, kind: str, schema: Mapping[str, Any], edge: Edge, depth: int) -> Any:
        made: Any = None
        match kind:
            case "object":
                made = self._object(schema, edge, depth)
            case "array":
                made = self._array(schema, edge, depth)
            case "integer" | "number":
                made = self._number(schema, edge, whole=kind == "integer")
            case "string":
                made = self._string(schema, edge)
            case "boolean":
                made = edge == "most" or (edge != "least" and self.rng.random() < 0.5)
            case "null":
                made = None
            case _:
                raise Impossible(f"it has a field of the unknown type `{kind[:40]}`")
        return made

    def _resolved(self, schema: Mapping[str, Any], depth: int) -> Mapping[str, Any]:
        """Follow references inside the document, and lay the parts of ``allOf`` together."""
        for _ in range(_MAX_DEPTH):
            if "$ref" not in schema:
                break
            target: Any = self.document
            for part in str(schema["$ref"]).removeprefix("#/").split("/"):
                whole = cast("dict[str, Any]", target) if isinstance(target, dict) else {}
                target = whole.get(part)
            if not isinstance(target, dict):
                raise Impossible("it refers to something that was not understood")
            rest = {k: v for k, v in schema.items() if k not in ("$ref", "$defs", "components")}
            schema = {**cast("dict[str, Any]", target), **rest}
        merged = {key: value for key, value in schema.items() if key != "allOf"}
        for part in schema.get("allOf", ()):
            if depth >= _MAX_DEPTH:
                raise Impossible("its parts go round in a circle")
            inner = self._resolved(part, depth + 1)
            properties = {**merged.get("properties", {}), **inner.get("properties", {})}
            required = [*merged.get("required", []), *inner.get("required", [])]
            merged = {**merged, **inner}
            if properties:
                merged |= {"properties": properties, "required": required}
        return merged

    def _one_of(self, values: list[Any], edge: Edge) -> Any:
        if not values:
            raise Impossible("it allows no value")
        if edge in ("least", "most"):
            return values[0 if edge == "least" else -1]
        return None if edge == "null" and None in values else self.rng.choice(values)

    def _branch(self, schema: Mapping[str, Any], key: str, edge: Edge) -> Mapping[str, Any]:
        rest = {k: v for k, v in schema.items() if k != key}
        branches = cast("list[dict[str, Any]]", schema[key])
        if not branches:
            raise Impossible("it allows no value")
        nulls = [branch for branch in branches if branch.get("type") == "null"]
        others = [branch for branch in branches if branch.get("type") != "null"]
        if edge == "null" and nulls:
            return {**rest, **nulls[0]}
        return {**rest, **self._one_of(list(others or branches), edge)}

    def _kind(self, schema: Mapping[str, Any], edge: Edge) -> str:
        kinds = schema.get("type")
        if isinstance(kinds, list):
            named = [str(kind) for kind in cast("list[object]", kinds)]
            others = [kind for kind in named if kind != "null"]
            return "null" if edge == "null" and "null" in named else (others or ["null"])[0]
        if isinstance(kinds, str):
            return kinds
        if "properties" in schema:
            return "object"
        if "items" in schema:
            return "array"
        raise Impossible("it has a field without a type")

    def _object(self, schema: Mapping[str, Any], edge: Edge, depth: int) -> dict[str, Any]:
        required = set(schema.get("required", ()))
        found: dict[str, Any] = {}
        for name, inner in schema.get("properties", {}).items():
            left_out = edge == "least" or (edge == "plain" and self.rng.random() < 0.3)
            if name in required or not (left_out or depth > _MAX_DEPTH // 3):
                found[name] = self._value(inner, edge, depth + 1)
        more = schema.get("additionalProperties")
        if isinstance(more, dict) and edge != "least" and "properties" not in schema:
            inner = cast("dict[str, Any]", more)
            found[self.rng.choice(_WORDS)] = self._value(inner, edge, depth + 1)
        return found

    def _array(self, schema: Mapping[str, Any], edge: Edge, depth: int) -> list[Any]:
        least = int(schema.get("minItems", 0))
        most = min(int(schema.get("maxItems", max(least, _MAX_ITEMS))), least + 50)
        count = {"least": least, "most": most}.get(edge, min(most, max(least, 1)))
        if depth > _MAX_DEPTH // 2:
            count = least
        if not isinstance(schema.get("items"), dict):
            if least:
                raise Impossible("it has a list whose items have no type")
            return []
        item = cast("dict[str, Any]", schema["items"])
        first = self._value(item, edge, depth + 1) if count else None
        rest = [self._value(item, "plain", depth + 1) for _ in range(count - 1)]
        values = [first, *rest] if count else []
        if schema.get("uniqueItems"):
            values = [v for index, v in enumerate(values) if v not in values[:index]]
        return values

    def _number(self, schema: Mapping[str, Any], edge: Edge, *, whole: bool) -> int | float:
        step = schema.get("multipleOf")
        unit = float(step) if step else (1.0 if whole else 0.01)
        low, high = _bounds(schema, unit)
        if low > high:
            raise Impossible("its bounds leave no number")
        value = {"least": low, "most": high}.get(edge)
        if value is None:
            nearer = max(low, min(0.0, high)) if edge == "unicode" else self.rng.uniform(low, high)
            value = nearer
        if step:
            value = unit * (-(-value // unit) if edge == "least" else value // unit)
            value = value if value >= low else value + unit
        if not whole:
            return round(value, 2) if low <= round(value, 2) <= high else value
        return int(-(-value // 1)) if value < low + 1 else int(value // 1)

    def _string(self, schema: Mapping[str, Any], edge: Edge) -> str:
        if "pattern" in schema:
            parts = parse(str(schema["pattern"]))
            return sample(parts, self.rng, shortest=edge == "least")
        least = int(schema.get("minLength", 0))
        most = int(schema.get("maxLength", max(least, _MAX_STRING)))
        if least > most or least > 10_000:
            raise Impossible("its lengths leave no text")
        if "format" in schema:
            return self._formatted(str(schema["format"]), edge)
        match edge:
            case "least":
                return "a" * least
            case "most":
                return "".join(self.rng.choice(_LETTERS) for _ in range(min(most, 1_000)))
            case "unicode":
                return (_UNICODE * (least // len(_UNICODE) + 1))[: min(most, max(least, 16))]
            case _:
                text = f"{self.rng.choice(_WORDS)} {self.rng.randint(1, 9_999)}"
                return text.ljust(least, "x")[: min(most, max(least, 40))]

    def _formatted(self, name: str, edge: Edge) -> str:
        seconds = {"least": 0, "most": _SPAN_SECONDS}.get(edge, self.rng.randrange(_SPAN_SECONDS))
        moment = _START + timedelta(seconds=seconds)
        word, number = self.rng.choice(_WORDS), self.rng.randrange(1, 255)
        known = {
            "date": moment.date().isoformat(),
            "date-time": moment.isoformat().replace("+00:00", "Z"),
            "time": moment.time().isoformat() + "Z",
            "uuid": str(uuid.UUID(int=self.rng.getrandbits(128), version=4)),
            "email": f"{word}.{number}@example.org",
            "uri": f"https://{word}.example.org/{number}",
            "url": f"https://{word}.example.org/{number}",
            "hostname": f"{word}.example.org",
            "ipv4": f"192.0.2.{number}",
            "ipv6": f"2001:db8::{number:x}",
        }
        return known.get(name, f"{word} {number}")


def _bounds(schema: Mapping[str, Any], unit: float) -> tuple[float, float]:
    """Return the closed bounds; an open one is moved by one unit, a missing one is wide."""
    low, high = schema.get("minimum"), schema.get("maximum")
    above, below = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")
    # OpenAPI 3.0 says by a boolean that the bound beside it is open.
    above = low if above is True else above
    below = high if below is True else below
    lows = [float(low)] if low is not None else []
    highs = [float(high)] if high is not None else []
    lows += [float(above) + unit] if above is not None and above is not False else []
    highs += [float(below) - unit] if below is not None and below is not False else []
    lower = max(lows) if lows else (min(highs) - _WIDE if highs else -_WIDE)
    return lower, min(highs) if highs else max(lower + _WIDE, _WIDE)
