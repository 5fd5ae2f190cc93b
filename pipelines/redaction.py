"""What secrets look like, and how they are taken out of text.

The formats are the ones that their issuers document. Every expression takes time linear in the
text: repeats are not nested, look-aheads are bounded, and a run of characters is tried once.
"""

import re
from dataclasses import dataclass

REDACTED = "[redacted]"

# Kind, words of which a text must hold one for the expression to be tried, expression. Finding that
# a word is missing is what most texts cost. In lower case where the expression ignores case.
_TABLE: tuple[tuple[str, str, str], ...] = (
    # Installation tokens of the new format are `ghs_`, the App's id and a JWT with its dots.
    ("GitHub token", "ghp_ gho_ ghu_ ghs_ ghr_", r"\bgh[opusr]_[A-Za-z0-9_.-]{16,}"),
    ("GitHub token", "github_pat_", r"\bgithub_pat_\w{20,}"),
    (
        "GitLab token",
        "glpat- glcbt- gldt- glft- glrt- glsoat-",
        r"\bgl(?:pat|cbt|dt|ft|rt|soat)-[\w.-]{20,}",
    ),
    ("AWS access key", "AKIA ASIA ABIA ACCA", r"\b(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}\b"),
    (
        "AWS secret key",
        "aws",
        r"(?i)\baws_?(?:secret_?)?(?:access_?)?key[\"']?\s*[:=]\s*[\"']?"
        r"(?P<secret>[a-z0-9/+]{40})(?![a-z0-9/+])",
    ),
    ("Google API key", "AIza", r"\bAIza[\w-]{35}"),
    ("Google OAuth secret", "GOCSPX-", r"\bGOCSPX-[\w-]{20,}"),
    ("Google access token", "ya29.", r"\bya29\.[\w-]{20,}"),
    ("Azure storage key", "accountkey=", r"(?i)\bAccountKey=(?P<secret>[a-z0-9+/]{40,}={0,2})"),
    ("Slack token", "xox", r"\bxox[abeoprs]-[A-Za-z0-9-]{10,}"),
    ("Slack token", "xapp-", r"\bxapp-[A-Za-z0-9-]{10,}"),
    (
        "Slack webhook",
        "hooks.slack",
        r"https://hooks\.slack(?:-gov)?\.com/(?P<secret>(?:services|workflows|triggers)/[\w/-]{8,})",
    ),
    (
        "Discord webhook",
        "discord",
        r"https://(?:\w+\.)?discord(?:app)?\.com/api/webhooks/(?P<secret>\d+/[\w-]{8,})",
    ),
    ("Telegram token", ":AA", r"\b\d{8,10}:AA[\w-]{33}"),
    ("Anthropic key", "sk-ant-", r"\bsk-ant-[\w-]{16,}"),
    ("OpenAI key", "sk-", r"\bsk-(?=[\w-]{0,60}\d)[\w-]{20,}"),
    ("Hugging Face token", "hf_", r"\bhf_[A-Za-z0-9]{30,}"),
    (
        "Stripe key",
        "sk_live_ sk_test_ rk_live_ rk_test_",
        r"\b[rs]k_(?:live|test)_[A-Za-z0-9]{16,}",
    ),
    ("Stripe webhook secret", "whsec_", r"\bwhsec_[A-Za-z0-9+/]{24,}"),
    ("npm token", "npm_", r"\bnpm_[A-Za-z0-9]{30,}"),
    ("npm token", "_auth", r"(?i)\b_auth(?:Token)?\s*=\s*(?P<secret>[a-z0-9+/_=-]{16,})"),
    ("PyPI token", "pypi-AgE", r"\bpypi-AgE[\w-]{40,}"),
    ("RubyGems key", "rubygems_", r"\brubygems_[a-f0-9]{48}"),
    ("Docker token", "dckr_", r"\bdckr_[a-z]+_[\w-]{20,}"),
    ("SendGrid key", "SG.", r"\bSG\.[\w-]{16,}\.[\w-]{16,}"),
    ("Twilio key", "SK", r"\bSK[a-f0-9]{32}\b"),
    ("Mailgun key", "key-", r"\bkey-[a-f0-9]{32}\b"),
    ("DigitalOcean token", "_v1_", r"\bdo[opr]_v1_[a-f0-9]{64}"),
    ("Heroku key", "HRKU-", r"\bHRKU-[\w-]{30,}"),
    ("Databricks token", "dapi", r"\bdapi[a-f0-9]{32}\b"),
    (
        "HashiCorp token",
        "hvs. hvb. hvr. .atlasv1.",
        r"\b(?:hv[sbr]\.[\w-]{20,}|[A-Za-z0-9]{14}\.atlasv1\.[\w-]{40,})",
    ),
    ("Linear key", "lin_api_ lin_oauth_", r"\blin_(?:api|oauth)_[A-Za-z0-9]{30,}"),
    ("Shopify token", "shpat_ shpca_ shppa_ shpss_", r"\bshp(?:at|ca|pa|ss)_[a-fA-F0-9]{32}"),
    ("Grafana token", "glsa_ glc_", r"\bgl(?:sa|c)_[\w+/=]{30,}"),
    ("Doppler token", "dp.", r"\bdp\.(?:pt|st|sa|ct)\.[\w.-]{30,}"),
    ("age key", "AGE-SECRET-KEY-", r"\bAGE-SECRET-KEY-1[A-Z0-9]{50,}"),
    (
        "private key",
        "-----BEGIN",
        r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----"
        r"(?P<secret>(?:(?!-----BEGIN)[\s\S]){0,10000}?)"
        r"-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----",
    ),
    (
        "private key",
        "-----BEGIN",
        r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----"
        r"(?P<secret>(?:[\s\"',\\]*+[A-Za-z0-9+/=]{40,}+)++)",
    ),
    (
        "authorization header",
        "authorization",
        r"(?i)\bauthorization[\"']?\s*[:=]\s*[\"']?(?:bearer|basic|token|bot)\s+"
        r"(?P<secret>[^\s\"',;${}<>]{8,})",
    ),
    ("bearer token", "bearer", r"(?i)\bbearer\s+(?P<secret>(?=[\w.~+/-]{0,60}\d)[\w.~+/-]{16,}=*)"),
    ("JSON web token", "eyJ", r"(?<![\w-])eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*"),
    (
        "password in a URL",
        "://",
        r"(?i)\b[a-z][a-z0-9+.-]{1,20}://[^\s:/@\"'<>]{0,100}:"
        r"(?P<secret>[^\s/@\"'${}<>*]{3,200})@",
    ),
)

