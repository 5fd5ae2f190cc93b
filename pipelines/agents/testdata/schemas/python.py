"""Dataclasses and pydantic models, read from their source along its syntax tree."""

import ast
from collections.abc import Iterator
from typing import Any

from pipelines.agents.testdata.schemas.base import Schema, Unreadable

_PLAIN: dict[str, dict[str, Any]] = {
    "str": {"type": "string"},
    "int": {"type": "integer"},
    "float": {"type": "number"},
    "Decimal": {"type": "number"},
    "bool": {"type": "boolean"},
    "None": {"type": "null"},
    "date": {"type": "string", "format": "date"},
    "datetime": {"type": "string", "format": "date-time"},
    "AwareDatetime": {"type": "string", "format": "date-time"},
    "time": {"type": "string", "format": "time"},
    "UUID": {"type": "string", "format": "uuid"},
    "EmailStr": {"type": "string", "format": "email"},
}
_LISTS = ("list", "List", "Sequence", "tuple", "Tuple", "set", "frozenset")
_MAPS = ("dict", "Dict", "Mapping")
_BOUNDS = {
    "ge": "minimum",
    "le": "maximum",
    "gt": "exclusiveMinimum",
    "lt": "exclusiveMaximum",
    "multiple_of": "multipleOf",
}
_SIZES = {"min_length": ("minLength", "minItems"), "max_length": ("maxLength", "maxItems")}
_ENUMS = ("Enum", "StrEnum", "IntEnum")


