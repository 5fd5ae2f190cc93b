"""The reference page of `.conductor.yml`, made from its schema.

``python -m pipelines.config.document > docs/configuration.md`` brings the page up to date.
"""

import json
import sys
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

from pipelines.config.loader import json_schema, outline
from pipelines.config.outline import JsonSchema
from pipelines.config.steps import StepBase

_INTRODUCTION = """\
# `.conductor.yml`

Conductor reads this file at the default branch, for a pull request at its base, and never at the
head of a change. Without a file it gives advice on pull requests and does nothing else. A pull
request that edits the file gets a check that validates it and shows what would be different.

`conductor check-config` checks a file, `conductor schema` prints its JSON Schema for your editor,
and `.conductor.example.yml` shows every key. This page is made from that schema.

## The rules of the file

- At most 64 KiB of UTF-8, 5,000 values, 16 levels. No anchors, aliases, tags, merge keys, several
  documents or duplicate keys.
- Only `true`, `false`, `null` and plain decimal numbers are more than text: `on`, `no`, `012`,
  `1:30` and `1_000` are text. A version like `3.10` is a number until you put it in quotes.
- Nothing is interpolated: `${NAME}` stays as it is.
- An unknown key is an error. So is a mistake anywhere: the file then does not come into force, and
  every mistake is named with its line.
- A duration is a number of seconds or looks like `90s`, `10m` or `1h30m`.
- In a pattern `*` and `?` match within one segment of a path and `**`, alone between slashes,
  matches any number of segments. A pattern matches the whole path.
- A schedule has five fields in UTC, with `*`, lists, ranges, steps and the names of months and
  weekdays. A date that no year has is an error, and so is one that comes due again in less than
  5 minutes.

## When a step runs

A step starts when all its `needs` have ended and its `if` holds.

| `if` | holds when |
| --- | --- |
| `success()` | every need ended in success or neutral; this is the default |
| `failure()` | a need failed or timed out |
| `always()` | always |
| `changed('src/**')` | a changed path matches |

They combine with `!`, `&&`, `||` and parentheses. A condition without one of the first three means
`success() && (...)`. A skipped or cancelled need is no success, so a step after it is skipped as
well, unless its condition says otherwise.

## What starts a workflow

Under `on`, each key is a kind of event and any of them is enough. Inside one, all keys must hold,
and a list holds alternatives. A key that is left out does not narrow. A draft counts only with
`drafts: true`, until it is ready for review or somebody gives a command. If a listing of changed
files is cut short, `paths` holds, while `changed()` sees what was listed. Re-running a check
repeats its run and needs no trigger.

A newer run of the same workflow for the same subject (pull request, branch, environment) cancels
an older unfinished one, unless `concurrency` is `run-all`.

## On a schedule

A schedule is known from when it is merged to the default branch, and the run works on the newest
commit of that branch with the configuration there. Each due minute starts one run, within a minute
or so. What came due while Conductor was down starts once when it is back, not once for each time
that was missed. Runs of a schedule come after everything that people and changes brought about. A
repository that is archived, or that the App may no longer see, has no schedules until the App is
installed there anew or something is pushed to its default branch.

## One at a time

With `concurrency: { group: NAME }` only one run of the group works at a time, in the whole
repository and whatever its workflow. A newer run waits until the older one has ended; one waits at
most, and a still newer one takes its place. With `cancel-superseded: true` it does not wait: it
cancels the older ones. Steps of a run that waits are shown as queued, and it can be cancelled.

`{branch}` in the name is the branch or tag (`tags/v1`) that was pushed, for a pull request its
base, else the default branch; `{pull-request}` is a number, `{environment}` one of `environments`.
What a run has none of is left empty, so `"fix-{pull-request}"` is `fix-` for every push. No name
that a stranger can choose is filled in. Inside `{ }` quote a name that has placeholders.
"""

_EVERY_STEP = """\
## A step

Every step has these keys; an agent may add its own. Its `agent` is one of the seven below.
"""

