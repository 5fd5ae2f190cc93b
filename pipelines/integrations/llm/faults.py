"""What a provider's refusal means for the caller."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import cast

from pipelines.errors import ConductorError, ModelRefused, ModelUnavailable, Retryable, UserError
from pipelines.integrations.llm.base import PromptTooLong
from pipelines.integrations.llm.untrusted import dig, text
from pipelines.ports import Clock

MAX_WAIT_SECONDS = 900.0
"""The longest wait that is believed; a provider that asks for days is as good as down."""

# Errors inside a stream come with status 200; their type says what the status would have been.
_STATUS_OF_TYPE = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "rate_limit_exceeded": 429,
    "insufficient_quota": 402,
    "api_error": 500,
    "server_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
}
_NO_MONEY = ("insufficient_quota", "credit balance", "spend_limit", "billing")
_TOO_LONG = (
    "prompt is too long",
    "context length",
    "context_length_exceeded",
    "context window",
    "context size",
    "exceed_context_size",
    "input is too long",
    "too many tokens",
)


@dataclass(frozen=True, slots=True)
class Provider:
    """How a provider is called in messages, and where its settings are."""

    name: str
    title: str
    key_variable: str
    url_variable: str


@dataclass(frozen=True, slots=True)
class Refusal:
    """An error answer, whether it came as a status or inside a stream."""

    status: int
    kind: str
    message: str
    retry_after: float | None = None


def refusal(
    status: int, body: object, headers: Mapping[str, str], clock: Clock, *, secret: str
) -> Refusal:
    """Read an error answer; ``body`` is whatever could be decoded of it, ``secret`` the key."""
    inner = dig(body, "error")
    error: object = cast("object", inner) if isinstance(inner, Mapping) else body
    code = text(dig(error, "code"))
    kind = text(dig(error, "type")) or code
    message = text(dig(error, "message")) or text(cast("object", inner)) or text(body)
    if status < 400:
        said = dig(error, "code")
        stated = said if isinstance(said, int) and 400 <= said < 600 else 500
        status = _STATUS_OF_TYPE.get(kind) or _STATUS_OF_TYPE.get(code) or stated
    return Refusal(
        status=status,
        kind=f"{kind} {code}".strip(),
        message=_clean(message, secret),
        retry_after=retry_after(headers, clock),
    )


def as_error(refused: Refusal, provider: Provider, model: str) -> ConductorError:
    """Return the exception that says what the caller must do about it."""
    said = f": {refused.message}" if refused.message else "."
    told = f"{refused.kind} {refused.message}".lower()
    if any(mark in told for mark in _TOO_LONG) or refused.status == 413:
        return PromptTooLong(f"The prompt is too long for {provider.name}:{model}{said}")
    if refused.status == 402 or any(mark in told for mark in _NO_MONEY):
        return ModelUnavailable(
            f"{provider.title} refuses calls until the account's billing is in order{said}"
        )
    if refused.status in (401, 403, 404):
        return ModelRefused(_what_to_mend(refused.status, provider, model))
    if refused.status in (408, 409, 425, 429) or refused.status >= 500:
        return Retryable(
            f"{provider.title} cannot answer now (HTTP {refused.status}){said}",
            retry_after=refused.retry_after,
            dependency=provider.name,
        )
    return UserError(f"{provider.title} refused the request (HTTP {refused.status}){said}")


def _what_to_mend(status: int, provider: Provider, model: str) -> str:
    if status == 401:
        return f"{provider.title} did not accept the API key: check {provider.key_variable}."
    if status == 403:
        return (
            f"The key in {provider.key_variable} may not use the model {model!r}: allow it in the "
            f"{provider.title} console or name another model in CONDUCTOR_MODELS."
        )
    return (
        f"{provider.title} has no model {model!r} at this address: check the name in "
        f"CONDUCTOR_MODELS or .conductor.yml, and {provider.url_variable} if you set it."
    )


def retry_after(headers: Mapping[str, str], clock: Clock) -> float | None:
    """Return the wait in seconds that a ``Retry-After`` asks for: 0 to 900, None if it is absurd.

    Seconds or an HTTP date (RFC 9110, section 10.2.3); negative, infinite or unreadable is None.
    """
    value = next((v for k, v in headers.items() if k.lower() == "retry-after"), "").strip()
    if not value:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            when = parsedate_to_datetime(value)
        except ValueError:
            return None
        when = when if when.tzinfo else when.replace(tzinfo=UTC)
        seconds = max(0.0, (when - clock.now()).total_seconds())
    if not math.isfinite(seconds) or seconds < 0:
        return None
    return min(seconds, MAX_WAIT_SECONDS)


def _clean(message: str, secret: str) -> str:
    """One printable line of at most 300 characters, without the key."""
    if secret:
        message = message.replace(secret, "[key]")
    line = " ".join(message.split())
    line = "".join(char for char in line if char.isprintable())
    return line if len(line) <= 300 else line[:299] + "…"
