"""Asks the model for the tests that a change is missing, and takes only what could be one."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pydantic import Field, JsonValue

from pipelines.agents import prompts
from pipelines.agents.context import AgentContext
from pipelines.agents.fence import Fence, presentable
from pipelines.agents.hidden import strip_comments, strip_hidden
from pipelines.agents.lessons import lessons_block
from pipelines.agents.structured import Reply, Strict, ask
from pipelines.agents.syntax import parses_as_python
from pipelines.agents.testing.layout import Layout
from pipelines.integrations.llm.base import ChatMessage, ModelRequest, OutputSchema, Part
from pipelines.model import Task
from pipelines.paths import refused_content
from pipelines.redaction import redact

MAX_TESTS = 3
_MAX_OUTPUT_TOKENS = 8_192
_MAX_CONTENT = 40_000
_MAX_FILE = 30_000
_MAX_EXAMPLE = 6_000
_MAX_WORDS = 3_000
_IS_TEST = {
    "python": re.compile(r"^\s*(?:async\s+)?def test|^class \w*Test|TestCase", re.MULTILINE),
    "go": re.compile(r"^func Test\w*\(", re.MULTILINE),
}
_IS_CALLED_TEST = re.compile(r"\b(?:it|test)(?:\.\w+)?\s*\(")


class ProposedTest(Strict):
    """One new test file, as the model proposes it; where it goes is not the model's choice."""

    source: str = Field(max_length=4096)
    title: str = Field(max_length=300)
    content: str = Field(max_length=_MAX_CONTENT)


class TestAnswer(Strict):
    """All that is missing."""

    __test__ = False

    tests: list[ProposedTest] = Field(max_length=MAX_TESTS)


@dataclass(frozen=True, slots=True)
class ChangedSource:
    """A source file that the change edits: its text at both commits and the lines it adds."""

    path: str
    text: str
    before: str | None
    lines: frozenset[int]
    target: str
    """Where a new test of it goes."""
    example: str
    """A test that is there already, in the project's own manner; empty if there is none."""


@dataclass(frozen=True, slots=True)
class Tried:
    """A test that the model proposed before, why it was discarded, and what it printed."""

    source: str
    content: str
    reason: str
    output: str


async def propose(
    task: Task,
    context: AgentContext,
    layout: Layout,
    sources: Sequence[ChangedSource],
    tried: Sequence[Tried] = (),
) -> Reply[TestAnswer]:
    """Return what the model proposes, or why it proposes nothing."""
    fence = Fence(context.rng)
    request = _request(layout, (_blocks(task, sources, fence), _again(tried, fence)))
    return await ask(context.model, request, TestAnswer, "test_repair")


def _blocks(task: Task, sources: Sequence[ChangedSource], fence: Fence) -> str:
    blocks = [fence.announcement, fence.block("description", _description(task))]
    for source in sources:
        blocks.append(fence.block("file", _file(source)))
        if source.example:
            blocks.append(fence.block("example", presentable(source.example)[:_MAX_EXAMPLE]))
    if fixtures := _fixtures(task.inputs):
        blocks.append(fence.block("fixtures", presentable(fixtures)))
    return "".join((*blocks, lessons_block(task.lessons, fence)))


def _again(tried: Sequence[Tried], fence: Fence) -> str:
    """Return what came of the tests before; the output is a stranger's like all the rest."""
    return "".join(
        fence.block(
            "tried",
            json.dumps({"source": presentable(each.source), "discarded because": each.reason})
            + f"\n{presentable(each.content)[:_MAX_EXAMPLE]}\n"
            + f"--- the end of its output\n{presentable(each.output)[-_MAX_WORDS:]}",
        )
        for each in tried
    )


def _request(layout: Layout, blocks: tuple[str, str]) -> ModelRequest:
    about = {"framework": layout.framework, "language": layout.language}
    stable = f"Project: {json.dumps(about)}\n\n"
    subject, again = blocks
    ask_for = "Write the tests that are missing and answer with the JSON object.\n"
    return ModelRequest(
        purpose="test.again" if again else "test",
        system=(Part(text=prompts.load("test"), cache=True),),
        messages=(
            ChatMessage(
                role="user",
                parts=(Part(text=stable, cache=True), Part(text=subject + again + ask_for)),
            ),
        ),
        output=OutputSchema(name="tests", json_schema=TestAnswer.model_json_schema()),
        max_output_tokens=_MAX_OUTPUT_TOKENS,
    )


def _description(task: Task) -> str:
    body, _ = strip_comments(task.change.body)
    words = {
        "title": presentable(task.change.title)[:500],
        "body": presentable(body)[:_MAX_WORDS],
        "asked": presentable(task.instruction)[:_MAX_WORDS],
    }
    return json.dumps(words, ensure_ascii=False, indent=1)


def _file(source: ChangedSource) -> str:
    header = json.dumps({"path": presentable(source.path), "test": source.target})
    rows = [
        f"{number:>5} {'+' if number in source.lines else ' '} {line}"
        for number, line in enumerate(source.text.split("\n"), 1)
    ]
    return f"{header}\n{presentable(chr(10).join(rows))[:_MAX_FILE]}"


def _fixtures(inputs: Mapping[str, JsonValue]) -> str:
    """Return what earlier steps say about fixtures that they made, as JSON; empty if nothing."""
    made = {
        step: output["fixtures"]
        for step, output in inputs.items()
        if isinstance(output, dict) and "fixtures" in output
    }
    return json.dumps(made, ensure_ascii=False)[:_MAX_EXAMPLE] if made else ""


def unfit(proposed: ProposedTest, layout: Layout) -> str:
    """Return why a proposal cannot be a test file, as a clause, or nothing if it can."""
    content = proposed.content
    if reason := refused_content(content):
        return reason
    if strip_hidden(content)[1]:
        return "it contains characters that cannot be seen"
    if redact(content)[1]:
        return "it contains what looks like a secret"
    if not _IS_TEST.get(layout.language, _IS_CALLED_TEST).search(content):
        return "it holds no test"
    if layout.language == "python" and not parses_as_python(content):
        return "it is not Python"
    return ""
