"""Secrets in the formats of those who issue them; none of these is real."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.redaction import REDACTED, find_secrets, redact

# Put together at run time, so that no scanner of this repository takes them for real.
A, D, H = "aBcDeFgHiJkLmNoPqRsTuVwXyZ" * 4, "0123456789" * 4, "0123456789abcdef" * 8
MIX = "aB3dE6gH9jK2mN5pQ8sT1vW4yZ7" * 4
JWT = f"eyJ{A[:20]}.eyJ{MIX[:30]}.{A[:43]}"
PEM = f"-----BEGIN RSA PRIVATE KEY-----\n{MIX[:64]}\n{MIX[:40]}==\n-----END RSA PRIVATE KEY-----"

SECRETS = {
    "classic personal token": "ghp_" + MIX[:36],
    "OAuth token": "gho_" + MIX[:36],
    "user token": "ghu_" + MIX[:36],
    "installation token": "ghs_" + MIX[:36],
    "refresh token": "ghr_" + MIX[:76],
    "new installation token": f"ghs_123456_{JWT}",
    "fine-grained token": f"github_pat_{MIX[:22]}_{MIX[:59]}",
    "GitLab": "glpat-" + MIX[:20],
    "AWS id": "AKIA" + "ABCDEFGHIJ234567",
    "AWS temporary id": "ASIA" + "ABCDEFGHIJ234567",
    "AWS secret": f'aws_secret_access_key = "{MIX[:40]}"',
    "Google API": "AIza" + MIX[:35],
    "Google OAuth": "GOCSPX-" + MIX[:28],
    "Google access": "ya29." + MIX[:60],
    "Azure": f"DefaultEndpointsProtocol=https;AccountKey={MIX[:86]}==",
    "Slack bot": f"xoxb-{D[:12]}-{D[:12]}-{MIX[:24]}",
    "Slack app": f"xapp-1-A{D[:10]}-{D[:13]}-{H[:64]}",
    "Slack webhook": f"https://hooks.slack.com/services/T{D[:8]}/B{D[:8]}/{MIX[:24]}",
    "Slack workflow": f"https://hooks.slack.com/workflows/T{D[:8]}/A{D[:8]}/{D[:18]}/{MIX[:24]}",
    "Discord webhook": f"https://discord.com/api/webhooks/{D[:18]}/{MIX[:68]}",
    "Telegram": f"{D[:10]}:AA{MIX[:33]}",
    "Anthropic": f"sk-ant-api03-{MIX[:93]}-AA",
    "OpenAI": "sk-" + MIX[:48],
    "OpenAI project": "sk-proj-" + MIX[:48],
    "Hugging Face": "hf_" + MIX[:34],
    "Stripe": "sk_live_" + MIX[:24],
    "Stripe webhook": "whsec_" + MIX[:32],
    "npm": "npm_" + MIX[:36],
    "npmrc": f"//registry.example/:_authToken={MIX[:36]}",
    "PyPI": "pypi-AgE" + MIX[:60],
    "RubyGems": "rubygems_" + H[:48],
    "Docker": "dckr_pat_" + MIX[:27],
    "SendGrid": f"SG.{MIX[:22]}.{MIX[:43]}",
    "Twilio": "SK" + H[:32],
    "Mailgun": "key-" + H[:32],
    "DigitalOcean": "dop_v1_" + H[:64],
    "Heroku": "HRKU-" + MIX[:36],
    "Databricks": "dapi" + H[:32],
    "Vault": "hvs." + MIX[:24],
    "Linear": "lin_api_" + MIX[:40],
    "Shopify": "shpat_" + H[:32],
    "Grafana": "glsa_" + MIX[:32],
    "Doppler": "dp.pt." + MIX[:43],
    "age": "AGE-SECRET-KEY-1" + MIX[:58].upper(),
    "private key": PEM,
    "OpenSSH key": PEM.replace("RSA", "OPENSSH"),
    "escaped key": PEM.replace("\n", "\\n"),
    "cut key": PEM.partition("-----END")[0],
    "authorization": f"Authorization: token {MIX[:30]}",
    "basic": f'"authorization": "Basic {MIX[:24]}=="',
    "bearer": f"curl -H 'X: Bearer {MIX[:30]}'",
    "JSON web token": JWT,
    "URL password": f"postgres://shop:{MIX[:12]}@db.internal/shop",
    "URL token": f"https://x-access-token:{MIX[:12]}@github.com/a/b",
}


@pytest.mark.parametrize("secret", SECRETS.values(), ids=SECRETS)
@pytest.mark.parametrize(
    "around", ["{}", "x = '{}'\n", '{{"key": "{}"}}', "before {} after", "+{}"]
)
def test_a_secret_is_gone_wherever_it_stands(secret: str, around: str) -> None:
    text, count = redact(around.format(secret))
    assert count == 1
    assert REDACTED in text
    long_words = [word for word in (MIX[:12], D[:12], H[:12], A[:12]) if word in secret]
    assert long_words or secret.startswith("A")
    assert not [word for word in long_words if word in text]


@pytest.mark.parametrize("secret", SECRETS.values(), ids=SECRETS)
def test_redacting_again_changes_nothing(secret: str) -> None:
    once = redact(f"a = '{secret}'  # {secret}\n")[0]
    assert redact(once)[0] == once


@pytest.mark.parametrize(
    "text",
    [
        "def task_runner_for_the_new_scheduler(sk): ...",
        "url = f'https://{user}:{password}@{host}/'",
        "postgres://user:${PASSWORD}@host/db",
        "git@github.com:acme/shop.git",
        "https://example.com:8080/path@2x.png",
        "Authorization: Bearer <token>",
        "the bearer of this authentication-information",
        "class='sk-estimator-doc-link-arrow-to-text'",
        "sha256:" + H[:64],
        "-----BEGIN PUBLIC KEY-----\nabc\n-----END PUBLIC KEY-----",
        'if line == "-----BEGIN RSA PRIVATE KEY-----":\n    parse(line)',
        "ghs_ is the prefix",
        "import eyJson.parser.thing",
        "0123456789abcdef0123456789abcdef01234567",
    ],
)
def test_ordinary_text_stays_as_it_is(text: str) -> None:
    assert redact(text) == (text, 0)


def test_a_key_over_several_lines_keeps_its_lines() -> None:
    text = f"first\n{PEM}\nlast\n"
    redacted, _ = redact(text)
    assert redacted.count("\n") == text.count("\n")
    assert redacted.endswith("\nlast\n")


def test_secrets_are_named_and_located() -> None:
    text = f"a\nb = '{SECRETS['npm']}'"
    (secret,) = find_secrets(text)
    assert secret.kind == "npm token"
    assert text[secret.start : secret.end] == SECRETS["npm"]


@given(
    st.lists(st.sampled_from([*SECRETS.values(), "\n", " ", "x", "'", "-----BEGIN "]), max_size=6)
)
def test_lines_are_kept_whatever_is_redacted(pieces: list[str]) -> None:
    text = " ".join(pieces)
    assert redact(text)[0].count("\n") == text.count("\n")


@pytest.mark.parametrize(
    "hostile",
    [
        "-----BEGIN PRIVATE KEY-----" * 20_000,
        "a://" * 100_000,
        "eyJ" * 200_000,
        "authorization: " * 50_000,
        "sk-" * 200_000,
        "eyJ-" * 200_000,
        "eyJaaaaaaaa." * 80_000,
        "bearer a-" * 80_000,
        "bearer " + "a-" * 200_000,
        "AccountKey=" * 50_000,
        "_auth" * 100_000,
        "SG." * 100_000,
        "https://hooks.slack.com/" * 30_000,
        "A" * 1_000_000,
        "aws_secret_key=" * 50_000,
    ],
    ids=lambda text: text[:12],
)
@pytest.mark.timeout(20)
def test_hostile_text_is_read_in_linear_time(hostile: str) -> None:
    assert redact(hostile)[0].count("\n") == 0
