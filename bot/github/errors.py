"""GitHub's answers, sorted by what the caller must do: pure functions of status, headers, body.

The rules for limits are https://docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, Literal
from urllib.parse import urlsplit

from bot.github.answer import Answer, as_list, as_object
from pipelines.errors import Ambiguous, ConductorError, Dropped, Ignorable, Retryable

DEFAULT_WAIT = 60.0
"""Seconds to wait when GitHub refuses for a limit and does not say how long."""
LONGEST_WAIT = 24 * 3600.0
PRIMARY_WINDOW = 3600.0
TOLERATED_SKEW = 50.0

_LIMIT_WORDS = re.compile(
    r"rate limit|abuse|too many requests|too quickly|slow down|temporarily blocked|"
    r"wait a few minutes|try again later",
    re.IGNORECASE,
)


class NotFound(Ignorable):
    """It is gone, was never there, or the App may not see it; GitHub does not say which."""


class Forbidden(Dropped):
    """The App's permissions do not suffice; ``needed`` is GitHub's own list, if it gave one."""

    def __init__(self, message: str, *, needed: str = "") -> None:
        super().__init__(message)
        self.needed = needed


class Invalid(ConductorError):
    """GitHub understood the request and refuses its content; ``errors`` are its reasons."""

    def __init__(self, message: str, *, errors: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.errors = errors


class Stale(Invalid):
    """The branch points to another commit than the one expected; nothing was changed."""


class BadCredentials(ConductorError):
    """GitHub refuses the credentials, also fresh ones."""


class ClockSkew(BadCredentials):
    """The local clock is too far from GitHub's; ``seconds`` is positive when it is ahead."""

    def __init__(self, seconds: float) -> None:
        word = "ahead of" if seconds > 0 else "behind"
        super().__init__(
            f"This machine's clock is {abs(seconds):.0f} s {word} GitHub's, so GitHub refuses the "
            "App's tokens; set the clock (for example with NTP)."
        )
        self.seconds = seconds


class BadAnswer(Retryable):
    """GitHub answered something that is not an answer to the question."""

    def __init__(self, message: str) -> None:
        super().__init__(message, dependency="github")


class ForeignAddress(ConductorError):
    """A URL leads away from the configured API; nothing was sent there."""

    def __init__(self, url: str) -> None:
        try:
            host = urlsplit(url).hostname or "?"
        except ValueError:
            host = "?"
        super().__init__(
            f"Refused to send a request to {host[:80]!r}: it is not the configured GitHub API."
        )
        self.host = host


@dataclass(frozen=True, slots=True)
class Limit:
    """A refusal for a rate limit; ``wait`` in seconds is None when GitHub did not say."""

    kind: Literal["primary", "secondary"]
    wait: float | None


def payload(answer: Answer) -> Any:
    """Return the JSON of an answer, or None if it holds none."""
    try:
        return json.loads(answer.body.decode("utf-8"))
    except (ValueError, RecursionError):
        return None


def message_of(answer: Answer) -> str:
    """Return GitHub's own explanation in one short line."""
    text = as_object(payload(answer)).get("message")
    return " ".join(text.split())[:200] if isinstance(text, str) and text.strip() else "no reason"


def reasons_of(answer: Answer) -> tuple[str, ...]:
    """Return the entries of ``errors``, which GitHub sends as objects, strings or one string."""
    errors = as_object(payload(answer)).get("errors")
    items = as_list(errors) or ([errors] if errors else [])
    return tuple(_reason(item) for item in items[:20])


def _reason(item: Any) -> str:
    known = [as_object(item).get(key) for key in ("resource", "field", "code", "message")]
    return " ".join(str(part) for part in known if part)[:300] or str(item)[:300]


def retry_after(headers: Mapping[str, str], now: datetime) -> float | None:
    """Return ``Retry-After`` in seconds, or None when it is absent, unreadable or not positive."""
    value = headers.get("retry-after", "").strip()
    if value.isascii() and value.isdigit():
        seconds = float(value[:9])
    else:
        try:
            seconds = (parsedate_to_datetime(value) - now).total_seconds()
        except (ValueError, TypeError, OverflowError):
            return None
    return min(seconds, LONGEST_WAIT) if seconds > 0 else None


def reset_wait(headers: Mapping[str, str], now: datetime) -> float | None:
    """Return the seconds until ``x-ratelimit-reset``; None if unreadable or in the past."""
    value = headers.get("x-ratelimit-reset", "")
    if not (value.isascii() and value.isdigit() and len(value) < 13):
        return None
    wait = int(value) - now.timestamp()
    return min(wait + 1.0, PRIMARY_WINDOW + 60.0) if wait > 0 else None


