"""Both official SDKs through our classes, against servers that speak the providers' wire."""

import asyncio
import gzip
import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import anthropic.types.message_create_params as anthropic_params
import httpx2
import openai.types.chat.completion_create_params as openai_params
import pytest
from pydantic import TypeAdapter

from pipelines.errors import ModelRefused, ModelUnavailable, Retryable, UserError
from pipelines.integrations.llm.base import (
    BrokenAnswer,
    ChatMessage,
    LanguageModel,
    ModelResponse,
    OutputSchema,
    Part,
    PromptTooLong,
    ToolCall,
    ToolResult,
)
from pipelines.integrations.llm.http import MIN_ANSWER_BYTES
from tests.support import providers
from tests.support.clock import VirtualClock
from tests.support.providers import answer, forever, serve, stream
from tests.unit.llm.conftest import KEY, Vendor, exchange, request

Connect = Callable[..., LanguageModel]

TYPES: dict[str, Any] = {
    "anthropic": anthropic_params.MessageCreateParamsStreaming,
    "openai": openai_params.CompletionCreateParamsStreaming,
}


async def test_a_streamed_answer_comes_back_whole_with_its_usage(
    vendor: Vendor, connect: Connect
) -> None:
    async with serve(stream(vendor.whole("Hello, wörld — ✓"))) as server:
        response = await connect(server.url).complete(request())
    assert response.text == "Hello, wörld — ✓"
    assert response.stop == "end"
    assert response.model == f"{vendor.name}:claude-sonnet-5-5"
    usage = response.usage
    assert (usage.calls, usage.input_tokens, usage.output_tokens) == (1, 25, 15)
    assert usage.models == (response.model,)
    assert usage.cost_usd > 0


async def test_the_request_is_what_the_sdk_s_own_types_demand(
    vendor: Vendor, connect: Connect
) -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer", "minimum": 1}}}
    asked = request(
        messages=(
            ChatMessage(role="user", parts=(Part(text="one"), Part(text="two", cache=True))),
            ChatMessage(role="assistant", parts=(Part(text="{}"),)),
            ChatMessage(role="user", parts=(Part(text="again"),)),
        ),
        output=OutputSchema(name="numbers", json_schema=schema),
    )
    async with serve(stream(vendor.whole("{}"))) as server:
        await connect(server.url).complete(asked)
    (body,) = server.bodies
    TypeAdapter(TYPES[vendor.name]).validate_python(body)
    known = TYPES[vendor.name]
    assert set(body) <= known.__required_keys__ | known.__optional_keys__
    assert body["stream"] is True
    if vendor.name == "anthropic":
        sent = body["output_config"]["format"]["schema"]
        assert body["messages"][0]["content"][1]["cache_control"] == {"type": "ephemeral"}
        assert body["system"][0]["cache_control"] == {"type": "ephemeral"}
    else:
        assert body["response_format"]["json_schema"]["strict"] is True
        sent = body["response_format"]["json_schema"]["schema"]
        assert body["stream_options"] == {"include_usage": True}
        assert body["prompt_cache_key"].startswith("conductor-")
    assert sent["additionalProperties"] is False
    assert sent["required"] == ["n"]
    assert sent["properties"]["n"] == {"type": "integer", "description": "(minimum: 1)"}


async def test_at_most_four_cache_marks_go_to_anthropic_and_they_are_the_last_ones(
    http: httpx2.AsyncClient,
) -> None:
    parts = tuple(Part(text=str(n), cache=True) for n in range(5))
    result = ToolResult(call_id="c", content="5", cache=True)
    turns = (
        ChatMessage(role="user", parts=parts),
        ChatMessage(role="assistant", calls=(ToolCall(id="c", name="x", arguments={}),)),
        ChatMessage(role="user", results=(result,)),
    )
    _, body = await exchange(
        "anthropic", providers.anthropic_events("x"), http, request(messages=turns)
    )
    blocks = [*body["system"], *body["messages"][0]["content"], *body["messages"][2]["content"]]
    assert ["cache_control" in block for block in blocks] == [False] * 3 + [True] * 4


async def test_the_sdk_does_not_retry_by_itself(vendor: Vendor, connect: Connect) -> None:
    async with serve(answer(500, vendor.error("api_error", "boom"))) as server:
        with pytest.raises(Retryable):
            await connect(server.url).complete(request())
    assert len(server.bodies) == 1


async def test_only_the_vendor_s_own_authorization_header_carries_the_key(
    vendor: Vendor, connect: Connect
) -> None:
    async with serve(stream(vendor.whole("ok"))) as server:
        await connect(server.url).complete(request())
    (headers,) = server.headers
    carrying = {name.lower() for name, value in headers.items() if KEY in value}
    assert carrying <= {"authorization", "x-api-key"}
    assert carrying
    assert headers["accept-encoding"] == "identity"
    assert KEY not in json.dumps(server.bodies)


