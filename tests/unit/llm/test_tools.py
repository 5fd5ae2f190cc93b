"""Native tool use of both vendors and of the scripted model, on the wire and when it goes wrong."""

import json
from pathlib import Path
from typing import Any

import anthropic.types.message_create_params as anthropic_params
import httpx2
import openai.types.chat.completion_create_params as openai_params
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from pipelines.errors import UserError
from pipelines.integrations.llm.base import (
    ChatMessage,
    OutputSchema,
    Part,
    Tool,
    ToolCall,
    ToolResult,
)
from pipelines.integrations.llm.calls import Draft, finished, read_arguments
from pipelines.integrations.llm.chain import ModelChain
from pipelines.integrations.llm.mock import MockModel, load_script
from pipelines.integrations.llm.prices import price_table
from pipelines.integrations.llm.streaming import prompt_tokens
from tests.support import providers
from tests.support.clock import VirtualClock
from tests.unit.llm.conftest import VENDORS, exchange, request

READ = Tool(
    name="read_file",
    description="Read lines of a file.",
    json_schema={
        "type": "object",
        "properties": {
            "path": {"type": "string", "maxLength": 100},
            "start": {"anyOf": [{"type": "integer"}, {"type": "null"}], "default": None},
        },
    },
)
ASKED = request(tools=(READ,))


def anthropic_call(index: int, call_id: str, name: str, *pieces: str) -> bytes:
    block = {"type": "tool_use", "id": call_id, "name": name, "input": {}}
    start = {"type": "content_block_start", "index": index, "content_block": block}
    deltas = b"".join(
        providers.event(
            "content_block_delta",
            {
                "type": "content_block_delta",
                "index": index,
                "delta": {"type": "input_json_delta", "partial_json": piece},
            },
        )
        for piece in pieces
    )
    stop = {"type": "content_block_stop", "index": index}
    return (
        providers.event("content_block_start", start)
        + deltas
        + providers.event("content_block_stop", stop)
    )


def openai_call(index: object, call_id: str | None, name: str | None, piece: str) -> bytes:
    function = {"name": name, "arguments": piece}
    each = {"index": index, "id": call_id, "type": "function", "function": function}
    return providers.openai_chunk({"tool_calls": [each]})


def answer_of(
    name: str, *calls: tuple[str, str, str], text: str = "", stop: str = ""
) -> list[bytes]:
    """A whole answer with calls, each as id, name and arguments, in pieces of three characters."""
    if name == "anthropic":
        return [
            providers.anthropic_start(),
            providers.anthropic_text(text),
            *(
                anthropic_call(i, call_id, tool, "", *_pieces(raw))
                for i, (call_id, tool, raw) in enumerate(calls, 1)
            ),
            providers.anthropic_end(stop or "tool_use"),
        ]
    return [
        providers.openai_chunk({"role": "assistant", "content": text or None}),
        *(
            openai_call(i, call_id, tool, "")
            + b"".join(openai_call(i, None, None, piece) for piece in _pieces(raw))
            for i, (call_id, tool, raw) in enumerate(calls)
        ),
        providers.openai_chunk({}, stop or "tool_calls"),
        providers.openai_usage(providers.OPENAI_USAGE),
        providers.DONE,
    ]


def _pieces(raw: str) -> list[str]:
    return [raw[i : i + 3] for i in range(0, len(raw), 3)]


both = pytest.mark.parametrize("name", sorted(VENDORS))


@both
async def test_two_calls_arrive_whole_with_the_text_before_them(
    name: str, http: httpx2.AsyncClient
) -> None:
    events = answer_of(
        name,
        ("call_a", "read_file", '{"path": "src/ünï.py", "start": 7}'),
        ("call_b", "read_file", '{"path": "b.py"}'),
        text="Let me look.",
    )
    response, _ = await exchange(name, events, http, ASKED)
    assert (response.stop, response.text) == ("tools", "Let me look.")
    assert response.calls == (
        ToolCall(id="call_a", name="read_file", arguments={"path": "src/ünï.py", "start": 7}),
        ToolCall(id="call_b", name="read_file", arguments={"path": "b.py"}),
    )


