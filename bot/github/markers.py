"""The hidden comments by which Conductor finds its own words again.

A marker counts only in a text that the App's own account wrote: anybody can type one. Those that
start work are signed as well, since others may edit the App's texts: each is bound to the
repository and to the issue or branch it stands in, so that a copy elsewhere is worth nothing. Their
content is in hexadecimal, in which nothing looks like a secret, a mention or a comment's end.
"""

import hmac
import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any
from urllib.parse import quote, unquote

from pydantic import AwareDatetime, Field, ValidationError

from pipelines.model import Breach, FailedFix, FeedbackPayload, Frozen, Provenance

MAX_MARKER = 40_000
"""Characters of a marker; GitHub takes 65,536 of a whole text."""
MAX_OCCASIONS = 50
"""How many of the newest occasions a marker remembers."""
MAX_FAILED = 5
"""How many of the newest fixes that did not help a marker remembers."""
_WORD = r"[A-Za-z0-9._:/+=@-]{1,200}"
_FINDING = re.compile(
    rf"<!-- conductor:finding ({_WORD})(?: ({_WORD}))?(?: in ([A-Za-z0-9._/%~-]{{1,1000}}))? -->"
)
_FIXED = re.compile(rf"<!-- conductor:fixed ({_WORD}) -->")
_KEY = re.compile(rf"<!-- conductor:key ({_WORD}) -->")
_UNSAFE = re.compile(r"[^A-Za-z0-9._:/+=@-]")
_MAX_CONTENT = 1024 * 1024
_SIGNED = re.compile(
    r"<!-- conductor:(feedback|provenance) v1 ([0-9a-f]{2,40000}) ([0-9a-f]{64}) -->"
)


@dataclass(frozen=True, slots=True)
class FindingMarker:
    """Identity of a finding as posted; ``anchor`` and ``path`` are empty if none was given."""

    fingerprint: str
    anchor: str = ""
    path: str = ""


def _word(text: str) -> str:
    """Return ``text`` fit for a marker: nothing in it can end the comment."""
    return _UNSAFE.sub("_", text)[:200] or "_"


def finding(fingerprint: str, anchor: str = "", path: str = "") -> str:
    """Return the marker of one finding; ``path`` where no thread tells it."""
    tail = f" {_word(anchor)}" if anchor else ""
    place = f" in {quote(path, safe='/')}" if path else ""
    return f"<!-- conductor:finding {_word(fingerprint)}{tail}{place} -->"


def fixed(fingerprint: str) -> str:
    """Return the marker of the answer that a finding is fixed."""
    return f"<!-- conductor:fixed {_word(fingerprint)} -->"


def key(effect_key: str) -> str:
    """Return the marker of one effect, by which a repeat finds it."""
    return f"<!-- conductor:key {_word(effect_key)} -->"


def find_findings(body: str) -> list[FindingMarker]:
    """Return the findings that a text carries, in order."""
    return [
        FindingMarker(match[1], match[2] or "", unquote(match[3] or ""))
        for match in _FINDING.finditer(body)
    ]


def has_fixed(body: str) -> bool:
    """Whether a comment is an answer that a finding is fixed."""
    return _FIXED.search(body) is not None


def has_key(body: str, effect_key: str) -> bool:
    """Whether a text was written by this very effect."""
    return _word(effect_key) in _KEY.findall(body)


class Feedback(Frozen):
    """What a feedback issue says in its marker: the one durable record of it."""

    payload: FeedbackPayload
    provenance: Provenance
    occurrences: int = Field(default=1, ge=1)
    occasions: tuple[str, ...] = Field(default=(), max_length=MAX_OCCASIONS)
    """Digests of what opened, counted or closed it lately, oldest first: each did so once."""
    closed: bool = False
    """Whether it was Conductor that closed it; what a person closed stays closed."""
    since: AwareDatetime | None = None
    """When it began, or began again: fixes from before that are of no account."""
    failed: tuple[FailedFix, ...] = Field(default=(), max_length=MAX_FAILED)
    """Fixes since then that did not help, the newest last."""
    asks: bool = False
    """Whether this very change of the issue asks for another fix."""
    given_up: bool = False
    """Whether the newest occasion found that people are needed."""

    def gave_up_at(self, occasion: str) -> bool:
        """Whether it was this occasion, and none since."""
        return self.given_up and self.occasions[-1:] == (_digest(occasion),)

    def had(self, occasion: str) -> bool:
        """Whether this occasion has changed the issue already."""
        return _digest(occasion) in self.occasions

    def after(self, occasion: str, **changes: Any) -> "Feedback":
        """Return what it says once the occasion has changed it."""
        occasions = (*self.occasions, _digest(occasion))[-MAX_OCCASIONS:]
        return self.model_copy(update={**changes, "occasions": occasions})


