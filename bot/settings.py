"""Everything an operator can set, read once from the environment and ``.env``."""

import hmac
import os
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import (
    AliasChoices,
    Field,
    HttpUrl,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from bot.deliveries.signature import MIN_SECRET_CHARACTERS
from pipelines.errors import UserError

SandboxChoice = Literal["auto", "kubernetes", "docker", "bubblewrap", "host", "none"]
LogLevel = Literal["DEBUG", "INFO", "WARNING", "ERROR"]


class ConductorConfig(BaseSettings):
    """The operator's settings; field names are the environment variables in lower case."""

    model_config = SettingsConfigDict(
        env_file=".env",
        env_file_encoding="utf-8",
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,
    )

    github_app_id: int | None = Field(default=None, ge=1)
    github_private_key: SecretStr | None = None
    github_private_key_path: Path | None = None
    github_webhook_secret: SecretStr | None = None
    github_webhook_secret_previous: SecretStr | None = None
    github_api_url: HttpUrl = HttpUrl("https://api.github.com")

    conductor_storage_url: str = Field(
        default="sqlite:///conductor.db",
        validation_alias=AliasChoices("conductor_storage_url", "redis_url"),
    )

    anthropic_api_key: SecretStr | None = None
    anthropic_base_url: HttpUrl | None = None
    openai_api_key: SecretStr | None = None
    openai_base_url: HttpUrl | None = None
    conductor_models: Annotated[tuple[str, ...], NoDecode] = ()

    conductor_sandbox: SandboxChoice = "auto"
    conductor_sandbox_image: str | None = None
    conductor_sandbox_pull: bool = False
    conductor_sandbox_namespace: str | None = None
    conductor_toolchains: Annotated[tuple[Path, ...], NoDecode] = ()
    conductor_allowed_hosts: Annotated[tuple[str, ...], NoDecode] = ()
    conductor_local_target: bool = False
    conductor_data_dir: Path = Path(".conductor")
    conductor_alerts_token: SecretStr | None = None
    slack_webhook_url: SecretStr | None = None
    conductor_notify_url: HttpUrl | None = None
    conductor_notify_secret: SecretStr | None = None
    prometheus_url: HttpUrl | None = None
    jaeger_url: HttpUrl | None = None
    gitlab_url: HttpUrl = HttpUrl("https://gitlab.com")
    gitlab_token: SecretStr | None = None

    conductor_base_url: HttpUrl | None = None
    conductor_budget_usd_per_day: float = Field(default=25.0, ge=0)
    conductor_concurrency: int = Field(default=8, ge=1, le=256)
    conductor_concurrency_per_repository: int | None = Field(default=None, ge=1, le=10_000)
    conductor_concurrency_per_installation: int | None = Field(default=None, ge=1, le=10_000)
    conductor_lease_seconds: float = Field(default=60.0, ge=5, le=60)
    conductor_backlog: int = Field(default=20_000, ge=1, le=10_000_000)
    conductor_backlog_mib: int = Field(default=1024, ge=1, le=1024 * 1024)
    conductor_log_level: LogLevel = "INFO"
    conductor_log_format: Literal["console", "json"] | None = None

    conductor_health_port: int | None = Field(default=None, ge=0, le=65535)
    host: str | None = None
    port: int = Field(default=8080, ge=0, le=65535)

    @field_validator("conductor_models", "conductor_allowed_hosts", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @field_validator("conductor_toolchains", mode="before")
    @classmethod
    def _paths(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(Path(part) for part in value.split(os.pathsep) if part)
        return value

    @field_validator(
        "github_webhook_secret",
        "github_webhook_secret_previous",
        "conductor_alerts_token",
        "conductor_notify_secret",
    )
    @classmethod
    def _long_enough(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and len(value.get_secret_value()) < MIN_SECRET_CHARACTERS:
            raise ValueError(
                f"is shorter than {MIN_SECRET_CHARACTERS} characters; "
                "make one with `openssl rand -hex 32`"
            )
        return value

    @field_validator("conductor_log_level", mode="before")
    @classmethod
    def _upper(cls, value: object) -> object:
        return value.upper() if isinstance(value, str) else value

    @property
    def marker_keys(self) -> tuple[bytes, ...]:
        """What signs Conductor's own markers, the current key first.

        They are derived from the webhook secrets, so that they change with them and both are good
        during a rotation.
        """
        secrets = (self.github_webhook_secret, self.github_webhook_secret_previous)
        return tuple(
            hmac.digest(secret.get_secret_value().encode(), b"conductor markers", "sha256")
            for secret in secrets
            if secret is not None
        )

    @model_validator(mode="after")
    def _one_key(self) -> Self:
        if self.github_private_key and self.github_private_key_path:
            raise ValueError("set GITHUB_PRIVATE_KEY or GITHUB_PRIVATE_KEY_PATH, not both")
        return self

    def repository_cap(self, workers: int = 1) -> int:
        """How many agents one repository may have at work; without a setting three in four.

        What is left over is where another repository starts at once, however long the tasks of
        the first one take.
        """
        slots = workers * self.conductor_concurrency
        return self.conductor_concurrency_per_repository or _share(slots, 4)

    def installation_cap(self, workers: int = 1) -> int:
        """How many agents one installation may have at work; without a setting seven in eight."""
        slots = workers * self.conductor_concurrency
        return self.conductor_concurrency_per_installation or _share(slots, 8)

    @property
    def listen_host(self) -> str:
        """``HOST``; without it every interface if the platform chose ``PORT``, else loopback."""
        return self.host or ("0.0.0.0" if "PORT" in os.environ else "127.0.0.1")  # noqa: S104

    def private_key(self) -> SecretStr | None:
        """Return the App's key in PEM; raises UserError if the file cannot be read."""
        if self.github_private_key is not None:
            text = self.github_private_key.get_secret_value()
            return SecretStr(text.replace("\\n", "\n").strip() + "\n")
        if self.github_private_key_path is None:
            return None
        try:
            return SecretStr(self.github_private_key_path.read_text(encoding="ascii"))
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(
                f"GITHUB_PRIVATE_KEY_PATH names {str(self.github_private_key_path)!r}, "
                "which is not a readable PEM file."
            ) from error

    def secrets(self) -> list[str]:
        """Return every secret value set here, for the redactor."""
        fields = (
            self.github_private_key,
            self.github_webhook_secret,
            self.github_webhook_secret_previous,
            self.anthropic_api_key,
            self.openai_api_key,
            self.conductor_alerts_token,
            self.conductor_notify_secret,
            self.slack_webhook_url,
            self.gitlab_token,
        )
        return [secret.get_secret_value() for secret in fields if secret is not None]


def _share(slots: int, parts: int) -> int:
    """Return all slots but one part of so many, rounded up; at least one."""
    return max(1, slots - -(-slots // parts))


def load_settings(*, env_file: Path | None = Path(".env")) -> ConductorConfig:
    """Read the settings; raises UserError with one line for each one that is wrong.

    The message names variables and what is wrong with them, never their values.
    """
    try:
        return ConductorConfig(_env_file=env_file)  # pyright: ignore[reportCallIssue]  (a parameter that pydantic-settings adds at run time)
    except ValidationError as error:
        problems = "; ".join(_problem(e["loc"], e["msg"]) for e in error.errors())
        raise UserError(f"The settings cannot be used: {problems}.") from None


def _problem(location: tuple[int | str, ...], message: str) -> str:
    name = str(location[0]).upper() if location else "settings"
    return f"{name}: {message.removeprefix('Value error, ')}"
