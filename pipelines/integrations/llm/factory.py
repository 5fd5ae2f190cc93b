"""From names such as ``anthropic:claude-sonnet-5-5`` to models that can be asked."""

from collections.abc import Sequence
from pathlib import Path

import httpx2
from pydantic import Field, SecretStr

from pipelines.errors import UserError
from pipelines.integrations.llm.anthropic import AnthropicModel
from pipelines.integrations.llm.base import LanguageModel
from pipelines.integrations.llm.chain import ModelChain, Recorder
from pipelines.integrations.llm.http import Limits, new_client
from pipelines.integrations.llm.mock import MockModel, load_script
from pipelines.integrations.llm.openai import OpenAIModel
from pipelines.integrations.llm.prices import price_table
from pipelines.model import Frozen
from pipelines.ports import Clock

DEFAULT_ANTHROPIC = "anthropic:claude-sonnet-5-5"
DEFAULT_OPENAI = "openai:gpt-6.1-sol"
PROVIDERS = ("anthropic", "openai", "mock")
# A server of one's own often wants no key, but the SDKs insist on one.
_NO_KEY = SecretStr("not-needed")


class ProviderSettings(Frozen):
    """Keys and addresses of the providers; a base URL without a key is a server that wants none."""

    anthropic_key: SecretStr | None = Field(default=None, repr=False)
    anthropic_url: str | None = None
    openai_key: SecretStr | None = Field(default=None, repr=False)
    openai_url: str | None = None

    def default_models(self) -> tuple[str, ...]:
        """Return the chain for the keys that are present; empty if there are none."""
        found: list[str] = []
        if self.anthropic_key:
            found.append(DEFAULT_ANTHROPIC)
        if self.openai_key:
            found.append(DEFAULT_OPENAI)
        return tuple(found)


def split_name(name: str) -> tuple[str, str]:
    """Split ``provider:model``; raises UserError if it is not of that form."""
    provider, colon, model = name.strip().partition(":")
    if not colon or not model.strip() or provider not in PROVIDERS:
        known = ", ".join(f"{each}:…" for each in PROVIDERS)
        raise UserError(f"{name!r} is not a model name: write one of {known}.")
    return provider, model.strip()


def build_chain(
    names: Sequence[str],
    settings: ProviderSettings,
    *,
    clock: Clock,
    recorder: Recorder | None = None,
    limits: Limits | None = None,
) -> ModelChain:
    """Return the chain of these models, or of the defaults if no names are given.

    It owns its HTTP client until ``close``. Raises UserError for a name that cannot be used;
    nothing is contacted yet.
    """
    limits = limits or Limits()
    chosen = tuple(names) or settings.default_models()
    parts = [split_name(name) for name in chosen]
    http = new_client(limits)
    models = [_build(each, settings, http, clock, limits) for each in parts]
    return ModelChain(models, clock=clock, recorder=recorder, http=http)


def _build(
    name: tuple[str, str],
    settings: ProviderSettings,
    http: httpx2.AsyncClient,
    clock: Clock,
    limits: Limits,
) -> LanguageModel:
    provider, model = name
    prices = price_table()
    if provider == "mock":
        return MockModel(model, load_script(Path(model)), clock=clock, prices=prices)
    vendor = AnthropicModel if provider == "anthropic" else OpenAIModel
    key, url = (
        (settings.anthropic_key, settings.anthropic_url)
        if provider == "anthropic"
        else (settings.openai_key, settings.openai_url)
    )
    return vendor(
        model,
        key=_usable_key(provider, key, url),
        base_url=url,
        http=http,
        clock=clock,
        prices=prices,
        limits=limits,
    )


def _usable_key(provider: str, key: SecretStr | None, url: str | None) -> SecretStr:
    if key and key.get_secret_value().strip():
        return SecretStr(key.get_secret_value().strip())
    if url:
        return _NO_KEY
    variable = f"{provider.upper()}_API_KEY"
    raise UserError(f"The model chain names a model of {provider} but {variable} is not set.")
