"""Settings come from the environment, and what is wrong is said without saying the value."""

from pathlib import Path

import pytest

from bot.settings import ConductorConfig, load_settings
from pipelines.errors import UserError

NAMES = [name.upper() for name in ConductorConfig.model_fields] + ["REDIS_URL"]


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)


def load(monkeypatch: pytest.MonkeyPatch, **values: str) -> ConductorConfig:
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    return load_settings(env_file=None)


def test_defaults_are_those_of_the_documentation(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load(monkeypatch)
    assert settings.conductor_storage_url == "sqlite:///conductor.db"
    assert str(settings.github_api_url) == "https://api.github.com/"
    assert (settings.listen_host, settings.port) == ("127.0.0.1", 8080)
    assert settings.conductor_budget_usd_per_day == 25
    assert settings.conductor_concurrency == 8
    assert settings.conductor_models == ()


def test_what_one_repository_may_take_leaves_room_for_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = load(monkeypatch)
    assert (settings.repository_cap(), settings.installation_cap()) == (6, 7)
    assert (settings.repository_cap(3), settings.installation_cap(3)) == (18, 21)
    settings = load(monkeypatch, CONDUCTOR_CONCURRENCY="1")
    assert (settings.repository_cap(), settings.installation_cap()) == (1, 1)
    settings = load(
        monkeypatch,
        CONDUCTOR_CONCURRENCY_PER_REPOSITORY="20",
        CONDUCTOR_CONCURRENCY_PER_INSTALLATION="50",
    )
    assert (settings.repository_cap(), settings.installation_cap()) == (20, 50)


def test_a_port_chosen_by_the_platform_opens_every_interface(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert load(monkeypatch, PORT="5000").listen_host == "0.0.0.0"
    assert load(monkeypatch, PORT="5000", HOST="127.0.0.1").listen_host == "127.0.0.1"


def test_models_are_a_comma_separated_chain(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load(monkeypatch, CONDUCTOR_MODELS="anthropic:a, openai:b,")
    assert settings.conductor_models == ("anthropic:a", "openai:b")


def test_redis_url_is_another_name_for_the_storage_url(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load(monkeypatch, REDIS_URL="redis://h").conductor_storage_url == "redis://h"


def test_a_key_with_escaped_line_breaks_is_mended(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load(monkeypatch, GITHUB_PRIVATE_KEY="-----BEGIN X-----\\nabc\\n-----END X-----\\n")
    key = settings.private_key()
    assert key
    assert key.get_secret_value() == "-----BEGIN X-----\nabc\n-----END X-----\n"


def test_a_key_can_be_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    path.write_text("PEM\n")
    key = load(monkeypatch, GITHUB_PRIVATE_KEY_PATH=str(path)).private_key()
    assert key
    assert key.get_secret_value() == "PEM\n"
    with pytest.raises(UserError, match="not a readable PEM file"):
        load(monkeypatch, GITHUB_PRIVATE_KEY_PATH=str(tmp_path / "none")).private_key()


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"GITHUB_WEBHOOK_SECRET": "tooshort"}, "GITHUB_WEBHOOK_SECRET: is shorter than 32"),
        ({"GITHUB_APP_ID": "abc"}, "GITHUB_APP_ID: "),
        ({"GITHUB_API_URL": "ftp://x"}, "GITHUB_API_URL: "),
        ({"PORT": "99999"}, "PORT: "),
        ({"CONDUCTOR_CONCURRENCY": "0"}, "CONDUCTOR_CONCURRENCY: "),
        ({"CONDUCTOR_LEASE_SECONDS": "4"}, "CONDUCTOR_LEASE_SECONDS: "),
        ({"CONDUCTOR_LEASE_SECONDS": "61"}, "CONDUCTOR_LEASE_SECONDS: "),
        ({"CONDUCTOR_LOG_LEVEL": "LOUD"}, "CONDUCTOR_LOG_LEVEL: "),
        ({"CONDUCTOR_BUDGET_USD_PER_DAY": "nan"}, "CONDUCTOR_BUDGET_USD_PER_DAY: "),
        (
            {"GITHUB_PRIVATE_KEY": "a-secret-value", "GITHUB_PRIVATE_KEY_PATH": "k"},
            "GITHUB_PRIVATE_KEY or GITHUB_PRIVATE_KEY_PATH, not both",
        ),
    ],
)
def test_what_is_wrong_is_named_without_its_value(
    monkeypatch: pytest.MonkeyPatch, values: dict[str, str], said: str
) -> None:
    with pytest.raises(UserError) as refusal:
        load(monkeypatch, **values)
    assert said in str(refusal.value)
    assert "\n" not in str(refusal.value)
    for value in ("tooshort", "a-secret-value"):
        assert value not in str(refusal.value)


def test_an_env_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_text("GITHUB_APP_ID=7\nUNKNOWN_TO_US=1\n")
    assert load_settings(env_file=path).github_app_id == 7


def test_no_secret_is_shown_by_repr(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load(
        monkeypatch,
        ANTHROPIC_API_KEY="sk-very-hidden",
        GITHUB_PRIVATE_KEY="pem-hidden",
        CONDUCTOR_ALERTS_TOKEN="alerts-hidden-0123456789abcdef01234567",
        SLACK_WEBHOOK_URL="https://hooks.example/hidden",
    )
    assert "hidden" not in repr(settings)
    assert len(settings.secrets()) == 4
    assert all("hidden" in secret for secret in settings.secrets())


def test_markers_are_signed_with_what_the_webhook_secrets_give(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    old, new = "o" * 32, "n" * 32
    before = load(monkeypatch, GITHUB_WEBHOOK_SECRET=old).marker_keys
    during = load(
        monkeypatch, GITHUB_WEBHOOK_SECRET=new, GITHUB_WEBHOOK_SECRET_PREVIOUS=old
    ).marker_keys
    assert len(before) == 1
    assert during[1:] == before
    assert during[0] != before[0]
    assert all(len(key) == 32 and old.encode() not in key for key in during)


def test_hosts_are_a_list_with_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load(monkeypatch, CONDUCTOR_ALLOWED_HOSTS="prometheus.example, 10.0.0.7:9090")
    assert settings.conductor_allowed_hosts == ("prometheus.example", "10.0.0.7:9090")
