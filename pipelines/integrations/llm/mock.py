"""A scripted model, ``mock:FILE``: answers by rules, for the demo, for tests and for trying things.

The file format is in ``docs/models.md``.
"""

import json
from pathlib import Path
from typing import Literal, cast

from pydantic import Field, JsonValue, ValidationError, model_validator

from pipelines.errors import ModelUnavailable, UserError
from pipelines.integrations.llm.base import (
    BrokenAnswer,
    LanguageModel,
    ModelRequest,
    ModelResponse,
)
from pipelines.integrations.llm.calls import Draft
from pipelines.integrations.llm.faults import Provider, Refusal, as_error
from pipelines.integrations.llm.prices import PriceTable
from pipelines.integrations.llm.streaming import concluded, prompt_tokens
from pipelines.integrations.llm.tokens import estimate_tokens
from pipelines.model import Frozen, Usage
from pipelines.ports import Clock

MAX_SCRIPT_BYTES = 8 * 1024 * 1024
PROVIDER = Provider("mock", "The scripted model", "CONDUCTOR_MODELS", "CONDUCTOR_MODELS")


class ScriptedCall(Frozen):
    """One tool call; as text, ``arguments`` are what the model wrote, JSON or not."""

    name: str
    arguments: dict[str, JsonValue] | str = Field(default_factory=dict[str, JsonValue])
    id: str = ""

    @property
    def draft(self) -> Draft:
        """The call as it would arrive from a provider."""
        raw = self.arguments if isinstance(self.arguments, str) else json.dumps(self.arguments)
        return Draft(id=self.id, name=self.name, pieces=[raw])


class Reply(Frozen):
    """One answer, or one failure.

    Exactly one of ``json``, ``text``, ``calls``, ``status`` and ``broken``; but ``text`` may go
    before ``calls``.
    """

    json_value: JsonValue = Field(default=None, alias="json")
    text: str | None = None
    calls: tuple[ScriptedCall, ...] = ()
    status: int | None = Field(default=None, ge=400, le=599)
    message: str = ""
    retry_after: float | None = Field(default=None, ge=0)
    broken: bool = False
    stop: Literal["end", "length", "refusal", "filtered", "other"] = "end"
    delay: float = Field(default=0.0, ge=0)
    """Seconds of the clock before the answer."""

    @model_validator(mode="after")
    def _has_one_kind(self) -> "Reply":
        said = self.text is not None or bool(self.calls)
        kinds = ("json_value" in self.model_fields_set) + said
        kinds += (self.status is not None) + self.broken
        if kinds != 1:
            raise ValueError("give exactly one of json, text, calls, status, broken")
        return self

    @property
    def content(self) -> str:
        """The text that the model says."""
        if self.text is not None or self.calls:
            return self.text or ""
        return json.dumps(self.json_value, ensure_ascii=False)

    @property
    def written(self) -> str:
        """All that the model writes: its text and its calls."""
        drafts = (call.draft for call in self.calls)
        return "\n".join((self.content, *("".join((d.name, *d.pieces)) for d in drafts)))


class Rule(Frozen):
    """Which requests it answers, and with what.

    ``purpose`` equals the request's; each of ``contains`` must be in the prompt and none of
    ``lacks`` may be; ``turn`` is which answer of the conversation is asked for, 1 for the first.
    ``replies`` are used in order; the last one repeats unless ``times`` is set.
    """

    purpose: str | None = None
    contains: tuple[str, ...] = ()
    lacks: tuple[str, ...] = ()
    turn: int | None = Field(default=None, ge=1)
    replies: tuple[Reply, ...] = Field(min_length=1)
    times: int | None = Field(default=None, ge=1)

    def matches(self, request: ModelRequest, prompt: str) -> bool:
        """Return whether the rule is about this request."""
        if self.purpose is not None and self.purpose != request.purpose:
            return False
        answered = sum(message.role == "assistant" for message in request.messages)
        if self.turn is not None and self.turn != answered + 1:
            return False
        return all(part in prompt for part in self.contains) and not any(
            part in prompt for part in self.lacks
        )


