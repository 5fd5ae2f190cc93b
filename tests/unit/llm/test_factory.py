"""Names to models."""

import json
from pathlib import Path

import pytest
from pydantic import SecretStr

from pipelines.errors import ModelUnavailable, UserError
from pipelines.integrations.llm.factory import ProviderSettings, build_chain
from tests.support.clock import VirtualClock
from tests.support.providers import openai_events, serve, stream
from tests.unit.llm.conftest import request

BOTH = ProviderSettings(anthropic_key=SecretStr("sk-a"), openai_key=SecretStr("sk-o"))


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (BOTH, ["anthropic", "openai"]),
        (ProviderSettings(openai_key=SecretStr("sk-o")), ["openai"]),
        (BOTH.model_copy(update={"models": ("openai:x",)}), ["openai"]),
    ],
)
async def test_the_default_chain_follows_the_keys(
    settings: ProviderSettings, expected: list[str], clock: VirtualClock
) -> None:
    chain = build_chain((), settings, clock=clock)
    assert [name.split(":")[0] for name in chain.name.split(",")] == expected
    await chain.close()


@pytest.mark.parametrize("name", ["", "claude", "gemini:pro", "anthropic:", "anthropic: ", ":x"])
def test_a_name_that_is_none_is_refused_with_the_known_ones(name: str, clock: VirtualClock) -> None:
    with pytest.raises(UserError, match=r"anthropic:…"):
        build_chain([name], BOTH, clock=clock)


@pytest.mark.parametrize("provider", ["anthropic", "openai"])
@pytest.mark.parametrize("key", [None, SecretStr(""), SecretStr(" \n")])
def test_a_model_without_a_key_names_the_variable(
    provider: str, key: SecretStr | None, clock: VirtualClock
) -> None:
    settings = ProviderSettings.model_validate({f"{provider}_key": key})
    with pytest.raises(UserError, match=f"{provider.upper()}_API_KEY is not set"):
        build_chain([f"{provider}:m"], settings, clock=clock)


@pytest.mark.parametrize("key", ["sk-ключ", "sk a", "sk-\x00"])
def test_a_key_that_no_header_can_carry_is_named_but_not_shown(
    key: str, clock: VirtualClock
) -> None:
    settings = ProviderSettings(openai_key=SecretStr(key))
    with pytest.raises(UserError, match="OPENAI_API_KEY has characters") as caught:
        build_chain(["openai:m"], settings, clock=clock)
    assert key not in str(caught.value)


@pytest.mark.parametrize("url", ["localhost:8000", "ftp://x", "http://", "https://[::1", "/v1"])
def test_an_address_that_is_none_names_the_variable(url: str, clock: VirtualClock) -> None:
    settings = ProviderSettings(anthropic_url=url)
    with pytest.raises(UserError, match="ANTHROPIC_BASE_URL is not an address"):
        build_chain(["anthropic:m"], settings, clock=clock)


async def test_a_server_of_one_s_own_needs_no_key(clock: VirtualClock) -> None:
    async with serve(stream(openai_events("local"))) as server:
        settings = ProviderSettings(openai_url=server.url)
        chain = build_chain(["openai:qwen3:8b"], settings, clock=clock)
        response = await chain.complete(request())
        await chain.close()
    assert (response.text, response.model) == ("local", "openai:qwen3:8b")
    assert server.bodies[0]["model"] == "qwen3:8b"


async def test_a_key_with_a_newline_from_a_file_still_works(clock: VirtualClock) -> None:
    async with serve(stream(openai_events("ok"))) as server:
        settings = ProviderSettings(openai_url=server.url, openai_key=SecretStr("sk-x\n"))
        chain = build_chain(["openai:m"], settings, clock=clock)
        await chain.complete(request())
        await chain.close()
    assert server.headers[0]["authorization"] == "Bearer sk-x"


async def test_a_scripted_model_is_named_by_its_file(tmp_path: Path, clock: VirtualClock) -> None:
    script = tmp_path / "a.json"
    script.write_text(json.dumps({"replies": [{"text": "hi"}]}))
    settings = ProviderSettings.from_environment({"CONDUCTOR_MODELS": f" mock:{script},"})
    chain = build_chain([], settings, clock=clock)
    response = await chain.complete(request())
    await chain.close()
    assert response.text == "hi"
    assert (response.model, response.usage.models) == ("mock:a.json", ("mock:a.json",))
    assert response.usage.cost_usd == 0


def test_what_is_wrong_with_a_script_is_said_without_its_folder(
    tmp_path: Path, clock: VirtualClock
) -> None:
    settings = ProviderSettings(models=(f"mock:{tmp_path}/gone.json",))
    with pytest.raises(UserError, match=r"gone\.json") as caught:
        build_chain([], settings, clock=clock)
    assert str(tmp_path) not in str(caught.value)


def test_settings_do_not_show_keys() -> None:
    assert "sk-" not in repr(BOTH) + str(BOTH)


def test_a_repository_cannot_choose_a_script_on_the_server(clock: VirtualClock) -> None:
    with pytest.raises(UserError, match="only its operator"):
        build_chain(["mock:/etc/hostname"], BOTH, clock=clock)


def test_without_any_model_the_message_names_what_to_set(clock: VirtualClock) -> None:
    with pytest.raises(ModelUnavailable, match="ANTHROPIC_API_KEY, OPENAI_API_KEY"):
        build_chain((), ProviderSettings(), clock=clock)


def test_settings_survive_the_way_through_an_environment() -> None:
    settings = BOTH.model_copy(update={"openai_url": "http://x/v1", "models": ("a:b", "c:d")})
    assert ProviderSettings.from_environment(settings.to_environment()) == settings
    assert ProviderSettings.from_environment({"OPENAI_API_KEY": " "}) == ProviderSettings()
    assert ProviderSettings().to_environment() == {}
