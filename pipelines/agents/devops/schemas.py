"""The public JSON Schemas of workflow, pipeline and compose files.

check-jsonschema carries them: they are an extra (``conductor-app[devops]``); nothing is fetched.
"""

import json
import re
from collections.abc import Iterator, Sequence
from functools import cache
from importlib import resources
from importlib.util import find_spec
from typing import Any, cast

from jsonschema import Draft7Validator, Draft202012Validator
from jsonschema.exceptions import ValidationError, best_match  # pyright: ignore[reportUnknownVariableType] - no stubs
from jsonschema.validators import extend  # pyright: ignore[reportUnknownVariableType] - no stubs
from referencing import Registry
from referencing.exceptions import Unresolvable

from pipelines.agents.devops.problems import Problem, code, error, note

SCHEMAS = {
    "github-actions": "github-workflows.json",
    "gitlab-ci": "gitlab-ci.json",
    "compose": "compose-spec.json",
}
_FOLDER = "builtin_schemas/vendor"
_MAX_PLACE = 8
_MAX_COMPARED = 500
_MAX_SLASHES = 10


def installed() -> bool:
    """Whether the schemas are there."""
    return find_spec("check_jsonschema") is not None


def schema_problems(kind: str, value: Any) -> Sequence[Problem]:
    """Return what the public schema of such a file says against a value; only if ``installed``."""
    try:
        found = cast("Any", best_match(_checker(kind).iter_errors(value)))
    except RecursionError:
        return [error("It is nested too deep for its schema.")]
    except Unresolvable:
        return [note("A part of its schema is not there, so not all of it was compared.")]
    if found is None:
        return []
    steps = [str(step) for step in found.absolute_path][:_MAX_PLACE]
    where = code(".".join(steps)) if steps else "the whole file"
    return [error(f"By its schema {where} is wrong ({code(str(found.validator))}).")]


@cache
def _checker(kind: str) -> Any:
    """Return a validator that fetches nothing."""
    place = resources.files("check_jsonschema").joinpath(_FOLDER, SCHEMAS[kind])
    schema: dict[str, Any] = json.loads(place.read_text(encoding="utf-8"))
    draft = Draft7Validator if "draft-07" in schema["$schema"] else Draft202012Validator
    bounded = cast("Any", extend(draft, {"pattern": _pattern}))
    return bounded(schema, registry=Registry[Any]())


def _pattern(_: Any, expression: str, instance: Any, __: Any) -> Iterator[ValidationError]:
    """Compare ordinary text only: some of these expressions take exponential time on odd one."""
    odd = not isinstance(instance, str) or len(instance) > _MAX_COMPARED or "\r" in instance
    if not odd and instance.count("/") <= _MAX_SLASHES and not re.search(expression, instance):
        yield ValidationError("it does not match its pattern")