@both
async def test_a_conversation_with_calls_is_what_the_sdk_s_own_types_demand(
    name: str, http: httpx2.AsyncClient
) -> None:
    calls = (
        ToolCall(id="a", name="read_file", arguments={"path": "é"}),
        ToolCall(id="b", name="read_file", arguments={}, problem="The arguments are not valid."),
    )
    results = (
        ToolResult(call_id="a", content="1: x\ud800", cache=True),
        ToolResult(call_id="b", content="No such file.", error=True),
    )
    asked = request(
        messages=(
            ChatMessage(role="user", parts=(Part(text="Fix it."),)),
            ChatMessage(role="assistant", parts=(Part(text="Reading."),), calls=calls),
            ChatMessage(role="user", parts=(Part(text="One turn is left."),), results=results),
        ),
        tools=(READ,),
        output=OutputSchema(name="done", json_schema={"type": "object", "properties": {}}),
    )
    _, body = await exchange(name, VENDORS[name].whole("{}"), http, asked)
    types: dict[str, Any] = {
        "anthropic": anthropic_params.MessageCreateParamsStreaming,
        "openai": openai_params.CompletionCreateParamsStreaming,
    }
    TypeAdapter(types[name]).validate_python(body)
    assert set(body) <= types[name].__required_keys__ | types[name].__optional_keys__
    (_anthropic_turns if name == "anthropic" else _openai_turns)(body)


def _anthropic_turns(body: dict[str, Any]) -> None:
    _, said, answered = body["messages"]
    assert [block["type"] for block in said["content"]] == ["text", "tool_use", "tool_use"]
    assert said["content"][1]["input"] == {"path": "é"}
    first, second, text = answered["content"]
    assert (first["tool_use_id"], first["content"], first["is_error"]) == ("a", "1: x?", False)
    assert first["cache_control"] == {"type": "ephemeral"}
    assert (second["tool_use_id"], second["is_error"]) == ("b", True)
    assert text["text"] == "One turn is left."
    (tool,) = body["tools"]
    assert tool["strict"] is True
    assert tool["input_schema"]["required"] == ["path", "start"]
    assert body["output_config"]["format"]["type"] == "json_schema"


def _openai_turns(body: dict[str, Any]) -> None:
    roles = [message["role"] for message in body["messages"]]
    assert roles == ["system", "user", "assistant", "tool", "tool", "user"]
    said = body["messages"][2]
    assert said["content"] == "Reading."
    assert json.loads(said["tool_calls"][0]["function"]["arguments"]) == {"path": "é"}
    assert body["messages"][3] == {"role": "tool", "tool_call_id": "a", "content": "1: x?"}
    assert body["messages"][4]["content"] == "Error: No such file."
    function = body["tools"][0]["function"]
    assert function["strict"] is True
    assert function["parameters"]["additionalProperties"] is False
    assert body["response_format"]["type"] == "json_schema"


@both
async def test_an_assistant_s_turn_of_calls_alone_has_no_empty_text(
    name: str, http: httpx2.AsyncClient
) -> None:
    turns = (
        ChatMessage(role="user", parts=(Part(text="Go."),)),
        ChatMessage(role="assistant", calls=(ToolCall(id="a", name="read_file", arguments={}),)),
        ChatMessage(role="user", results=(ToolResult(call_id="a", content=""),)),
    )
    _, body = await exchange(
        name, VENDORS[name].whole("ok"), http, request(messages=turns, tools=(READ,))
    )
    said = next(message for message in body["messages"] if message["role"] == "assistant")
    if name == "anthropic":
        assert [block["type"] for block in said["content"]] == ["tool_use"]
    else:
        assert said["content"] is None
        assert body["messages"][-1]["role"] == "tool"


MALFORMED = [
    ("{", "not valid JSON"),
    ('{"a": 1} {"b": 2}', "not valid JSON"),
    ("[" * 100_000, "not valid JSON"),
    ('{"a": NaN}', "not valid JSON"),
    ('{"a": 1e999}', "not valid JSON"),
    ('{"a": ' + "9" * 5000 + "}", "not valid JSON"),
    ("[]", "not a JSON object"),
    ('"rm -rf"', "not a JSON object"),
    ("null", "not a JSON object"),
]


