"""Asks the model what to do about a breach; nothing depends on the answer, and little is taken."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import Field

from pipelines.agents import prompts
from pipelines.agents.context import AgentContext
from pipelines.agents.fence import Fence, one_line, presentable
from pipelines.agents.lessons import lessons_block
from pipelines.agents.structured import Strict, ask
from pipelines.errors import ConductorError, LeaseLost
from pipelines.integrations.llm.base import ChatMessage, ModelRequest, OutputSchema, Part
from pipelines.integrations.llm.deadline import DeadlinePassed, within
from pipelines.model import Breach, ChangedFiles, Task, TraceReport

MOST = 5
_MAX_LENGTH = 300
_MAX_DIFF = 20_000
_MAX_OPERATIONS = 20
_MAX_OUTPUT_TOKENS = 1_024
_PATIENCE_SECONDS = 60.0
_UNWANTED = re.compile(r"://|www\.|@\w|<|>|\]\(|!\[|`{3}|/conductor\b", re.IGNORECASE)
"""What plain advice has no need of and a reader could be led astray by."""


class Recommendations(Strict):
    """What the model advises."""

    recommendations: list[str] = Field(max_length=20)


OUTPUT = OutputSchema(
    name="recommendations",
    json_schema={
        "type": "object",
        "properties": {"recommendations": {"type": "array", "items": {"type": "string"}}},
        "required": ["recommendations"],
        "additionalProperties": False,
    },
)


@dataclass(frozen=True, slots=True)
class Advice:
    """Plain sentences, or why there are none."""

    sentences: tuple[str, ...] = ()
    obstacle: str = ""


async def advise(
    task: Task,
    breaches: Sequence[Breach],
    traces: TraceReport,
    seconds: float,
    context: AgentContext,
) -> Advice:
    """Return what the model recommends; at most so many seconds are spent on it."""
    patience = min(seconds, _PATIENCE_SECONDS)
    if patience <= 0:
        return Advice(obstacle="No recommendations: there was no time left to ask a model.")
    try:
        listing = await context.reader.changed_files()
        request = _request(task, breaches, traces, listing, Fence(context.rng))
        asking = ask(context.model, request, Recommendations, "monitor_repair")
        reply = await within(context.clock, patience, asking)
    except LeaseLost:
        raise
    except DeadlinePassed:
        return Advice(obstacle="No recommendations: the model did not answer in time.")
    except ConductorError as error:
        return Advice(obstacle=f"No recommendations: {one_line(str(error), _MAX_LENGTH)}")
    if reply.answer is None:
        return Advice(obstacle=f"No recommendations: {one_line(reply.obstacle, _MAX_LENGTH)}.")
    lines = [one_line(text, _MAX_LENGTH) for text in reply.answer.recommendations]
    usable = tuple(dict.fromkeys(text for text in lines if text and not _UNWANTED.search(text)))
    return Advice(usable[:MOST], "" if usable else "No recommendations: the model gave none.")


def _request(
    task: Task,
    breaches: Sequence[Breach],
    traces: TraceReport,
    listing: ChangedFiles,
    fence: Fence,
) -> ModelRequest:
    numbers = [
        each.model_dump(mode="json", exclude={"query", "points", "severity"}) for each in breaches
    ]
    text = (
        fence.announcement
        + fence.block("signals", json.dumps(numbers, indent=1))
        + fence.block("operations", _operations(traces))
        + fence.block("diff", _diff(listing))
        + lessons_block(task.lessons, fence)
        + "Answer with the JSON object.\n"
    )
    return ModelRequest(
        purpose="monitor",
        system=(Part(text=prompts.load("monitor"), cache=True),),
        messages=(ChatMessage(role="user", parts=(Part(text=text),)),),
        output=OUTPUT,
        max_output_tokens=_MAX_OUTPUT_TOKENS,
    )


def _operations(traces: TraceReport) -> str:
    worst = sorted(traces.operations, key=lambda each: (-each.errors, -each.p95_seconds))
    rows = [
        {
            "operation": presentable(each.operation),
            "count": each.count,
            "errors": each.errors,
            "p95_seconds": each.p95_seconds,
        }
        for each in worst[:_MAX_OPERATIONS]
    ]
    return json.dumps(rows, ensure_ascii=False, indent=1)


def _diff(listing: ChangedFiles) -> str:
    """Return the deployed change as far as there is room for it."""
    left, parts = _MAX_DIFF, list[str]()
    for file in listing.files:
        text = presentable(f"{file.path} ({file.status})\n{file.patch or ''}")
        if len(text) > left:
            parts.append(f"({len(listing.files) - len(parts)} further files are not shown)")
            break
        left -= len(text)
        parts.append(text)
    return "\n".join(parts)
