"""Which of the schemas matter for the change: the model's choice, or what the change touches."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from pydantic import Field

from pipelines.agents import prompts
from pipelines.agents.context import AgentContext
from pipelines.agents.fence import Fence, presentable
from pipelines.agents.hidden import strip_comments
from pipelines.agents.lessons import lessons_block
from pipelines.agents.structured import Strict, ask
from pipelines.agents.testdata.schemas import Schema
from pipelines.integrations.llm.base import ChatMessage, ModelRequest, OutputSchema, Part
from pipelines.model import ChangedFile, Task

MAX_PLANNED = 10
_MAX_LISTED = 60
_MAX_PATCH = 20_000
_MAX_WORDS = 3_000


class Choice(Strict):
    """One schema that the model wants data for."""

    path: str = Field(max_length=4096)
    name: str = Field(max_length=200)


class PlanAnswer(Strict):
    """Everything that the model wants data for, the most important first."""

    schemas: list[Choice] = Field(max_length=50)


@dataclass(frozen=True, slots=True)
class Plan:
    """The schemas to generate data for, and a note if the model did not choose them."""

    schemas: tuple[Schema, ...]
    note: str = ""


async def plan(
    task: Task,
    context: AgentContext,
    schemas: Sequence[Schema],
    changed: Mapping[str, ChangedFile],
) -> Plan:
    """Return at most ten schemas, and with each those that it refers to."""
    request = _request(task, schemas, changed, Fence(context.rng))
    reply = await ask(context.model, request, PlanAnswer, "test_data_repair")
    if reply.answer is None:
        chosen = touched(schemas, changed)
        note = f"The schemas were chosen by what the change touches: {reply.obstacle}."
        return Plan(_with_parents(chosen, schemas), note)
    known = {(schema.path, schema.name): schema for schema in schemas}
    named = dict.fromkeys((choice.path, choice.name) for choice in reply.answer.schemas)
    return Plan(_with_parents([known[key] for key in named if key in known], schemas))


def touched(schemas: Sequence[Schema], changed: Mapping[str, ChangedFile]) -> list[Schema]:
    """Return the schemas whose file or name the change touches, or all if it touches none."""
    patches = "\n".join(file.patch or "" for file in changed.values())
    found = [s for s in schemas if s.path in changed or s.name in patches]
    return found or list(schemas)


def _with_parents(chosen: Iterable[Schema], schemas: Sequence[Schema]) -> tuple[Schema, ...]:
    """Add what is referred to; of schemas with one name the first counts."""
    named: dict[str, Schema] = {}
    for schema in schemas:
        named.setdefault(schema.name, schema)
    found: dict[str, Schema] = {}
    waiting = list(chosen)[:MAX_PLANNED]
    while waiting:
        schema = waiting.pop(0)
        if schema.name not in found:
            found[schema.name] = schema
            waiting += [named[r.schema] for r in schema.references if r.schema in named]
    return tuple(found.values())


def _request(
    task: Task, schemas: Sequence[Schema], changed: Mapping[str, ChangedFile], fence: Fence
) -> ModelRequest:
    body, _ = strip_comments(task.change.body)
    words = {
        "title": presentable(task.change.title)[:500],
        "body": presentable(body)[:_MAX_WORDS],
        "asked": presentable(task.instruction)[:_MAX_WORDS],
    }
    listed = [
        {"path": schema.path, "name": schema.name, "fields": _fields(schema)}
        for schema in schemas[:_MAX_LISTED]
    ]
    patches = "\n".join(f"{path}\n{file.patch or ''}" for path, file in changed.items())
    blocks = [
        fence.announcement,
        fence.block("description", json.dumps(words, ensure_ascii=False)),
        fence.block("schemas", presentable(json.dumps(listed, ensure_ascii=False, indent=1))),
        fence.block("diff", presentable(patches)[:_MAX_PATCH]),
        lessons_block(task.lessons, fence),
        "Name the schemas that need test data and answer with the JSON object.\n",
    ]
    return ModelRequest(
        purpose="test_data",
        system=(Part(text=prompts.load("test_data"), cache=True),),
        messages=(ChatMessage(role="user", parts=(Part(text="".join(blocks)),)),),
        output=OutputSchema(name="plan", json_schema=PlanAnswer.model_json_schema()),
        max_output_tokens=2_048,
    )


def _fields(schema: Schema) -> list[str]:
    document = schema.document
    name = str(document.get("$ref", "")).rsplit("/", 1)[-1]
    defined = document.get("$defs") or document.get("components", {}).get("schemas", {})
    described = defined.get(name, document)
    return list(described.get("properties", {}))[:40]
