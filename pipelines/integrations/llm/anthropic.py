"""Anthropic's Messages API through the official SDK, which is imported at the first call."""

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import httpx2

from pipelines.integrations.llm.base import ChatMessage, ModelRequest, Part, Tool, ToolResult
from pipelines.integrations.llm.calls import Draft
from pipelines.integrations.llm.faults import Provider
from pipelines.integrations.llm.schema import strict
from pipelines.integrations.llm.streaming import Answer, Stop, StreamingModel
from pipelines.integrations.llm.untrusted import count, dig, encodable, text

if TYPE_CHECKING:
    from anthropic import AsyncAnthropic
    from anthropic.types import (
        MessageParam,
        TextBlockParam,
        ToolParam,
        ToolResultBlockParam,
        ToolUseBlockParam,
    )
    from anthropic.types.message_create_params import MessageCreateParamsStreaming

PROVIDER = Provider("anthropic", "Anthropic", "ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL")
DEFAULT_URL = "https://api.anthropic.com"
MAX_CACHE_MARKS = 4
_STOPS: dict[str, Stop] = {
    "end_turn": "end",
    "stop_sequence": "end",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "refusal": "refusal",
    "tool_use": "tools",
}


class AnthropicModel(StreamingModel["AsyncAnthropic"]):
    """One model of Anthropic, or of a server that speaks its Messages API.

    ``temperature`` is not sent: the API refuses it for current models and the SDK has no such
    parameter any more.
    """

    provider = PROVIDER
    default_url = DEFAULT_URL

    def _connect(self) -> "AsyncAnthropic":
        import anthropic  # noqa: PLC0415 - imported when the first call is made

        client = anthropic.AsyncAnthropic(
            api_key=self._key.get_secret_value(),
            base_url=self._base_url,
            timeout=self._http.timeout,
            max_retries=0,
            http_client=self._http,
            open_telemetry=False,
        )
        _ = client.messages  # loads the types of the API, still in this thread
        return client

    async def _stream(self, request: ModelRequest, answer: Answer) -> None:
        client = await self._client()
        import anthropic  # noqa: PLC0415 - already loaded by then

        try:
            stream = await client.messages.create(**self._parameters(request))
            async with stream:
                await self._require_events(stream.response)
                async for event in stream:
                    _take(event, answer)
        except anthropic.APIStatusError as error:
            raise self._refused(error.status_code, error.body, error.response.headers) from error
        except (anthropic.APIConnectionError, httpx2.HTTPError) as error:
            raise self._unreachable(error) from error
        except (anthropic.AnthropicError, ValueError, RecursionError) as error:
            raise self._passing(f"sent an unreadable answer ({type(error).__name__})") from error

    def _parameters(self, request: ModelRequest) -> "MessageCreateParamsStreaming":
        marks = _Marks(request)
        system = _texts(request.system, marks)
        parameters: MessageCreateParamsStreaming = {
            "model": self._model,
            "max_tokens": request.max_output_tokens,
            "messages": [_turn(message, marks) for message in request.messages],
            "stream": True,
        }
        if system:
            parameters["system"] = system
        if request.tools:
            parameters["tools"] = [_tool(tool) for tool in request.tools]
        if request.output:
            schema = strict(request.output.json_schema)
            parameters["output_config"] = {"format": {"type": "json_schema", "schema": schema}}
        return parameters


class _Marks:
    """Gives the last four marked blocks of a request a cache breakpoint.

    A later mark's prefix contains the earlier ones, so the early ones can be spared.
    """

    def __init__(self, request: ModelRequest) -> None:
        turns = request.messages
        groups = (request.system, *(turn.parts for turn in turns))
        marked = sum(part.cache for group in groups for part in group if part.text.strip())
        marked += sum(result.cache for turn in turns for result in turn.results)
        self._spared = marked - MAX_CACHE_MARKS

    def keep(self, marked: bool) -> bool:
        """Return whether this block, the next of the request, gets a breakpoint."""
        self._spared -= marked
        return marked and self._spared < 0