@both
@pytest.mark.parametrize(("raw", "problem"), MALFORMED, ids=[raw[:12] for raw, _ in MALFORMED])
async def test_arguments_that_are_no_object_are_a_problem_of_the_call_not_of_the_answer(
    name: str, raw: str, problem: str, http: httpx2.AsyncClient
) -> None:
    events = answer_of(name, ("a", "read_file", '{"path": "x"}'), ("b", "read_file", ""))
    broken = anthropic_call(3, "c", "read_file", raw)
    if name == "openai":
        broken = openai_call(2, "c", "read_file", raw)
    events.insert(len(events) - (1 if name == "anthropic" else 3), broken)
    response, _ = await exchange(name, events, http, ASKED)
    assert [call.problem for call in response.calls[:2]] == ["", ""]
    assert response.calls[1].arguments == {}
    assert problem in response.calls[2].problem
    assert response.calls[2].arguments == {}


@given(st.text())
def test_whatever_is_read_as_arguments_can_be_sent_back(text: str) -> None:
    arguments, problem = read_arguments(json.dumps({"a": text, text: [None, 1.5]}))
    assert not problem
    json.dumps(arguments, ensure_ascii=False, allow_nan=False).encode()
    read_arguments(text)


@both
@pytest.mark.parametrize("stop", ["length", "refusal"])
async def test_calls_of_an_answer_that_was_cut_off_or_refused_are_not_made(
    name: str, stop: str, http: httpx2.AsyncClient
) -> None:
    words = {"length": ("max_tokens", "length"), "refusal": ("refusal", "content_filter")}
    word = words[stop][name == "openai"]
    response, _ = await exchange(
        name, answer_of(name, ("a", "read_file", "{}"), stop=word), http, ASKED
    )
    assert response.calls == ()
    assert response.stop in ("length", "refusal", "filtered")


@both
async def test_tool_use_without_a_call_or_without_tools_is_no_call(
    name: str, http: httpx2.AsyncClient
) -> None:
    response, _ = await exchange(name, answer_of(name), http, ASKED)
    assert (response.stop, response.calls) == ("other", ())
    unasked = answer_of(name, ("a", "read_file", "{}"))
    response, _ = await exchange(name, unasked, http, request())
    assert (response.stop, response.calls) == ("other", ())


@both
async def test_a_server_that_ends_an_answer_with_calls_like_any_other_is_understood(
    name: str, http: httpx2.AsyncClient
) -> None:
    word = "end_turn" if name == "anthropic" else "stop"
    events = answer_of(name, ("a", "read_file", '{"path": "x"}'), stop=word)
    response, _ = await exchange(name, events, http, ASKED)
    assert (response.stop, len(response.calls)) == ("tools", 1)


async def test_a_server_may_send_a_whole_input_at_once(http: httpx2.AsyncClient) -> None:
    block = {"type": "tool_use", "id": "a", "name": "read_file", "input": {"path": "x"}}
    start = {"type": "content_block_start", "index": 0, "content_block": block}
    events = [
        providers.anthropic_start(),
        providers.event("content_block_start", start),
        providers.anthropic_end("tool_use"),
    ]
    response, _ = await exchange("anthropic", events, http, ASKED)
    assert response.calls[0].arguments == {"path": "x"}


@pytest.mark.parametrize("index", [0, None])
async def test_a_server_may_give_every_call_the_same_place(
    index: int | None, http: httpx2.AsyncClient
) -> None:
    events = [
        openai_call(index, "a", "read_file", '{"path": "x"}'),
        openai_call(index, "b", "read_file", '{"path": "y"}'),
        providers.openai_chunk({}, "tool_calls"),
        providers.DONE,
    ]
    response, _ = await exchange("openai", events, http, ASKED)
    assert [call.arguments["path"] for call in response.calls] == ["x", "y"]


def test_names_and_ids_that_no_provider_takes_back_are_replaced() -> None:
    before = ChatMessage(role="assistant", calls=(ToolCall(id="call_1", name="x", arguments={}),))
    asked = request(messages=(before,), tools=(READ,))
    drafts = [
        Draft(id="call_1", name="read_file"),
        Draft(id="", name="../../etc"),
        Draft(id="a b\n", name=""),
        Draft(id="x" * 41, name="y" * 99),
        Draft(id="fine", name="read_file"),
    ]
    calls = finished(drafts, asked)
    assert len({call.id for call in calls} | {"call_1"}) == 6
    assert all(call.id.replace("_", "").isalnum() and len(call.id) <= 40 for call in calls)
    assert calls[-1].id == "fine"
    assert [call.name for call in calls[1:4]] == ["______etc", "unnamed", "y" * 64]