async def test_text_that_utf8_cannot_carry_is_still_sent(vendor: Vendor, connect: Connect) -> None:
    system = (Part(text="a\udcff", cache=True),)
    async with serve(stream(vendor.whole("ok"))) as server:
        response = await connect(server.url).complete(request("b\ud800c", system=system))
    assert response.text == "ok"
    assert "b?c" in json.dumps(server.bodies)


STATUSES = [
    (429, "rate_limit_error", Retryable),
    (500, "api_error", Retryable),
    (502, "api_error", Retryable),
    (529, "overloaded_error", Retryable),
    (408, "timeout_error", Retryable),
    (401, "authentication_error", ModelRefused),
    (403, "permission_error", ModelRefused),
    (404, "not_found_error", ModelRefused),
    (400, "invalid_request_error", UserError),
    (402, "billing_error", ModelUnavailable),
    (413, "request_too_large", PromptTooLong),
]


@pytest.mark.parametrize(("status", "kind", "expected"), STATUSES)
async def test_each_status_says_what_the_caller_must_do(
    vendor: Vendor, connect: Connect, status: int, kind: str, expected: type[Exception]
) -> None:
    body = vendor.error(kind, f"no, not with {KEY}\nsorry")
    async with serve(answer(status, body)) as server:
        with pytest.raises(expected) as caught:
            await connect(server.url).complete(request())
    assert type(caught.value) is expected
    assert KEY not in str(caught.value)
    assert "\n" not in str(caught.value)
    if isinstance(caught.value, Retryable):
        assert caught.value.dependency == vendor.name


async def test_a_wrong_key_names_the_variable_to_check(vendor: Vendor, connect: Connect) -> None:
    async with serve(answer(401, vendor.error("authentication_error", "bad"))) as server:
        with pytest.raises(UserError, match=f"{vendor.name.upper()}_API_KEY"):
            await connect(server.url).complete(request())


async def test_a_prompt_that_is_too_long_has_its_own_error(
    vendor: Vendor, connect: Connect
) -> None:
    said = "prompt is too long: 250000 tokens > 200000 maximum"
    async with serve(answer(400, vendor.error("invalid_request_error", said))) as server:
        with pytest.raises(PromptTooLong, match="250000"):
            await connect(server.url).complete(request())


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("7", 7.0),
        ("0", 0.0),
        ("-1", None),
        ("99999", 900.0),
        ("nan", None),
        ("inf", None),
        ("soon", None),
        ("", None),
        ("Mon, 05 Jan 2026 09:00:30 GMT", 30.0),
        ("Mon, 05 Jan 2025 09:00:30 GMT", 0.0),
        ("Mon, 99 Foo 2025", None),
    ],
)
async def test_retry_after_is_read_defensively(
    vendor: Vendor, connect: Connect, header: str, expected: float | None
) -> None:
    body = vendor.error("rate_limit_error", "slow down")
    async with serve(answer(429, body, headers={"retry-after": header})) as server:
        with pytest.raises(Retryable) as caught:
            await connect(server.url).complete(request())
    assert caught.value.retry_after == expected


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("overloaded_error", Retryable),
        ("rate_limit_error", Retryable),
        ("authentication_error", UserError),
        ("something_new", Retryable),
    ],
)
async def test_status_200_with_an_error_object_is_that_error(
    vendor: Vendor, connect: Connect, kind: str, expected: type[Exception]
) -> None:
    async with serve(answer(200, vendor.error(kind, "no"))) as server:
        with pytest.raises(expected):
            await connect(server.url).complete(request())


async def test_an_error_event_inside_the_stream_is_that_error(
    vendor: Vendor, connect: Connect
) -> None:
    body = vendor.error("overloaded_error", "Overloaded")
    last = providers.event("error", body) if vendor.name == "anthropic" else providers.data(body)
    async with serve(stream([vendor.text("Hel"), last])) as server:
        with pytest.raises(BrokenAnswer, match="Overloaded") as caught:
            await connect(server.url).complete(request())
    assert caught.value.usage.cost_usd > 0


@pytest.mark.parametrize(
    "body", [b"<html>hello</html>", b"", b"null", b'{"choices":', b"\xff\xfe\x00"]
)
async def test_a_200_that_is_no_stream_is_a_passing_fault(
    vendor: Vendor, connect: Connect, body: bytes
) -> None:
    async with serve(answer(200, body, content_type="text/html")) as server:
        with pytest.raises(Retryable):
            await connect(server.url).complete(request())


