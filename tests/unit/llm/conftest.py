"""Models of both vendors, pointed at servers on this machine."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import httpx2
import pytest
from pydantic import SecretStr

from pipelines.integrations.llm.anthropic import AnthropicModel
from pipelines.integrations.llm.base import (
    ChatMessage,
    LanguageModel,
    ModelRequest,
    ModelResponse,
    Part,
)
from pipelines.integrations.llm.http import Limits, new_client
from pipelines.integrations.llm.openai import OpenAIModel
from pipelines.integrations.llm.prices import price_table
from pipelines.ports import Clock
from tests.support import providers
from tests.support.clock import VirtualClock
from tests.support.providers import serve, stream

KEY = "sk-very-secret-0123456789"


def request(text: str = "Say hello.", **fields: object) -> ModelRequest:
    values: dict[str, object] = {
        "purpose": "test",
        "system": (Part(text="You are terse.", cache=True),),
        "messages": (ChatMessage(role="user", parts=(Part(text=text),)),),
        "max_output_tokens": 256,
    }
    return ModelRequest.model_validate(values | fields)


@dataclass
class Vendor:
    """One provider: how to build its model and how to write its wire."""

    name: str
    make: Callable[..., LanguageModel]
    whole: Callable[..., list[bytes]]
    """A complete answer's events."""
    error: Callable[[str, str], dict[str, object]]
    cut_stop: str
    """Its word for an answer that ran into the token limit."""

    def text(self, text: str) -> bytes:
        if self.name == "anthropic":
            return providers.anthropic_start() + providers.anthropic_text(text)
        return providers.openai_chunk({"content": text})

    @property
    def ping(self) -> bytes:
        if self.name == "anthropic":
            return providers.event("ping", {"type": "ping"})
        return b": keep-alive\n\n"


VENDORS = {
    "anthropic": Vendor(
        "anthropic",
        AnthropicModel,
        providers.anthropic_events,
        providers.anthropic_error,
        "max_tokens",
    ),
    "openai": Vendor(
        "openai", OpenAIModel, providers.openai_events, providers.openai_error, "length"
    ),
}


@pytest.fixture(params=sorted(VENDORS))
def vendor(request: pytest.FixtureRequest) -> Vendor:
    return VENDORS[request.param]


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def limits() -> Limits:
    return Limits(connect=5, silence=20, total=100)


@pytest.fixture
async def http(limits: Limits) -> AsyncIterator[httpx2.AsyncClient]:
    client = new_client(limits)
    yield client
    await client.aclose()


@pytest.fixture
def connect(
    vendor: Vendor, http: httpx2.AsyncClient, clock: Clock, limits: Limits
) -> Callable[[str], LanguageModel]:
    """Return the vendor's model at an address."""

    def build(url: str, model: str = "claude-sonnet-5-5") -> LanguageModel:
        return vendor.make(
            model,
            key=SecretStr(KEY),
            base_url=url if vendor.name == "anthropic" else f"{url}/v1",
            http=http,
            clock=clock,
            prices=price_table(),
            limits=limits,
        )

    return build


async def exchange(
    name: str, events: list[bytes], http: httpx2.AsyncClient, asked: ModelRequest
) -> tuple[ModelResponse, dict[str, Any]]:
    """Ask a vendor's model once; returns its answer and what the server was sent."""
    async with serve(stream(events)) as server:
        model = VENDORS[name].make(
            "claude-sonnet-5-5",
            key=SecretStr(KEY),
            base_url=server.url,
            http=http,
            clock=VirtualClock(),
            prices=price_table(),
            limits=Limits(),
        )
        response = await model.complete(asked)
    return response, server.bodies[0]
