"""Agents in this process."""

import pytest

from pipelines.agents import registry
from pipelines.agents.runner import LocalRunner
from pipelines.errors import UserError
from pipelines.integrations.llm.base import LanguageModel
from pipelines.model import Conclusion
from tests.support.clock import VirtualClock
from tests.support.models import ScriptedModel, findings
from tests.support.workplace import MemoryWorkplace
from tests.unit.agents.material import review_task


def runner_with(model: ScriptedModel) -> tuple[LocalRunner, list[tuple[str, ...]]]:
    asked: list[tuple[str, ...]] = []

    def factory(chain: tuple[str, ...]) -> LanguageModel:
        asked.append(chain)
        return model

    return LocalRunner(factory, VirtualClock()), asked


async def test_a_chain_is_made_once_and_closed_with_the_runner() -> None:
    model = ScriptedModel(findings())
    runner, asked = runner_with(model)
    for _ in range(2):
        task = review_task(models=("scripted:model",))
        result = await runner.run(task, MemoryWorkplace({"a.py": "x = 1\n"}, {}))
        assert result.conclusion is Conclusion.SUCCESS
    assert asked == [("scripted:model",)]
    assert not model.closed
    await runner.close()
    assert model.closed


async def test_without_a_model_the_rest_of_the_work_is_done_and_said() -> None:
    def factory(chain: tuple[str, ...]) -> LanguageModel:
        raise UserError("Set ANTHROPIC_API_KEY or OPENAI_API_KEY.")

    runner = LocalRunner(factory, VirtualClock())
    head = {"a.py": "key = 'AKIAABCDEFGHIJKLMNOP'\n"}
    result = await runner.run(review_task(), MemoryWorkplace(head, {}))
    assert result.status == "completed"
    assert result.conclusion is Conclusion.NEUTRAL
    assert result.title == "Set ANTHROPIC_API_KEY or OPENAI_API_KEY"
    assert [finding.category for finding in result.findings] == ["secret"]
    assert [item.path for item in result.coverage.unseen] == ["a.py"]
    await runner.close()


async def test_an_unknown_agent_is_named_with_the_known_ones() -> None:
    runner, _ = runner_with(ScriptedModel())
    with pytest.raises(UserError, match=r"no agent 'reviewer'; there are: .*review"):
        await runner.run(review_task(agent="reviewer"), MemoryWorkplace({}))


def test_every_registered_agent_stands_under_its_own_name() -> None:
    assert {name: registry.create(name).name for name in registry.AGENTS} == {
        name: name for name in registry.AGENTS
    }
