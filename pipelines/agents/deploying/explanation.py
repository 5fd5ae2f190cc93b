"""Asks the model what a failed rollout's log shows; nothing depends on the answer."""

import asyncio
from collections.abc import Sequence

from pydantic import Field, ValidationError

from pipelines.agents import prompts
from pipelines.agents.context import AgentContext
from pipelines.agents.deploying.words import line
from pipelines.agents.fence import Fence, presentable
from pipelines.agents.structured import Strict
from pipelines.errors import Parked, Retryable, UserError
from pipelines.integrations.llm.base import ChatMessage, ModelRequest, OutputSchema, Part

_MAX_LOG = 16_000
_MAX_FILES = 50
_MAX_OUTPUT_TOKENS = 1_024
_PATIENCE_SECONDS = 60.0


class Explanation(Strict):
    """What the model makes of the log."""

    quote: str = Field(min_length=1, max_length=1_000)
    explanation: str = Field(min_length=1, max_length=2_000)


_OUTPUT = OutputSchema(
    name="explanation",
    json_schema={
        "type": "object",
        "properties": {"quote": {"type": "string"}, "explanation": {"type": "string"}},
        "required": ["quote", "explanation"],
        "additionalProperties": False,
    },
)


async def explain(
    reason: str, log: str, paths: Sequence[str], seconds: float, context: AgentContext
) -> str:
    """Return the model's explanation, or a sentence that says why there is none.

    At most so many seconds are spent on it. The answer counts only if it quotes a line of the log.
    """
    text = presentable(log)[-_MAX_LOG:]
    if not text.strip():
        return "The service left no output that could explain it."
    request = _request(reason, text, paths, Fence(context.rng))
    try:
        async with asyncio.timeout(max(0.0, min(seconds, _PATIENCE_SECONDS))):
            response = await context.model.complete(request)
    except TimeoutError:
        return "No explanation by a model: it did not answer in time."
    except (Retryable, Parked, UserError) as error:
        return f"No explanation by a model: {line(str(error))}"
    if response.stop != "end":
        return "No explanation by a model: it gave no whole answer."
    return _verified(response.text, text)


def _verified(answer: str, log: str) -> str:
    try:
        said = Explanation.model_validate_json(answer)
        said.model_dump_json()
    except (ValidationError, ValueError):
        return "No explanation by a model: its answer was unusable."
    lines = {row.strip() for row in log.splitlines()}
    if not said.quote.strip() or said.quote.strip() not in lines:
        return "No explanation by a model: what it quoted is not in the log."
    return f"A model's reading of the log, not verified: {line(said.explanation, 1_000)}"


def _request(reason: str, log: str, paths: Sequence[str], fence: Fence) -> ModelRequest:
    files = presentable("\n".join(paths[:_MAX_FILES])) or "(not known)"
    text = (
        fence.announcement
        + fence.block("failure", line(reason))
        + fence.block("files", files)
        + fence.block("log", log)
        + "Explain the failure above and answer with the JSON object.\n"
    )
    return ModelRequest(
        purpose="deploy.explain",
        system=(Part(text=prompts.load("deploy_explain"), cache=True),),
        messages=(ChatMessage(role="user", parts=(Part(text=text),)),),
        output=_OUTPUT,
        max_output_tokens=_MAX_OUTPUT_TOKENS,
    )
