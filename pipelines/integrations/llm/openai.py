"""OpenAI's Chat Completions API through the official SDK, which is imported at the first call.

Chat Completions and not Responses, because it is what compatible servers (vLLM, Ollama, llama.cpp,
gateways) speak as well.
"""

import hashlib
import json
from typing import TYPE_CHECKING

import httpx2

from pipelines.integrations.llm.base import ChatMessage, ModelRequest, Tool
from pipelines.integrations.llm.calls import Draft
from pipelines.integrations.llm.faults import Provider
from pipelines.integrations.llm.schema import strict
from pipelines.integrations.llm.streaming import Answer, Stop, StreamingModel
from pipelines.integrations.llm.untrusted import count, dig, encodable, first, items, text

if TYPE_CHECKING:
    from openai import AsyncOpenAI
    from openai.types.chat import (
        ChatCompletionAssistantMessageParam,
        ChatCompletionFunctionToolParam,
        ChatCompletionMessageParam,
    )
    from openai.types.chat.completion_create_params import CompletionCreateParamsStreaming

PROVIDER = Provider("openai", "OpenAI", "OPENAI_API_KEY", "OPENAI_BASE_URL")
DEFAULT_URL = "https://api.openai.com/v1"
_STOPS: dict[str, Stop] = {
    "stop": "end",
    "length": "length",
    "content_filter": "filtered",
    "tool_calls": "tools",
}


class OpenAIModel(StreamingModel["AsyncOpenAI"]):
    """One model of OpenAI, or of a server that speaks its Chat Completions API."""

    provider = PROVIDER
    default_url = DEFAULT_URL

    def _connect(self) -> "AsyncOpenAI":
        import openai  # noqa: PLC0415 - imported when the first call is made

        client = openai.AsyncOpenAI(
            api_key=self._key.get_secret_value(),
            base_url=self._base_url,
            timeout=self._http.timeout,
            max_retries=0,
            http_client=self._http,
        )
        _ = client.chat.completions  # loads the types of the API, still in this thread
        return client

    async def _stream(self, request: ModelRequest, answer: Answer) -> None:
        client = await self._client()
        import openai  # noqa: PLC0415 - already loaded by then

        try:
            stream = await client.chat.completions.create(**self._parameters(request))
            async with stream:
                await self._require_events(stream.response)
                async for chunk in stream:
                    _take(chunk, answer)
        except openai.APIStatusError as error:
            raise self._refused(error.status_code, error.body, error.response.headers) from error
        except (openai.APIConnectionError, httpx2.HTTPError) as error:
            raise self._unreachable(error) from error
        except openai.APIError as error:
            # An error object inside the stream.
            raise self._refused(200, error.body, {}) from error
        except (openai.OpenAIError, ValueError, RecursionError) as error:
            raise self._passing(f"sent an unreadable answer ({type(error).__name__})") from error

    def _parameters(self, request: ModelRequest) -> "CompletionCreateParamsStreaming":
        system = encodable("".join(part.text for part in request.system))
        messages: list[ChatCompletionMessageParam] = []
        if system:
            messages.append({"role": "system", "content": system})
        for message in request.messages:
            messages += _turn(message)
        parameters: CompletionCreateParamsStreaming = {
            "model": self._model,
            "max_completion_tokens": request.max_output_tokens,
            "messages": messages,
            "store": False,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        if request.temperature is not None:
            parameters["temperature"] = request.temperature
        if request.tools:
            parameters["tools"] = [_tool(tool) for tool in request.tools]
        if request.output:
            parameters["response_format"] = {
                "type": "json_schema",
                "json_schema": {
                    "name": request.output.name,
                    "schema": strict(request.output.json_schema),
                    "strict": True,
                },
            }
        if any(part.cache for part in request.system):
            parameters["prompt_cache_key"] = _cache_key(system)
        return parameters


def _turn(message: ChatMessage) -> "list[ChatCompletionMessageParam]":
    """Return a turn; each result is a message of its own, and an error is told in words."""
    said = encodable(message.text)
    if message.role == "assistant":
        return [_assistant(message, said)]
    turns: list[ChatCompletionMessageParam] = [
        {
            "role": "tool",
            "tool_call_id": result.call_id,
            "content": ("Error: " if result.error else "") + encodable(result.content),
        }
        for result in message.results
    ]
    if said or not turns:
        turns.append({"role": "user", "content": said})
    return turns


def _assistant(message: ChatMessage, said: str) -> "ChatCompletionAssistantMessageParam":
    turn: ChatCompletionAssistantMessageParam = {"role": "assistant", "content": said}
    if message.calls:
        turn["content"] = said or None
        turn["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": json.dumps(call.arguments)},
            }
            for call in message.calls
        ]
    return turn


def _tool(tool: Tool) -> "ChatCompletionFunctionToolParam":
    return {
        "type": "function",
        "function": {
            "name": tool.name,
            "description": encodable(tool.description),
            "parameters": strict(tool.json_schema),
            "strict": True,
        },
    }


def _cache_key(prefix: str) -> str:
    """Send calls with the same beginning to the same cache; prefixes are cached by themselves."""
    return "conductor-" + hashlib.sha256(prefix.encode()).hexdigest()[:32]


def _take(chunk: object, answer: Answer) -> None:
    """Add one chunk; the last one has usage and no choices."""
    answer.begun = True
    _take_usage(dig(chunk, "usage"), answer)
    choice = first(dig(chunk, "choices"))
    refusal = text(dig(choice, "delta", "refusal"))
    answer.pieces.append(text(dig(choice, "delta", "content")) + refusal)
    for each in items(dig(choice, "delta", "tool_calls")):
        _take_call(each, answer)
    reason = dig(choice, "finish_reason")
    if refusal:
        answer.stop = "refusal"
    elif isinstance(reason, str) and answer.stop is None:
        answer.stop = _STOPS.get(reason, "other")


def _take_call(delta: object, answer: Answer) -> None:
    """Add a piece of a call; some compatible servers give every call the same place."""
    index, call_id = dig(delta, "index"), text(dig(delta, "id"))
    if not isinstance(index, int):
        index = max(answer.calls, default=0)
    draft = answer.calls.get(index)
    if draft and call_id and draft.id and call_id != draft.id:
        index = max(answer.calls) + 1
        draft = None
    if draft is None:
        draft = answer.calls[index] = Draft()
    draft.id = draft.id or call_id
    draft.name += text(dig(delta, "function", "name"))
    draft.pieces.append(text(dig(delta, "function", "arguments")))


def _take_usage(usage: object, answer: Answer) -> None:
    """Split the prompt into fresh, cached and newly cached tokens, which are priced apart."""
    prompt = count(dig(usage, "prompt_tokens"))
    read = count(dig(usage, "prompt_tokens_details", "cached_tokens")) or 0
    written = count(dig(usage, "prompt_tokens_details", "cache_write_tokens")) or 0
    if prompt is not None:
        answer.cache_read_tokens = min(read, prompt)
        answer.cache_write_tokens = min(written, prompt - answer.cache_read_tokens)
        answer.input_tokens = prompt - answer.cache_read_tokens - answer.cache_write_tokens
    output = count(dig(usage, "completion_tokens"))
    if output is not None:
        answer.output_tokens = output