class Script(Frozen):
    """Rules in order of precedence: the first that matches and is not used up answers."""

    rules: tuple[Rule, ...] = Field(min_length=1)


def load_script(path: Path) -> Script:
    """Read a script: one JSON object with ``rules``, or one rule a line; raises UserError."""
    script = f"The model script {path.name}"
    try:
        if path.exists() and not path.is_file():
            raise UserError(f"{script} is not a regular file.")
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"{script} cannot be read: {error.strerror}.") from error
    if len(data) > MAX_SCRIPT_BYTES:
        raise UserError(f"{script} is larger than {MAX_SCRIPT_BYTES} bytes.")
    try:
        return Script.model_validate(_decoded(data.decode("utf-8")))
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the top level"
        raise UserError(f"{script} is wrong at {where}: {first['msg']}.") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{script} is not JSON or JSON lines: {error}.") from error


def _decoded(text: str) -> object:
    try:
        whole: object = json.loads(text)
    except json.JSONDecodeError:
        lines = [line for line in text.splitlines() if line.strip()]
        return {"rules": [json.loads(line) for line in lines]}
    if isinstance(whole, dict) and "rules" in whole:
        return cast("dict[str, object]", whole)
    return {"rules": [cast("object", whole)]}


class MockModel(LanguageModel):
    """Answers from a script; costs nothing unless the price table says otherwise."""

    def __init__(self, name: str, script: Script, *, clock: Clock, prices: PriceTable) -> None:
        self.name = f"{PROVIDER.name}:{name}"
        self._script = script
        self._clock = clock
        self._prices = prices
        self._used = [0] * len(script.rules)

    @property
    def context_tokens(self) -> int:
        """The window as the price table has it."""
        return self._prices.context_tokens(self.name)

    def estimate_tokens(self, text: str) -> int:
        """Return an upper estimate from the text's shape."""
        return estimate_tokens(text)

    def worst_cost_usd(self, request: ModelRequest) -> float:
        """Return the price of the estimated prompt and of the longest answer it may get."""
        return self._prices.worst_cost(self.name, prompt_tokens(request), request.max_output_tokens)

    async def complete(self, request: ModelRequest) -> ModelResponse:
        """Return the scripted answer, or raise what the script says."""
        started = self._clock.monotonic()
        reply = self._next_reply(request)
        if reply.delay:
            await self._clock.sleep(reply.delay)
        if reply.status is not None:
            refused = Refusal(reply.status, "", reply.message, reply.retry_after)
            raise as_error(refused, PROVIDER, self.name.removeprefix("mock:"))
        usage = Usage(
            calls=1,
            input_tokens=prompt_tokens(request),
            output_tokens=0 if reply.broken else estimate_tokens(reply.written),
            latency_seconds=self._clock.monotonic() - started,
            models=(self.name,),
        )
        usage = usage.model_copy(update={"cost_usd": self._prices.cost(self.name, usage)})
        if reply.broken:
            message = f"{PROVIDER.title} broke off its answer. {reply.message}".strip()
            raise BrokenAnswer(message, dependency=PROVIDER.name, usage=usage)
        calls, stop = concluded((call.draft for call in reply.calls), reply.stop, request)
        return ModelResponse(
            text=reply.content, stop=stop, calls=calls, usage=usage, model=self.name
        )

    def _next_reply(self, request: ModelRequest) -> Reply:
        prompt = "\n".join(request.texts)
        for index, rule in enumerate(self._script.rules):
            used = self._used[index]
            if (rule.times is None or used < rule.times) and rule.matches(request, prompt):
                self._used[index] += 1
                return rule.replies[min(used, len(rule.replies) - 1)]
        raise ModelUnavailable(
            f"No rule of the script {self.name} matches this request (purpose "
            f"{request.purpose!r}, {len(prompt)} characters): add one to the file."
        )

    async def close(self) -> None:
        """Nothing is held."""