_COMMON = (*StepBase.model_fields, "if", "agent")
_WORDS = {
    "object": "mapping",
    "string": "text",
    "integer": "whole number",
    "number": "number",
    "boolean": "`true` or `false`",
    "duration": "duration",
}
_TITLES = {
    "ConductorFile": "The file",
    "Models": "`models`",
    "Budget": "`budget`",
    "Paths": "`paths`",
    "Environment": "`environments.NAME`",
    "Workflow": "`workflows.NAME`",
    "Concurrency": "`workflows.NAME.concurrency`",
    "Triggers": "`workflows.NAME.on`",
    "Rule": "`rules` of a monitor step",
}


def page() -> str:
    """Return the whole page as Markdown."""
    sections: dict[str, JsonSchema] = {"ConductorFile": _schema()}
    _collect(sections, _schema())
    parts = [_INTRODUCTION]
    for name, schema in sections.items():
        if "agent" in schema["properties"] and _EVERY_STEP not in parts:
            parts += [_EVERY_STEP, _table(schema, [*StepBase.model_fields, "if"]), ""]
        parts.append(_section(name, schema))
    return "\n".join(parts)


@cache
def _schema() -> JsonSchema:
    return json_schema()


def _collect(found: dict[str, JsonSchema], schema: JsonSchema) -> None:
    """Gather the sections under one, in the order in which a reader meets them."""
    for prop in schema["properties"].values():
        for name in _references(prop):
            definition = _schema()["$defs"][name]
            if name not in found and definition["type"] == "object":
                found[name] = {"properties": {}, **definition}
                _collect(found, found[name])


def _references(schema: JsonSchema) -> Iterator[str]:
    """Yield the names of the definitions that a value may be made of."""
    if "$ref" in schema:
        yield str(schema["$ref"]).rpartition("/")[2]
    inner: list[JsonSchema] = [*schema.get("anyOf", ()), *schema.get("oneOf", ())]
    inner += schema.get("patternProperties", {}).values()
    inner += [schema[key] for key in ("items",) if key in schema]
    for option in inner:
        yield from _references(option)


def _section(name: str, schema: JsonSchema) -> str:
    properties: dict[str, Any] = schema["properties"]
    lines = [f"## {_title(name, properties)}", "", str(schema["description"]), ""]
    own = [key for key in properties if "agent" not in properties or key not in _COMMON]
    return "\n".join(lines + ([_table(schema, own), ""] if own else []))


def _table(schema: JsonSchema, keys: Sequence[str]) -> str:
    lines = ["| key | value | default | meaning |", "| --- | --- | --- | --- |"]
    required = schema.get("required", ())
    for key, prop in schema["properties"].items():
        if key in keys:
            default = "required" if key in required else _default(prop)
            lines.append(f"| `{key}` | {_type(prop)} | {default} | {_cell(prop['description'])} |")
    return "\n".join(lines)


def _title(name: str, properties: dict[str, Any]) -> str:
    if "agent" in properties:
        return f"A step with `agent: {properties['agent']['const']}`"
    if name in _TITLES:
        return _TITLES[name]
    triggers = _schema()["$defs"]["Triggers"]["properties"]
    kind = next(key for key, prop in triggers.items() if name in set(_references(prop)))
    return f"`on.{kind}`"


def _default(prop: JsonSchema) -> str:
    value = prop.get("default")
    if value in (None, [], {}) or isinstance(value, dict):
        return ""
    return "`" + _cell(value if isinstance(value, str) else json.dumps(value)) + "`"


def _type(prop: JsonSchema) -> str:
    options = [option for option in prop.get("anyOf", ()) if option.get("type") != "null"]
    if len(options) > 1:
        return " or ".join(dict.fromkeys(_type(option) for option in options))
    schema = outline().resolved(prop)
    if choices := outline().listed(schema):
        return ", ".join(f"`{value}`" for value in choices)
    kind = schema["type"]
    if kind == "array":
        return f"list of {_type(schema['items'])}"
    return _WORDS["duration" if isinstance(kind, list) else kind] + _bounds(schema)


def _bounds(schema: JsonSchema) -> str:
    low = schema.get("minimum", schema.get("exclusiveMinimum"))
    high = schema.get("maximum", schema.get("exclusiveMaximum"))
    if low is None or high is None or abs(high) >= 1e9:
        return ""
    above = "above " if "exclusiveMinimum" in schema else ""
    return f", {above}{low:g} to {high:g}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    sys.stdout.write(page())