def _turn(message: ChatMessage, marks: _Marks) -> "MessageParam":
    """Return a turn; the API wants results before text, and gives text before calls."""
    if message.role == "user":
        results = [_result(result, marks) for result in message.results]
        return {"role": "user", "content": [*results, *_texts(message.parts, marks)]}
    calls: list[ToolUseBlockParam] = [
        {"type": "tool_use", "id": call.id, "name": call.name, "input": call.arguments}
        for call in message.calls
    ]
    return {"role": "assistant", "content": [*_texts(message.parts, marks), *calls]}


def _texts(parts: Sequence[Part], marks: _Marks) -> "list[TextBlockParam]":
    """Return text blocks without the blank ones, which the API refuses."""
    blocks: list[TextBlockParam] = []
    for part in parts:
        if not part.text.strip():
            continue
        block: TextBlockParam = {"type": "text", "text": encodable(part.text)}
        if marks.keep(part.cache):
            block["cache_control"] = {"type": "ephemeral"}
        blocks.append(block)
    return blocks


def _result(result: ToolResult, marks: _Marks) -> "ToolResultBlockParam":
    block: ToolResultBlockParam = {
        "type": "tool_result",
        "tool_use_id": result.call_id,
        "content": encodable(result.content),
        "is_error": result.error,
    }
    if marks.keep(result.cache):
        block["cache_control"] = {"type": "ephemeral"}
    return block


def _tool(tool: Tool) -> "ToolParam":
    return {
        "name": tool.name,
        "description": encodable(tool.description),
        "input_schema": strict(tool.json_schema),
        "strict": True,
    }


def _take(event: object, answer: Answer) -> None:
    """Add one stream event; pings and kinds that are not known yet change nothing."""
    kind = dig(event, "type")
    answer.begun = True
    if kind == "message_start":
        _take_usage(dig(event, "message", "usage"), answer)
    elif kind == "content_block_start":
        _take_text(dig(event, "content_block"), "text", answer)
        _take_call(dig(event, "index"), dig(event, "content_block"), answer)
    elif kind == "content_block_delta":
        _take_text(dig(event, "delta"), "text_delta", answer)
        _take_arguments(dig(event, "index"), dig(event, "delta"), answer)
    elif kind == "message_delta":
        reason = dig(event, "delta", "stop_reason")
        if isinstance(reason, str):
            answer.stop = _STOPS.get(reason, "other")
        _take_usage(dig(event, "usage"), answer)


def _take_text(block: object, kind: str, answer: Answer) -> None:
    if dig(block, "type") == kind:
        answer.pieces.append(text(dig(block, "text")))


def _take_call(index: object, block: object, answer: Answer) -> None:
    """Begin a call; some compatible servers send its whole input right here."""
    if dig(block, "type") == "tool_use" and isinstance(index, int):
        draft = Draft(id=text(dig(block, "id")), name=text(dig(block, "name")))
        whole = dig(block, "input")
        if isinstance(whole, Mapping) and whole:
            draft.pieces.append(json.dumps(whole))
        answer.calls[index] = draft


def _take_arguments(index: object, delta: object, answer: Answer) -> None:
    draft = answer.calls.get(index) if isinstance(index, int) else None
    if draft and dig(delta, "type") == "input_json_delta":
        draft.pieces.append(text(dig(delta, "partial_json")))


def _take_usage(usage: object, answer: Answer) -> None:
    """Later counts are cumulative and replace earlier ones; cached tokens are counted apart."""
    for field, key in (
        ("input_tokens", "input_tokens"),
        ("output_tokens", "output_tokens"),
        ("cache_read_tokens", "cache_read_input_tokens"),
        ("cache_write_tokens", "cache_creation_input_tokens"),
    ):
        value = count(dig(usage, key))
        if value is not None:
            setattr(answer, field, value)