@pytest.mark.parametrize(
    "junk",
    [
        {"tool_calls": 5},
        {"tool_calls": [5, None, {"index": "x"}, {"index": 0, "function": 7}]},
        {"tool_calls": [{"index": 0, "id": 5, "function": {"name": 5, "arguments": 5}}]},
    ],
)
async def test_garbage_in_a_call_is_an_unknown_tool_or_nothing(
    junk: dict[str, object], http: httpx2.AsyncClient
) -> None:
    events = [
        providers.openai_chunk(junk),
        providers.openai_chunk({}, "tool_calls"),
        providers.DONE,
    ]
    response, _ = await exchange("openai", events, http, ASKED)
    assert all(call.name == "unnamed" and not call.arguments for call in response.calls)


def test_tools_calls_and_results_are_counted_as_input() -> None:
    plain = prompt_tokens(request())
    with_tools = prompt_tokens(ASKED)
    assert with_tools > plain + 500
    long = "word " * 1000
    turns = (
        *ASKED.messages,
        ChatMessage(
            role="assistant", calls=(ToolCall(id="a", name="x", arguments={"content": long}),)
        ),
    )
    with_call = prompt_tokens(ASKED.model_copy(update={"messages": turns}))
    assert with_call > with_tools + 1000
    answered = ChatMessage(role="user", results=(ToolResult(call_id="a", content=long),))
    whole = ASKED.model_copy(update={"messages": (*turns, answered)})
    assert prompt_tokens(whole) > with_call + 1000


# --- the scripted model --------------------------------------------------------------------------


def scripted(path: Path, *rules: object) -> MockModel:
    path = path / "script.json"
    path.write_text(json.dumps({"rules": rules}))
    return MockModel("s", load_script(path), clock=VirtualClock(), prices=price_table())


async def test_a_script_follows_a_conversation_by_its_turns_and_its_results(tmp_path: Path) -> None:
    model = scripted(
        tmp_path,
        {"turn": 1, "replies": [{"calls": [{"name": "read_file", "arguments": {"path": "x"}}]}]},
        {"contains": ["def broken"], "replies": [{"text": "Seen.", "calls": [{"name": "go"}]}]},
        {"replies": [{"json": {"done": True}}]},
    )
    chain = ModelChain([model], clock=VirtualClock())
    first = await chain.complete(ASKED)
    (made,) = first.calls
    assert (first.stop, first.text, made.arguments) == ("tools", "", {"path": "x"})
    turns = (
        *ASKED.messages,
        ChatMessage(role="assistant", calls=first.calls),
        ChatMessage(
            role="user", results=(ToolResult(call_id=made.id, content="def broken(): ..."),)
        ),
    )
    second = await chain.complete(ASKED.model_copy(update={"messages": turns}))
    assert (second.text, second.calls[0].name, second.stop) == ("Seen.", "go", "tools")
    assert second.calls[0].id != made.id
    fixed = (
        *turns[:2],
        turns[2].model_copy(update={"results": (ToolResult(call_id=made.id, content="ok"),)}),
    )
    third = await chain.complete(ASKED.model_copy(update={"messages": fixed}))
    assert (json.loads(third.text), third.stop, third.calls) == ({"done": True}, "end", ())


async def test_a_script_can_write_arguments_that_are_no_json(tmp_path: Path) -> None:
    model = scripted(tmp_path, {"replies": [{"calls": [{"name": "x", "arguments": "{oops"}]}]})
    response = await model.complete(ASKED)
    assert response.calls[0].problem == "The arguments are not valid JSON."
    assert (await model.complete(request())).calls == ()


def test_calls_and_json_in_one_reply_are_a_mistake_of_the_script(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="exactly one"):
        scripted(tmp_path, {"replies": [{"json": 1, "calls": [{"name": "x"}]}]})
