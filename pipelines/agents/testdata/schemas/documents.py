"""JSON Schema files and the components of OpenAPI documents, in JSON or YAML."""

import json
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any, cast

import yaml

from pipelines.agents.testdata.schemas.base import MAX_DEPTH, Schema, Unreadable, check

_MAX_NODES = 50_000
_MAX_COMPONENTS = 200


def read_document(path: str, text: str) -> Iterator[Schema]:
    """Yield the schemas of a document; Unreadable if it is none or holds what is not supported."""
    value = _json(text) if path.endswith(".json") else _yaml(text)
    if not isinstance(value, dict):
        raise Unreadable("it is not an object")
    document = cast("dict[str, Any]", value)
    if "openapi" in document or "swagger" in document:
        yield from _components(path, document)
    elif "properties" in document:
        check(document)
        title = document.get("title")
        stem = PurePosixPath(path).name.removesuffix(".json").removesuffix(".schema")
        name = title if isinstance(title, str) and title.isidentifier() else stem
        yield Schema(name, path, "json-schema", document)
    else:
        raise Unreadable("it describes no object")


def _components(path: str, document: Mapping[str, Any]) -> Iterator[Schema]:
    """Yield each component as a document that holds all of them, so that references resolve."""
    components = document.get("components")
    if not isinstance(components, dict):
        raise Unreadable("it has no component schemas")
    named = cast("dict[str, Any]", components).get("schemas")
    if not isinstance(named, dict):
        raise Unreadable("it has no component schemas")
    schemas = cast("dict[str, Any]", named)
    check(schemas)
    for name, schema in list(schemas.items())[:_MAX_COMPONENTS]:
        if isinstance(schema, dict) and "properties" in schema:
            reference = {"$ref": f"#/components/schemas/{name}"}
            whole = {**reference, "components": {"schemas": _as_json_schema(schemas)}}
            yield Schema(name, path, "openapi", whole)


def _as_json_schema(value: Any) -> Any:
    """Spell ``nullable`` of OpenAPI 3.0 the way JSON Schema does."""
    if isinstance(value, list):
        return [_as_json_schema(item) for item in cast("list[Any]", value)]
    if not isinstance(value, dict):
        return value
    mapping = {k: _as_json_schema(v) for k, v in cast("dict[str, Any]", value).items()}
    if mapping.get("nullable") is True and isinstance(mapping.get("type"), str):
        mapping["type"] = [mapping["type"], "null"]
    return mapping


def _json(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Unreadable("it is not JSON") from error


def _yaml(text: str) -> object:
    """Read plain YAML: aliases, which can grow without bound, are refused before anything."""
    try:
        depth = 0
        for count, event in enumerate(yaml.parse(text, Loader=yaml.SafeLoader)):
            depth += isinstance(event, yaml.CollectionStartEvent)
            depth -= isinstance(event, yaml.CollectionEndEvent)
            if isinstance(event, yaml.AliasEvent):
                raise Unreadable("it uses aliases")
            if depth > MAX_DEPTH or count > _MAX_NODES:
                raise Unreadable("it is too large or too deep")
        loaded: object = yaml.safe_load(text)
        # Dates and keys that are no strings become what JSON has for them.
        return json.loads(json.dumps(loaded, default=str))
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        raise Unreadable("it is not plain YAML") from error
