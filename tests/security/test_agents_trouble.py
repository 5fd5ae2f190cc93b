"""Every agent against every kind of useless model: it ends, says so, and claims nothing."""

import re
from collections.abc import Callable

import pytest

from pipelines.agents.registry import AGENTS
from pipelines.agents.runner import LocalRunner
from pipelines.errors import Retryable
from pipelines.integrations.llm.base import LanguageModel, ToolCall
from pipelines.model import Conclusion, OpenIssue, SubmitReview, TaskResult
from tests.support.casting import PARTS
from tests.support.models import HangingModel, ScriptedModel, call
from tests.support.warp import LoopClock, warped

TROUBLE: dict[str, Callable[[], LanguageModel]] = {
    "garbage": lambda: ScriptedModel("Sure! }{ \x00 \ud7ff here you go"),
    "null": lambda: ScriptedModel("null"),
    "wrong shape": lambda: ScriptedModel('{"x": [1, {"y": null}]}'),
    "a list": lambda: ScriptedModel("[]"),
    "truncated": lambda: ScriptedModel(('{"findings": [{"path": "sh', "length")),
    "refusal": lambda: ScriptedModel(("I cannot help with that.", "refusal")),
    "filtered": lambda: ScriptedModel(("", "filtered")),
    "empty": lambda: ScriptedModel(""),
    "deep": lambda: ScriptedModel("[" * 50_000),
    "hanging": HangingModel,
    "429 for ever": lambda: ScriptedModel(
        Retryable("Too many requests.", retry_after=30.0, dependency="scripted")
    ),
    "malformed call": lambda: ScriptedModel(
        (ToolCall(id="", name="read_file", arguments={}, problem="The arguments are no JSON."),)
    ),
    "unknown tool": lambda: ScriptedModel((call("merge_pull_request", number=1),)),
    "endless tools": lambda: ScriptedModel((call("list_files", pattern="**"),)),
    "two megabytes": lambda: ScriptedModel("x" * 2_000_000, price=0.1),
    "no budget": lambda: ScriptedModel("{}"),
}
NEEDS_THE_MODEL = {"coding", "devops", "review"}
"""These have nothing to say without it; the others do what they can and say what was left out."""


def performed(agent: str, trouble: str) -> tuple[TaskResult, float, float]:
    """Return the result, what it was allowed to cost, and the seconds that went by."""

    async def act() -> tuple[TaskResult, float, float]:
        clock = LoopClock()
        part = PARTS[agent]().with_clock(clock)
        budget = 0.0 if trouble == "no budget" else part.task.budget_usd
        task = part.task.model_copy(update={"budget_usd": budget})
        model = TROUBLE[trouble]()
        result = await LocalRunner(lambda _: model, clock).run(task, part.workplace)
        return result, budget, clock.monotonic()

    return warped(act())


def test_every_agent_is_here() -> None:
    assert set(PARTS) == set(AGENTS)


@pytest.mark.parametrize("trouble", list(TROUBLE))
@pytest.mark.parametrize("agent", sorted(PARTS))
def test_a_useless_model_leaves_a_result_that_says_so(agent: str, trouble: str) -> None:
    result, budget, seconds = performed(agent, trouble)
    assert result.usage.cost_usd <= budget
    assert seconds <= 30 * 60 + 1, "it ends by its deadline"
    assert (result.status == "failed") == (result.failure is not None)
    assert_one_sentence(result.title)
    assert result.failure is None or result.failure.kind != "ours", result.title
    assert_nothing_rests_on_the_model(agent, result)


def assert_one_sentence(title: str) -> None:
    assert 0 < len(title) <= 400, title
    assert title.isprintable(), title
    assert not re.search(r"Traceback|Error\(|ValidationError|pydantic", title), title


def assert_nothing_rests_on_the_model(agent: str, result: TaskResult) -> None:
    kinds = {effect.kind for effect in result.effects}
    if agent in NEEDS_THE_MODEL:
        assert result.conclusion is not Conclusion.SUCCESS, result.title
        assert not kinds & {"push_commit", "open_pull_request"}, result.title
    if agent == "test":
        assert not kinds, "a test is kept only if somebody wrote it"
    for effect in result.effects:
        if isinstance(effect, SubmitReview):
            assert not effect.findings
        if isinstance(effect, OpenIssue):
            assert not effect.payload.recommendations


@pytest.mark.parametrize("trouble", ["garbage", "refusal", "hanging", "no budget"])
@pytest.mark.parametrize("agent", sorted(set(PARTS) - {"coding", "devops", "review"}))
def test_what_an_agent_did_without_its_model_is_told(agent: str, trouble: str) -> None:
    result, _, _ = performed(agent, trouble)
    said = f"{result.title} {result.summary}".lower()
    assert re.search(r"model|budget|answer|the time for", said), said