@pytest.mark.parametrize("then", ["cut", "end"])
async def test_a_stream_that_is_cut_is_broken_and_says_what_it_cost(
    vendor: Vendor, connect: Connect, then: str
) -> None:
    async with serve(stream([vendor.text("half an ans")], then=then)) as server:
        with pytest.raises(BrokenAnswer) as caught:
            await connect(server.url).complete(request())
    assert caught.value.dependency == vendor.name
    assert caught.value.usage.calls == 1
    assert caught.value.usage.input_tokens > 0


@pytest.mark.parametrize(
    "junk",
    [
        b"data: {not json\n\n",
        b"event: message_start\ndata: {not json\n\n",
        b"event: message_start\ndata: \xff\xfe\n\n",
        b'event: content_block_delta\ndata: {"type":"content_block_delta"}\n\n',
        b'event: content_block_delta\ndata: {"type":"content_block_delta","delta":5}\n\n',
        b"event: message_delta\ndata: 5\n\n",
        b"event: message_delta\ndata: " + b"[" * 200_000 + b"\n\n",
        b"event: message_delta\ndata: [[]]\n\n",
        b'data: {"choices": 7}\n\n',
        b'data: {"choices": [null]}\n\n',
        b'data: {"choices": [{"delta": null, "finish_reason": 3}]}\n\n',
    ],
)
async def test_garbage_in_the_stream_is_a_passing_fault(
    vendor: Vendor, connect: Connect, junk: bytes
) -> None:
    async with serve(stream([junk])) as server:
        with pytest.raises(Retryable):
            await connect(server.url).complete(request())


async def test_a_flood_is_stopped_at_four_mebibytes(vendor: Vendor, connect: Connect) -> None:
    async with serve(forever(vendor.text("x" * 20_000))) as server:
        with pytest.raises(BrokenAnswer, match=str(MIN_ANSWER_BYTES)):
            await connect(server.url).complete(request())
        await server.hung_up.wait()