def feedback_marker(key: bytes, *, repository_id: int, number: int, feedback: Feedback) -> str:
    """Return the marker of the feedback issue ``number``.

    What is only for people to look at (points, queries, long lists) is left out as far as needed
    for it to fit.
    """
    subject = f"{repository_id}/{number}"
    marker = ""
    for payload in _lighter(feedback.payload):
        lighter: dict[str, object] = {"payload": payload}
        if payload is not feedback.payload:
            lighter["failed"] = tuple(_bare(each) for each in feedback.failed)
        content = feedback.model_copy(update=lighter).model_dump_json()
        marker = _signed(key, "feedback", subject, content)
        if len(marker) <= MAX_MARKER:
            break
    return marker


def read_feedback(
    keys: Sequence[bytes], *, repository_id: int, number: int, body: str
) -> Feedback | None:
    """Return what the first genuine marker of a feedback issue says; None if there is none."""
    content = _content(keys, "feedback", f"{repository_id}/{number}", body)
    try:
        return Feedback.model_validate_json(content) if content is not None else None
    except ValidationError:  # written by a version that knew other fields
        return None


def provenance_marker(
    key: bytes, *, repository_id: int, branch: str, provenance: Provenance
) -> str:
    """Return the marker of a pull request from ``branch``, a branch of that repository."""
    subject = f"{repository_id}/{branch}"
    return _signed(key, "provenance", subject, provenance.model_dump_json())


def read_provenance(
    keys: Sequence[bytes], *, repository_id: int, branch: str, body: str
) -> Provenance | None:
    """Return where a pull request of our own came from; None without a genuine marker."""
    content = _content(keys, "provenance", f"{repository_id}/{branch}", body)
    try:
        return Provenance.model_validate_json(content) if content is not None else None
    except ValidationError:
        return None


def without_own(keys: Sequence[bytes], *, repository_id: int, branch: str, body: str) -> str:
    """Return the body of a pull request of our own without the markers that we put there.

    Those are its name and what is signed for its branch; a comment that anybody else wrote, or
    changed, stays what it is.
    """
    subject = f"{repository_id}/{branch}"

    def left(match: re.Match[str]) -> str:
        return match[0] if _genuine(keys, "provenance", subject, match) is None else ""

    return _SIGNED.sub(left, body.replace(key(f"pull/{branch}"), "", 1)).rstrip()


def _digest(occasion: str) -> str:
    return sha256(occasion.encode()).hexdigest()[:16]


def _signed(key: bytes, kind: str, subject: str, content: str) -> str:
    packed = zlib.compress(content.encode(), 9)
    return f"<!-- conductor:{kind} v1 {packed.hex()} {_signature(key, kind, subject, packed)} -->"


def _content(keys: Sequence[bytes], kind: str, subject: str, body: str) -> bytes | None:
    for match in _SIGNED.finditer(body):
        packed = _genuine(keys, kind, subject, match)
        if packed is not None:
            return zlib.decompressobj().decompress(packed, _MAX_CONTENT)
    return None


def _genuine(keys: Sequence[bytes], kind: str, subject: str, match: re.Match[str]) -> bytes | None:
    """Return what a signed marker carries, None if it is not ours, or not of this subject."""
    if match[1] != kind or len(match[2]) % 2:
        return None
    packed = bytes.fromhex(match[2])
    # Every key is tried, so that the time says nothing about which one it was.
    genuine = [
        hmac.compare_digest(_signature(key, kind, subject, packed), match[3]) for key in keys
    ]
    return packed if any(genuine) else None


def _signature(key: bytes, kind: str, subject: str, packed: bytes) -> str:
    signed = b"\0".join((b"conductor", kind.encode(), b"v1", subject.encode(), packed))
    return hmac.new(key, signed, "sha256").hexdigest()


def _lighter(payload: FeedbackPayload) -> Iterator[FeedbackPayload]:
    """Yield the payload, then ever shorter ones; the last one always fits."""
    yield payload
    bare = tuple(breach.model_copy(update={"points": ()}) for breach in payload.breaches)
    yield payload.model_copy(update={"breaches": bare})
    yield _cut(payload, breaches=20, lines=20, length=300)
    yield _cut(payload, breaches=5, lines=3, length=150)


def _cut(payload: FeedbackPayload, *, breaches: int, lines: int, length: int) -> FeedbackPayload:
    def short(texts: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(text[:length] for text in texts[:lines])

    return payload.model_copy(
        update={
            "breaches": tuple(_without_detail(one) for one in payload.breaches[:breaches]),
            "findings": short(payload.findings),
            "recommendations": short(payload.recommendations),
            "suspected_paths": tuple(p for p in payload.suspected_paths[:lines] if len(p) <= 200),
        }
    )


def _bare(fix: FailedFix) -> FailedFix:
    return FailedFix(number=fix.number, title=fix.title[:100])


def _without_detail(breach: Breach) -> Breach:
    return breach.model_copy(update={"points": (), "query": "", "unit": breach.unit[:20]})
