"""A model that fails in any way: the run ends soon, says so, and no check turns red for it."""

from collections.abc import Callable

import pytest

from pipelines.agents.registry import AGENTS
from pipelines.errors import ModelUnavailable, Retryable
from pipelines.integrations.llm.base import LanguageModel, ModelRequest, ModelResponse
from pipelines.integrations.llm.chain import ModelChain
from pipelines.integrations.llm.faults import Provider, Refusal, as_error
from tests.support.clock import VirtualClock
from tests.support.models import Answer, ScriptedModel
from tests.support.stage import Play, Stage
from tests.sweep.plays import SCENARIOS, Scenario

LONGEST = 15 * 60
"""Seconds from the event to the end of every check."""
ATTEMPTS = 3
CALL_SECONDS = 180.0
"""After which a model that says nothing is given up."""


Fault = Callable[[VirtualClock], LanguageModel]


def failing(message: str, retry_after: float | None = None) -> Fault:
    error = Retryable(message, retry_after=retry_after, dependency="scripted")
    return lambda _: ScriptedModel(error)


VENDOR = Provider("vendor", "Vendor", "VENDOR_API_KEY", "VENDOR_BASE_URL")


def saying(answer: Answer) -> Fault:
    return lambda _: ScriptedModel(answer)


class Hanging(ScriptedModel):
    """Gives no answer until it is given up, as a model over HTTP is after its own limit."""

    def __init__(self, clock: VirtualClock) -> None:
        super().__init__()
        self._clock = clock

    async def complete(self, request: ModelRequest) -> ModelResponse:
        self.requests.append(request)
        await self._clock.sleep(CALL_SECONDS)
        raise Retryable("The model did not answer in time.", dependency="scripted")


FAULTS: dict[str, Fault] = {
    "429 for ever": failing("Too many requests.", 30.0),
    "529": failing("The model is overloaded."),
    "500": failing("The provider is in trouble."),
    "nobody listens": failing("The connection was refused."),
    "hangs": Hanging,
    "wrong key": saying(as_error(Refusal(401, "", "no"), VENDOR, "model")),
    "no money": lambda _: ScriptedModel(ModelUnavailable("The account is empty.")),
    "garbage": saying("Sure! }{ \x00 here you go"),
    "null": saying("null"),
    "cut off": saying(('{"findings": [{"path": "sh', "length")),
    "refusal": saying(("I cannot help with that.", "refusal")),
    "filtered": saying(("", "filtered")),
    "empty": saying(""),
}
PATHS = {
    "coding": "coding obeys a command",
    "deploy": "deploy fails and goes back",
    "devops": "devops writes a pipeline, and somebody approves",
    "monitor": "monitor opens an issue",
    "review": "review posts",
    "test": "test commits a proven test",
    "test-data": "test-data commits",
}
SILENT = {"coding", "devops", "review", "test"}
"""Agents of whose checks nothing but the model decides here."""


class Chained(Stage):
    """A stage whose model is called as in production, through a chain, and fails."""

    def __init__(self, play: Play, fault: Fault) -> None:
        self._fault = fault
        super().__init__(play)

    def _model(self) -> LanguageModel:
        return ModelChain([self._fault(self.clock)], clock=self.clock)


async def ended(scenario: Scenario, fault: Fault) -> tuple[float, int, str]:
    """Return the seconds to the end of the last run, the most attempts, and its conclusion."""
    stage = Chained(scenario.play, fault)
    await stage.start()
    if scenario.before is not None:
        await scenario.before(stage)
    begun = stage.clock.now()
    await scenario.happens(stage)
    await stage.settle()
    await stage.check_accounts()
    runs = await stage.runs()
    await stage.close()
    ends = max(run.updated_at for run in runs)
    attempts = max(step.attempt for run in runs for step in run.steps)
    return (ends - begun).total_seconds(), attempts, str(runs[-1].conclusion)


def test_every_agent_is_here() -> None:
    assert set(PATHS) == set(AGENTS)


@pytest.mark.parametrize("agent", sorted(PATHS))
async def test_whatever_fails_at_the_model_the_run_ends_within_a_quarter_of_an_hour(
    agent: str,
) -> None:
    found = {name: await ended(SCENARIOS[PATHS[agent]], fault) for name, fault in FAULTS.items()}
    longest = max(found.values())[0]
    attempts = max(attempts for _, attempts, _ in found.values())
    kinds = sorted({conclusion for _, _, conclusion in found.values()})
    print(f"R23: {agent}: {len(found)} faults: {longest:.0f} s, {attempts} attempts, {kinds}")
    assert longest <= LONGEST
    assert attempts <= ATTEMPTS
    if agent in SILENT:
        assert "failure" not in kinds