def read_python(path: str, text: str) -> Iterator[Schema]:
    """Yield a schema a model of a module; Unreadable if it does not parse."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise Unreadable("it is not Python that parses") from error
    classes = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
    models = {name: node for name, node in classes.items() if _is_model(node, classes)}
    reader = _Reader(classes, models)
    known: dict[str, dict[str, Any]] = {}
    for name, node in models.items():
        if described := reader.describe(node):
            known[name] = described
    enums = {name: enum for name in classes if (enum := _enum(classes[name]))}
    for name in known:
        definitions = {**known, **enums}
        yield Schema(name, path, "python", {"$ref": f"#/$defs/{name}", "$defs": definitions})


def _is_model(node: ast.ClassDef, classes: dict[str, ast.ClassDef], depth: int = 0) -> bool:
    if any(_word(decorator) == "dataclass" for decorator in node.decorator_list):
        return True
    bases = [_word(base) for base in node.bases]
    above = [classes[b] for b in bases if b in classes and classes[b] is not node]
    return "BaseModel" in bases or (
        depth < 10 and any(_is_model(base, classes, depth + 1) for base in above)
    )


class _Reader:
    def __init__(self, classes: dict[str, ast.ClassDef], models: dict[str, ast.ClassDef]) -> None:
        self._classes = classes
        self._models = models

    def describe(self, node: ast.ClassDef, depth: int = 0) -> dict[str, Any] | None:
        """Return a model as JSON Schema, or None if a field of it is not understood."""
        properties: dict[str, Any] = {}
        required: list[str] = []
        for base in node.bases:
            above = self._models.get(_word(base))
            if above is None or above is node or depth > 10:
                continue
            inherited = self.describe(above, depth + 1)
            if inherited is None:
                return None
            properties |= inherited["properties"]
            required += inherited["required"]
        for item in node.body:
            if not isinstance(item, ast.AnnAssign) or not isinstance(item.target, ast.Name):
                continue
            if _word(item.annotation) == "ClassVar" or item.target.id.startswith("_"):
                continue
            kind = self._kind(item.annotation)
            if kind is None:
                return None
            properties[item.target.id] = kind | _constraints(item.value, kind)
            if _is_required(item.value):
                required.append(item.target.id)
        return {
            "type": "object",
            "properties": properties,
            "required": required,
            "additionalProperties": False,
        }

    def _kind(self, node: ast.expr) -> dict[str, Any] | None:
        match node:
            case ast.Constant(value=None):
                return {"type": "null"}
            case ast.Constant(value=str() as text):
                return self._quoted(text)
            case ast.BinOp(op=ast.BitOr()):
                return self._either([node.left, node.right])
            case ast.Subscript():
                return self._subscript(node)
            case _:
                return self._named(_word(node))

    def _quoted(self, text: str) -> dict[str, Any] | None:
        try:
            return self._kind(ast.parse(text, mode="eval").body)
        except (SyntaxError, ValueError, RecursionError):
            return None

    def _named(self, word: str) -> dict[str, Any] | None:
        if word in _PLAIN:
            return dict(_PLAIN[word])
        known = word in self._models or (word in self._classes and _enum(self._classes[word]))
        return {"$ref": f"#/$defs/{word}"} if known else None

    def _either(self, nodes: list[ast.expr]) -> dict[str, Any] | None:
        kinds = [self._kind(node) for node in nodes]
        found = [kind for kind in kinds if kind is not None]
        return {"anyOf": found} if len(found) == len(kinds) else None

    def _subscript(self, node: ast.Subscript) -> dict[str, Any] | None:
        word = _word(node.value)
        inner = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        if word == "Literal":
            values = [part.value for part in inner if isinstance(part, ast.Constant)]
            return {"enum": values} if values and len(values) == len(inner) else None
        if word == "Annotated":
            kind = self._kind(inner[0])
            return kind | _constraints(inner[-1], kind) if kind else None
        if word == "Optional":
            return self._either([inner[0], ast.Constant(value=None)])
        if word == "Union":
            return self._either(list(inner))
        return self._container(word, list(inner))

    def _container(self, word: str, inner: list[ast.expr]) -> dict[str, Any] | None:
        if word in _LISTS:
            item = self._kind(inner[0])
            unique = {"uniqueItems": True} if word in ("set", "frozenset") else {}
            return {"type": "array", "items": item, **unique} if item else None
        if word in _MAPS and len(inner) == 2:
            item = self._kind(inner[1])
            return {"type": "object", "additionalProperties": item} if item else None
        return None


def _enum(node: ast.ClassDef) -> dict[str, Any] | None:
    if not any(_word(base) in _ENUMS for base in node.bases):
        return None
    values = [
        item.value.value
        for item in node.body
        if isinstance(item, ast.Assign) and isinstance(item.value, ast.Constant)
    ]
    plain = [value for value in values if isinstance(value, str | int)]
    return {"enum": plain} if plain else None


def _constraints(value: ast.expr | None, kind: dict[str, Any]) -> dict[str, Any]:
    """Return what a call of Field says beyond the type."""
    if not isinstance(value, ast.Call) or _word(value.func) not in ("Field", "StringConstraints"):
        return {}
    found: dict[str, Any] = {}
    for keyword in value.keywords:
        limit = _number(keyword.value)
        if keyword.arg in _BOUNDS and limit is not None:
            found[_BOUNDS[keyword.arg]] = limit
        elif keyword.arg in _SIZES and limit is not None:
            found[_SIZES[keyword.arg][kind.get("type") == "array"]] = limit
        elif keyword.arg in ("pattern", "regex") and isinstance(keyword.value, ast.Constant):
            found["pattern"] = str(keyword.value.value)
    return found


def _number(node: ast.expr) -> int | float | None:
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        inner = _number(node.operand)
        return None if inner is None else -inner
    value = node.value if isinstance(node, ast.Constant) else None
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _is_required(value: ast.expr | None) -> bool:
    if not isinstance(value, ast.Call) or _word(value.func) not in ("Field", "field"):
        return value is None
    given = {keyword.arg for keyword in value.keywords}
    first_is_ellipsis = bool(value.args) and getattr(value.args[0], "value", None) is Ellipsis
    return not given & {"default", "default_factory"} and (not value.args or first_is_ellipsis)


def _word(node: ast.expr) -> str:
    """Return the last name of an expression: ``pydantic.BaseModel`` is ``BaseModel``."""
    match node:
        case ast.Name():
            return node.id
        case ast.Attribute():
            return node.attr
        case ast.Call():
            return _word(node.func)
        case ast.Subscript():
            return _word(node.value)
        case _:
            return ""
