"""A bounded conversation in which a model works with tools until it gives its answer."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Generic, Literal, TypeVar

from pydantic import BaseModel

from pipelines.agents.context import AgentContext
from pipelines.agents.fence import Fence, presentable
from pipelines.agents.structured import read_answer
from pipelines.agents.tools import AnyTool, ToolError, head_and_tail
from pipelines.errors import BudgetExceeded, Retryable
from pipelines.integrations.llm.base import (
    ChatMessage,
    ModelRequest,
    ModelResponse,
    OutputSchema,
    Part,
    PromptTooLong,
    ToolCall,
    ToolResult,
)

Ended = Literal["answered", "turns", "budget", "context", "refused", "unusable", "stuck"]
Answer = TypeVar("Answer", bound=BaseModel)

_LEFT_OUT = "[left out to save space; call again if you need it]"
_MAX_ECHO = 20_000
_MAX_NOTE = 120
_MAX_KEPT = 500
_LAST_TURNS = 3
_WAIT_SECONDS = 5.0
_MAX_WAIT_SECONDS = 60.0
_SENTENCES: dict[Ended, str] = {
    "answered": "",
    "turns": "the model did not come to an end within {turns} turns",
    "budget": "the budget does not allow another call of the model",
    "context": "the work does not fit into what the model can read at once",
    "refused": "the model refused to go on",
    "unusable": "the model's answers were unusable",
    "stuck": "the model repeated the same failing call",
}


@dataclass(frozen=True, slots=True)
class LoopLimits:
    """What one conversation may take; it is counted over all its continuations."""

    turns: int = 40
    calls_a_turn: int = 16
    same_failure: int = 3
    """How often one call with the same arguments may fail."""
    unusable: int = 3
    """How many answers in a row may be empty, cut off or not of the schema."""
    passing_faults: int = 2
    """How often in all a call is tried again, once something would be lost otherwise."""
    prompt_tokens: int = 120_000
    """Beyond it the oldest results are left out of the prompt."""


@dataclass(frozen=True, slots=True)
class CallNote:
    """One call, for the log: its tool, what it was about, whether it succeeded."""

    turn: int
    tool: str
    about: str
    ok: bool


@dataclass(frozen=True, slots=True)
class Outcome(Generic[Answer]):
    """How the conversation ended by now; ``why`` is half a sentence, empty if it was answered."""

    ended: Ended
    why: str
    answer: Answer | None
    text: str
    turns: int
    calls: tuple[CallNote, ...]


@dataclass(slots=True)
class _Progress:
    turns: int = 0
    unusable: int = 0
    faults: int = 0
    failures: dict[str, int] = field(default_factory=dict[str, int])
    notes: list[CallNote] = field(default_factory=list[CallNote])
    text: str = ""


class ToolLoop(Generic[Answer]):
    """Asks, carries out calls, answers them, and asks again.

    ``request`` begins the conversation. With a ``schema`` the end is a structured answer, without
    one it is any text. Results reach the model inside the fence, presentable and cut to each tool's
    limit. Passing faults of the model before the first turn is done, errors that only people can
    mend, and cancellation pass through; all else is an ``Outcome``.
    """

    def __init__(
        self,
        context: AgentContext,
        request: ModelRequest,
        tools: Sequence[AnyTool],
        fence: Fence,
        *,
        schema: type[Answer] | None = None,
        limits: LoopLimits | None = None,
    ) -> None:
        self._context = context
        self._tools = {tool.declaration.name: tool for tool in tools}
        self._fence = fence
        self._schema = schema
        self._limits = limits or LoopLimits()
        declared = tuple(tool.declaration for tool in tools)
        changes: dict[str, object] = {"tools": declared}
        if schema:
            changes["output"] = OutputSchema(name="answer", json_schema=schema.model_json_schema())
        self._request = request.model_copy(update=changes)
        self._done = _Progress()

    async def run(self, more: str = "") -> Outcome[Answer]:
        """Go on until the model answers or a limit is reached; ``more`` is what it is told first.

        After an answer it can be called again, to tell the model what became of it.
        """
        if more:
            self._say(ChatMessage(role="user", parts=(Part(text=more, cache=True),)))
        while self._done.turns < self._limits.turns:
            response = await self._ask()
            if not isinstance(response, ModelResponse):
                return self._outcome(response)
            ended, answer = await self._take(response)
            if ended:
                return self._outcome(ended, answer)
        return self._outcome("turns")

    # --- asking ----------------------------------------------------------------------------------

    async def _ask(self) -> ModelResponse | Ended:
        """Return the next answer, or why there is none."""
        if not self._fits():
            return "context"
        while True:
            try:
                response = await self._context.model.complete(self._request)
            except BudgetExceeded:
                return "budget"
            except PromptTooLong:
                return "context"
            except Retryable as error:
                if self._done.turns == 0 or self._done.faults >= self._limits.passing_faults:
                    raise
                self._done.faults += 1
                wait = error.retry_after if error.retry_after is not None else _WAIT_SECONDS
                await self._context.clock.sleep(min(wait, _MAX_WAIT_SECONDS))
            else:
                self._done.turns += 1
                return response

    def _fits(self) -> bool:
        """Leave the oldest results and long arguments out until the prompt fits.

        The newest results stay whole.
        """
        model = self._context.model
        room = min(
            self._limits.prompt_tokens, model.context_tokens - self._request.max_output_tokens
        )
        tokens = [model.estimate_tokens(text) for text in self._request.texts]
        if sum(tokens) <= room:
            return True
        messages = list(self._request.messages)
        for index, message in enumerate(messages[:-1]):
            if sum(tokens) <= room // 2:
                break
            if message.results or message.calls:
                messages[index] = _emptied(message)
                tokens[index + 1] = model.estimate_tokens(messages[index].written)
        self._request = self._request.model_copy(update={"messages": tuple(messages)})
        return sum(tokens) <= room

    # --- answering -------------------------------------------------------------------------------

    async def _take(self, response: ModelResponse) -> tuple[Ended | None, Answer | None]:
        self._done.text = response.text
        if response.stop in ("refusal", "filtered"):
            return "refused", None
        if response.stop == "tools":
            self._done.unusable = 0
            return await self._carry_out(response), None
        return self._conclude(response)

    def _conclude(self, response: ModelResponse) -> tuple[Ended | None, Answer | None]:
        """Take the answer, or ask for a usable one."""
        answer, problems = None, ("The answer is empty.",)
        if response.stop == "length":
            problems = ("Your answer was cut off at the output limit; make it shorter.",)
        elif self._schema:
            answer, problems = read_answer(response, self._schema)
        elif response.text.strip():
            problems = ()
        echo = response.text[:_MAX_ECHO] if response.text.strip() else "(empty answer)"
        self._say(ChatMessage(role="assistant", parts=(Part(text=echo),)))
        if not problems:
            self._done.unusable = 0
            return "answered", answer
        self._done.unusable += 1
        if self._done.unusable >= self._limits.unusable:
            return "unusable", None
        wanted = "Call a tool, or give your answer as one JSON object of the schema."
        self._say(ChatMessage(role="user", parts=(Part(text="\n".join((*problems, wanted))),)))
        return None, None

    async def _carry_out(self, response: ModelResponse) -> Ended | None:
        results: list[ToolResult] = []
        stuck = False
        for number, call in enumerate(response.calls):
            if number < self._limits.calls_a_turn:
                result = await self._call(call)
            else:
                said = f"Not done: at most {self._limits.calls_a_turn} calls are made in one turn."
                result = ToolResult(call_id=call.id, content=said, error=True)
            results.append(result)
            stuck = stuck or (result.error and self._fails_again(call))
        results[-1] = results[-1].model_copy(update={"cache": True})
        said = (Part(text=response.text),) if response.text.strip() else ()
        self._say(ChatMessage(role="assistant", parts=said, calls=response.calls))
        self._say(ChatMessage(role="user", results=tuple(results), parts=self._reminder()))
        return "stuck" if stuck else None

    async def _call(self, call: ToolCall) -> ToolResult:
        """Carry out one call; whatever the model did wrong is told to it."""
        try:
            content = await self._content(call)
        except ToolError as error:
            result = ToolResult(call_id=call.id, content=presentable(str(error)), error=True)
        else:
            block = self._fence.block(call.name, content)
            result = ToolResult(call_id=call.id, content=block)
        name = call.name if call.name in self._tools else "(unknown)"
        note = CallNote(self._done.turns, name, _about(call), ok=not result.error)
        self._done.notes.append(note)
        return result

    async def _content(self, call: ToolCall) -> str:
        tool = self._tools.get(call.name)
        if tool is None:
            raise ToolError(f"There is no such tool; there are: {', '.join(self._tools)}.")
        if call.problem:
            raise ToolError(call.problem)
        return head_and_tail(presentable(await tool.call(call.arguments)), tool.limit)

    def _fails_again(self, call: ToolCall) -> bool:
        key = f"{call.name} {json.dumps(call.arguments, sort_keys=True)} {call.problem}"
        self._done.failures[key] = self._done.failures.get(key, 0) + 1
        return self._done.failures[key] >= self._limits.same_failure

    def _reminder(self) -> tuple[Part, ...]:
        """Say that the end is near, in turns or in money."""
        left = self._limits.turns - self._done.turns
        model = self._context.model
        near = 3 * model.worst_cost_usd(self._request) > model.left_usd
        if left > _LAST_TURNS and not near:
            return ()
        what = "The budget is nearly spent" if near else f"Turns left: {left}"
        return (Part(text=f"{what}; finish what you are doing and give your answer."),)

    def _say(self, message: ChatMessage) -> None:
        messages = (*self._request.messages, message)
        self._request = self._request.model_copy(update={"messages": messages})

    def _outcome(self, ended: Ended, answer: Answer | None = None) -> Outcome[Answer]:
        return Outcome(
            ended=ended,
            why=_SENTENCES[ended].format(turns=self._limits.turns),
            answer=answer,
            text=self._done.text,
            turns=self._done.turns,
            calls=tuple(self._done.notes),
        )


def _emptied(message: ChatMessage) -> ChatMessage:
    results = tuple(
        result.model_copy(update={"content": _LEFT_OUT, "cache": False})
        for result in message.results
    )
    calls = tuple(
        call.model_copy(update={"arguments": {k: _shortened(v) for k, v in call.arguments.items()}})
        for call in message.calls
    )
    return message.model_copy(update={"results": results, "calls": calls})


def _shortened(value: object) -> object:
    return _LEFT_OUT if isinstance(value, str) and len(value) > _MAX_KEPT else value


def _about(call: ToolCall) -> str:
    """Return the first argument in a few words, for people."""
    first = next((value for value in call.arguments.values() if isinstance(value, str)), "")
    return " ".join(presentable(first[:_MAX_ECHO]).split())[:_MAX_NOTE]