async def test_a_long_answer_may_have_as_many_bytes_as_its_tokens_need(
    vendor: Vendor, connect: Connect
) -> None:
    text = "y" * (MIN_ANSWER_BYTES + 1)
    events = vendor.whole(text, step=100_000)
    size = sum(len(event) for event in events)
    assert size > MIN_ANSWER_BYTES
    async with serve(stream(events)) as server:
        response = await connect(server.url).complete(request(max_output_tokens=size // 400))
    assert response.text == text


async def test_an_error_page_without_end_is_cut_off_too(vendor: Vendor, connect: Connect) -> None:
    async with serve(answer(500, b"x" * (MIN_ANSWER_BYTES + 1), content_type="text/plain")) as s:
        with pytest.raises(Retryable):
            await connect(s.url).complete(request())


@pytest.mark.parametrize("status", [200, 500])
async def test_a_compressed_answer_is_refused_unread(
    vendor: Vendor, connect: Connect, status: int
) -> None:
    bomb = gzip.compress(b"0" * 10_000_000)
    handler = answer(
        status, bomb, headers={"content-encoding": "gzip"}, content_type="text/event-stream"
    )
    async with serve(handler) as server:
        with pytest.raises(Retryable, match="encoded"):
            await connect(server.url).complete(request())


async def test_pings_without_end_are_ended_by_the_overall_deadline(
    vendor: Vendor, connect: Connect, clock: VirtualClock
) -> None:
    async with serve(forever(vendor.ping)) as server:
        call = asyncio.ensure_future(connect(server.url).complete(request()))
        await server.asked.wait()
        await clock.advance(101)
        with pytest.raises(BrokenAnswer, match="100 seconds"):
            await call
        await server.hung_up.wait()


async def test_silence_is_ended_by_the_socket_s_own_limit(
    vendor: Vendor, connect: Connect, http: httpx2.AsyncClient
) -> None:
    http.timeout = httpx2.Timeout(5, read=0.05)
    async with serve(stream([vendor.text("He")], then="hang")) as server:
        with pytest.raises(BrokenAnswer, match="silent"):
            await connect(server.url).complete(request())


async def test_nobody_listening_is_a_passing_fault(vendor: Vendor, connect: Connect) -> None:
    async with serve(stream([])) as server:
        url = server.url
    with pytest.raises(Retryable, match="could not be reached") as caught:
        await connect(url).complete(request())
    assert not isinstance(caught.value, BrokenAnswer)


async def test_a_redirect_is_not_followed_with_the_key(vendor: Vendor, connect: Connect) -> None:
    async with serve(stream(vendor.whole("stolen"))) as other:
        moved = answer(307, b"", headers={"location": other.url})
        async with serve(moved) as server:
            with pytest.raises((Retryable, UserError)):
                await connect(server.url).complete(request())
        assert other.bodies == []


async def test_cancelling_closes_the_connection_so_that_spending_stops(
    vendor: Vendor, connect: Connect
) -> None:
    async with serve(stream([vendor.text("He")], then="hang")) as server:
        call = asyncio.ensure_future(connect(server.url).complete(request()))
        await server.asked.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await asyncio.wait_for(server.hung_up.wait(), 5)


async def test_an_answer_cut_by_the_token_limit_says_so(vendor: Vendor, connect: Connect) -> None:
    async with serve(stream(vendor.whole('{"a": [1, 2', stop=vendor.cut_stop))) as server:
        response = await connect(server.url).complete(request())
    assert (response.stop, response.text) == ("length", '{"a": [1, 2')


@pytest.mark.parametrize(
    ("reason", "expected"),
    [("refusal", "refusal"), ("stop_sequence", "end"), ("tool_use", "other"), ("new", "other")],
)
async def test_anthropic_s_stop_reasons(
    reason: str, expected: str, http: httpx2.AsyncClient
) -> None:
    response = await _ask_one("anthropic", providers.anthropic_events("x", stop=reason), http)
    assert response.stop == expected


@pytest.mark.parametrize(
    ("reason", "expected"),
    [("content_filter", "filtered"), ("tool_calls", "other"), ("function_call", "other")],
)
async def test_openai_s_stop_reasons(reason: str, expected: str, http: httpx2.AsyncClient) -> None:
    response = await _ask_one("openai", providers.openai_events("x", stop=reason), http)
    assert response.stop == expected


async def test_openai_s_refusal_text_is_a_refusal(http: httpx2.AsyncClient) -> None:
    events = [
        providers.openai_chunk({"refusal": "I will not."}),
        providers.openai_chunk({}, "stop"),
        providers.DONE,
    ]
    response = await _ask_one("openai", events, http)
    assert (response.stop, response.text) == ("refusal", "I will not.")


async def test_anthropic_s_cached_tokens_are_counted_apart(http: httpx2.AsyncClient) -> None:
    start = {
        "input_tokens": 10,
        "cache_read_input_tokens": 1000,
        "cache_creation_input_tokens": 200,
        "output_tokens": 1,
    }
    events = providers.anthropic_events("x", start_usage=start, end_usage={"output_tokens": 7})
    usage = (await _ask_one("anthropic", events, http)).usage
    assert (usage.input_tokens, usage.output_tokens) == (10, 7)
    assert (usage.cache_read_tokens, usage.cache_write_tokens) == (1000, 200)
    assert usage.cost_usd == pytest.approx((10 * 2 + 7 * 10 + 1000 * 0.2 + 200 * 2.5) / 1e6)


async def test_openai_s_cached_tokens_are_taken_out_of_its_prompt_tokens(
    http: httpx2.AsyncClient,
) -> None:
    said = {
        "prompt_tokens": 1210,
        "completion_tokens": 7,
        "total_tokens": 1217,
        "prompt_tokens_details": {"cached_tokens": 1000, "cache_write_tokens": 200},
    }
    usage = (await _ask_one("openai", providers.openai_events("x", usage=said), http)).usage
    assert (usage.input_tokens, usage.output_tokens) == (10, 7)
    assert (usage.cache_read_tokens, usage.cache_write_tokens) == (1000, 200)


@pytest.mark.parametrize("bad", [None, -5, "many", 1.5, 10**12])
async def test_usage_that_is_missing_or_absurd_is_estimated_upwards_never_zero(
    bad: object, http: httpx2.AsyncClient
) -> None:
    fields = {"input_tokens": bad, "output_tokens": bad}
    events = providers.anthropic_events("hello there", start_usage=fields, end_usage=fields)
    usage = (await _ask_one("anthropic", events, http)).usage
    assert usage.input_tokens >= 10
    assert usage.output_tokens >= 2
    said = {"prompt_tokens": bad, "completion_tokens": bad, "prompt_tokens_details": bad}
    usage = (await _ask_one("openai", providers.openai_events("hi there", usage=said), http)).usage
    assert usage.input_tokens >= 10
    assert usage.output_tokens >= 2


async def _ask_one(name: str, events: list[bytes], http: httpx2.AsyncClient) -> ModelResponse:
    return (await exchange(name, events, http, request()))[0]


def test_importing_the_models_imports_no_sdk() -> None:
    script = (
        "import sys, pipelines.integrations.llm.factory; "
        "sys.exit(bool({'openai', 'anthropic'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
