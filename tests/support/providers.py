"""Local HTTP servers that speak the wire of the model providers, well or badly."""

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class FakeProvider:
    """Answers every POST with what ``script`` says next and keeps what it was asked.

    The last entry of the script repeats.
    """

    script: list[Handler]
    url: str = ""
    bodies: list[dict[str, Any]] = field(default_factory=list)
    headers: list[Mapping[str, str]] = field(default_factory=list)
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    hung_up: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when a client closed the connection before the answer was whole."""
    _served: int = 0

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.bodies.append(await request.json())
        self.headers.append(request.headers)
        handler = self.script[min(self._served, len(self.script) - 1)]
        self._served += 1
        self.asked.set()
        try:
            return await handler(request)
        except (ConnectionError, asyncio.CancelledError):
            self.hung_up.set()
            raise


@asynccontextmanager
async def serve(*script: Handler) -> AsyncGenerator[FakeProvider]:
    fake = FakeProvider(list(script))
    app = web.Application(client_max_size=64 * 1024 * 1024)
    app.router.add_post("/{path:.*}", fake.handle)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    fake.url = f"http://{host}:{port}"
    try:
        yield fake
    finally:
        await runner.cleanup()


# --- the wire ------------------------------------------------------------------------------------


def event(name: str, data: object) -> bytes:
    """One server-sent event as Anthropic writes it."""
    return f"event: {name}\ndata: {json.dumps(data)}\n\n".encode()


def data(value: object) -> bytes:
    """One server-sent event as OpenAI writes it."""
    return f"data: {json.dumps(value)}\n\n".encode()


DONE = b"data: [DONE]\n\n"


def anthropic_start(usage: object = None) -> bytes:
    message = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-test",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": usage if usage is not None else {"input_tokens": 25, "output_tokens": 1},
    }
    return event("message_start", {"type": "message_start", "message": message})


def anthropic_text(text: str) -> bytes:
    delta = {"type": "text_delta", "text": text}
    return event("content_block_delta", {"type": "content_block_delta", "index": 0, "delta": delta})


def anthropic_end(stop: str | None = "end_turn", usage: object = None) -> bytes:
    delta = {"stop_reason": stop, "stop_sequence": None}
    return event(
        "message_delta",
        {"type": "message_delta", "delta": delta, "usage": usage or {"output_tokens": 15}},
    ) + event("message_stop", {"type": "message_stop"})


def anthropic_events(
    text: str,
    *,
    stop: str = "end_turn",
    step: int = 7,
    start_usage: object = None,
    end_usage: object = None,
) -> list[bytes]:
    """A whole answer as the Messages API documents its stream."""
    block = {"type": "text", "text": ""}
    return [
        anthropic_start(start_usage),
        event(
            "content_block_start",
            {"type": "content_block_start", "index": 0, "content_block": block},
        ),
        event("ping", {"type": "ping"}),
        *(anthropic_text(text[i : i + step]) for i in range(0, len(text), step)),
        event("content_block_stop", {"type": "content_block_stop", "index": 0}),
        anthropic_end(stop, end_usage),
    ]


def openai_chunk(
    delta: Mapping[str, object], finish: str | None = None, usage: object = None
) -> bytes:
    chunk: dict[str, object] = {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "gpt-test",
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
        "usage": usage,
    }
    return data(chunk)


def openai_usage(usage: object) -> bytes:
    return data(
        {
            "id": "chatcmpl-1",
            "object": "chat.completion.chunk",
            "created": 1,
            "model": "gpt-test",
            "choices": [],
            "usage": usage,
        }
    )


OPENAI_USAGE = {"prompt_tokens": 25, "completion_tokens": 15, "total_tokens": 40}


def openai_events(
    text: str, *, stop: str = "stop", step: int = 7, usage: object = OPENAI_USAGE
) -> list[bytes]:
    """A whole answer as Chat Completions documents its stream."""
    return [
        openai_chunk({"role": "assistant", "content": ""}),
        *(openai_chunk({"content": text[i : i + step]}) for i in range(0, len(text), step)),
        openai_chunk({}, stop),
        openai_usage(usage),
        DONE,
    ]


# --- answers -------------------------------------------------------------------------------------


def stream(chunks: Sequence[bytes], *, then: str = "end") -> Handler:
    """Send the chunks as an event stream; ``then`` end it, ``cut`` the connection or ``hang``."""

    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        for chunk in chunks:
            await response.write(chunk)
        if then == "cut":
            assert request.transport is not None
            request.transport.abort()
        elif then == "hang":
            await asyncio.Event().wait()
        return response

    return handler


def forever(chunk: bytes) -> Handler:
    """Send the same chunk again and again until the client hangs up."""

    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        while True:
            await response.write(chunk)
            await asyncio.sleep(0)

    return handler


def answer(
    status: int,
    body: object,
    *,
    headers: Mapping[str, str] | None = None,
    content_type: str = "application/json",
) -> Handler:
    """Answer once with this status and body (bytes as they are, anything else as JSON)."""
    payload = body if isinstance(body, bytes) else json.dumps(body).encode()

    async def handler(request: web.Request) -> web.StreamResponse:
        return web.Response(status=status, body=payload, headers=headers, content_type=content_type)

    return handler


def anthropic_error(kind: str, message: str) -> dict[str, object]:
    return {"type": "error", "error": {"type": kind, "message": message}}


def openai_error(kind: str, message: str, code: str | None = None) -> dict[str, object]:
    return {"error": {"type": kind, "message": message, "param": None, "code": code}}