_IGNORES_CASE = "(?i)"


@dataclass(frozen=True, slots=True)
class _Pattern:
    kind: str
    expression: re.Pattern[str]


def _by_word(*, folded: bool) -> tuple[tuple[str, _Pattern], ...]:
    """Each word with the pattern that it announces, of those that ignore case or of the others."""
    return tuple(
        (word, _Pattern(kind, re.compile(expression)))
        for kind, words, expression in _TABLE
        if expression.startswith(_IGNORES_CASE) is folded
        for word in words.split()
    )


_EXACT = _by_word(folded=False)
_FOLDED = _by_word(folded=True)


@dataclass(frozen=True, slots=True)
class Secret:
    """Where something that looks like a secret stands in a text, and of which kind it is."""

    kind: str
    start: int
    end: int


def find_secrets(text: str) -> list[Secret]:
    """Return what looks like a secret, in order, overlapping places merged into the first."""
    lowered = text.lower()
    possible = [pattern for word, pattern in _EXACT if word in text]
    possible += [pattern for word, pattern in _FOLDED if word in lowered]
    found = sorted(
        (
            _span(pattern.kind, match)
            for pattern in dict.fromkeys(possible)
            for match in pattern.expression.finditer(text)
        ),
        key=lambda secret: (secret.start, -secret.end),
    )
    merged: list[Secret] = []
    for secret in found:
        if merged and secret.start < merged[-1].end:
            last = merged[-1]
            merged[-1] = Secret(last.kind, last.start, max(last.end, secret.end))
        elif secret.end > secret.start:
            merged.append(secret)
    return merged


def redact(text: str) -> tuple[str, int]:
    """Return the text without its secrets, and how many there were; it keeps its lines."""
    secrets = find_secrets(text)
    parts: list[str] = []
    position = 0
    for secret in secrets:
        hidden = text[secret.start : secret.end]
        parts += [text[position : secret.start], REDACTED, "\n" * hidden.count("\n")]
        position = secret.end
    return "".join([*parts, text[position:]]), len(secrets)


def _span(kind: str, match: re.Match[str]) -> Secret:
    group = "secret" if "secret" in match.re.groupindex else 0
    return Secret(kind, match.start(group), match.end(group))
