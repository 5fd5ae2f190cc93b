"""From names such as ``anthropic:claude-sonnet-5-5`` to models that can be asked."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import httpx2
from pydantic import Field, SecretStr

from pipelines.errors import ModelUnavailable, UserError
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


_VARIABLES = {
    "anthropic_key": "ANTHROPIC_API_KEY",
    "anthropic_url": "ANTHROPIC_BASE_URL",
    "openai_key": "OPENAI_API_KEY",
    "openai_url": "OPENAI_BASE_URL",
}


class ProviderSettings(Frozen):
    """Keys and addresses of the providers; a base URL without a key is a server that wants none.

    ``models`` is the operator's own chain; only what is in it may be a script, because a script is
    a file on this machine.
    """

    anthropic_key: SecretStr | None = Field(default=None, repr=False)
    anthropic_url: str | None = None
    openai_key: SecretStr | None = Field(default=None, repr=False)
    openai_url: str | None = None
    models: tuple[str, ...] = ()

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> "ProviderSettings":
        """Read the variables that README and docs/models.md name; an empty one counts as unset."""
        found = {field: environ.get(name, "").strip() for field, name in _VARIABLES.items()}
        names = environ.get("CONDUCTOR_MODELS", "").split(",")
        return cls.model_validate(
            {field: value for field, value in found.items() if value}
            | {"models": tuple(name.strip() for name in names if name.strip())}
        )

    def to_environment(self) -> dict[str, str]:
        """Return the variables from which ``from_environment`` makes these settings again."""
        out = {"CONDUCTOR_MODELS": ",".join(self.models)} if self.models else {}
        for field, name in _VARIABLES.items():
            value: SecretStr | str | None = getattr(self, field)
            if value:
                out[name] = value if isinstance(value, str) else value.get_secret_value()
        return out

    def default_models(self) -> tuple[str, ...]:
        """Return the operator's chain, or one for the keys that are present; empty without any."""
        if self.models:
            return self.models
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
    http: httpx2.AsyncClient | None = None,
) -> ModelChain:
    """Return the chain of these models, or of the defaults if no names are given.

    With ``http`` (from ``new_client``) chains share connections; without it the chain makes its own
    and closes it. Raises ModelUnavailable if there is no model at all, UserError for a name that
    cannot be used; nothing is contacted yet.
    """
    chosen = tuple(names) or settings.default_models()
    if not chosen:
        raise ModelUnavailable(
            "No model is configured: set ANTHROPIC_API_KEY, OPENAI_API_KEY or CONDUCTOR_MODELS."
        )
    builder = _Builder(settings, clock, limits or Limits(), http)
    models = [builder.build(name) for name in chosen]
    owned = None if http else builder.http
    return ModelChain(models, clock=clock, recorder=recorder, http=owned)


class _Builder:
    def __init__(
        self,
        settings: ProviderSettings,
        clock: Clock,
        limits: Limits,
        http: httpx2.AsyncClient | None,
    ) -> None:
        self.http = http or new_client(limits)
        self._settings = settings
        self._clock = clock
        self._limits = limits

    def build(self, name: str) -> LanguageModel:
        provider, model = split_name(name)
        if provider == "mock":
            return self._scripted(name, model)
        if provider == "anthropic":
            vendor, key, url = (
                AnthropicModel,
                self._settings.anthropic_key,
                self._settings.anthropic_url,
            )
        else:
            vendor, key, url = OpenAIModel, self._settings.openai_key, self._settings.openai_url
        return vendor(
            model,
            key=_usable_key(provider, key, url),
            base_url=_usable_url(provider, url),
            http=self.http,
            clock=self._clock,
            prices=price_table(),
            limits=self._limits,
        )

    def _scripted(self, name: str, file: str) -> LanguageModel:
        if name not in self._settings.models:
            raise UserError(
                f"{name!r} is a script on the server, so only its operator may choose it, "
                "in CONDUCTOR_MODELS."
            )
        # Its name is shown to users, whom the server's folders are no business of.
        path = Path(file)
        return MockModel(path.name, load_script(path), clock=self._clock, prices=price_table())


def _usable_key(provider: str, key: SecretStr | None, url: str | None) -> SecretStr:
    variable = f"{provider.upper()}_API_KEY"
    value = key.get_secret_value().strip() if key else ""
    if not value:
        if url:
            return _NO_KEY
        raise UserError(f"The model chain names a model of {provider} but {variable} is not set.")
    if not (value.isascii() and value.isprintable()) or " " in value:
        raise UserError(f"{variable} has characters that no key has: copy it again.")
    return SecretStr(value)


def _usable_url(provider: str, url: str | None) -> str | None:
    if not url:
        return None
    try:
        parts = httpx2.URL(url.strip())
    except httpx2.InvalidURL:
        parts = httpx2.URL("")
    if parts.scheme not in ("http", "https") or not parts.host:
        raise UserError(
            f"{provider.upper()}_BASE_URL is not an address: write it like https://host/path."
        )
    return url.strip()