def limit_of(answer: Answer, now: datetime) -> Limit | None:
    """Return the limit that a 403 or 429 speaks of, or None if it is about something else."""
    if answer.status not in (403, 429):
        return None
    asked = retry_after(answer.headers, now)
    if answer.headers.get("x-ratelimit-remaining", "").strip() == "0":
        waits = [wait for wait in (asked, reset_wait(answer.headers, now)) if wait is not None]
        return Limit("primary", max(waits, default=None))
    where = str(as_object(payload(answer)).get("documentation_url", ""))
    spoken = _LIMIT_WORDS.search(message_of(answer)) or "rate-limit" in where or "abuse" in where
    if answer.status == 429 or asked is not None or spoken:
        return Limit("secondary", asked)
    return None


def skew_of(headers: Mapping[str, str], now: datetime) -> float | None:
    """Return how many seconds our clock is ahead of the answer's ``Date``."""
    try:
        return (now - parsedate_to_datetime(headers.get("date", ""))).total_seconds()
    except (ValueError, TypeError):
        return None


def error_of(
    answer: Answer, *, method: str, route: str, writes: bool, now: datetime
) -> ConductorError | None:
    """Return the exception for an answer, or None for a usable one; limits are judged before."""
    where = f"{method} {route}"
    creates = writes and method == "POST"
    if 200 <= answer.status < 300:
        return None if _readable(answer) else _unreadable(where, creates=creates)
    if answer.status >= 500:
        text = f"GitHub is in trouble: {answer.status} for {where}."
        kind = Ambiguous if creates else Retryable
        return kind(text, retry_after=retry_after(answer.headers, now), dependency="github")
    if answer.status < 400:
        return BadAnswer(f"GitHub answered {answer.status} to {where}, which was not asked for.")
    return _refusal(answer, where, now)


def _refusal(answer: Answer, where: str, now: datetime) -> ConductorError:
    said = message_of(answer)
    match answer.status:
        case 401:
            skew = skew_of(answer.headers, now)
            if skew is not None and abs(skew) > TOLERATED_SKEW:
                return ClockSkew(skew)
            return BadCredentials(f"GitHub refuses the App's credentials for {where}: {said}.")
        case 403:
            return _forbidden(answer, where, said)
        case 404 | 410 | 451:
            return NotFound(f"GitHub has no such thing for {where}: {said}.")
        case 409:
            return Retryable(f"GitHub reports a conflict for {where}: {said}.")
        case status:
            return Invalid(
                f"GitHub refuses {where} with {status}: {said}.", errors=reasons_of(answer)
            )


def _readable(answer: Answer) -> bool:
    if answer.status == 204 or not answer.body:
        return answer.status in (202, 204)
    return "json" in answer.headers.get("content-type", "") and payload(answer) is not None


def _unreadable(where: str, *, creates: bool) -> ConductorError:
    if creates:
        return Ambiguous(
            f"GitHub accepted {where} but its answer cannot be read.", dependency="github"
        )
    return BadAnswer(f"GitHub's answer to {where} is not JSON.")


def _forbidden(answer: Answer, where: str, said: str) -> ConductorError:
    if "suspended" in said.lower():
        return Dropped(f"The installation is suspended: {said}.")
    needed = answer.headers.get("x-accepted-github-permissions", "")[:200]
    hint = f"; it needs {needed}" if needed else ""
    return Forbidden(f"The App may not do {where}: {said}{hint}.", needed=needed)


def _graphql_errors(response: Any) -> tuple[set[str], str]:
    items = [as_object(item) for item in as_list(as_object(response).get("errors"))]
    said = "; ".join(" ".join(str(item.get("message", "")).split())[:200] for item in items[:3])
    return {str(item.get("type", "")) for item in items}, said


def graphql_limited(response: Any) -> bool:
    """Whether a 200 GraphQL answer refuses for a rate limit."""
    kinds, said = _graphql_errors(response)
    return "RATE_LIMITED" in kinds or bool(said and _LIMIT_WORDS.search(said))


def graphql_error(response: Any, *, writes: bool) -> ConductorError:
    """Return the exception for the ``errors`` of a 200 GraphQL answer."""
    kinds, said = _graphql_errors(response)
    if "NOT_FOUND" in kinds:
        return NotFound(f"GitHub has no such thing: {said}.")
    if kinds & {"FORBIDDEN", "INSUFFICIENT_SCOPES"}:
        return Forbidden(f"The App may not ask that of GitHub: {said}.")
    if "STALE_DATA" in kinds:
        return Stale(f"The branch has moved: {said}.")
    if kinds & {"UNPROCESSABLE", "undefinedField", "argumentLiteralsIncompatible"}:
        return Invalid(f"GitHub refuses the GraphQL request: {said}.")
    if writes:
        return Ambiguous(f"GitHub may have carried out a mutation: {said}.", dependency="github")
    return BadAnswer(f"GitHub could not answer the GraphQL query: {said or 'no reason'}.")


def until(now: datetime, wait: float) -> datetime:
    """Return the moment ``wait`` seconds from now."""
    return now + timedelta(seconds=wait)
