"""Markers that start work, signed: whoever edits the App's issue cannot make one up.

Each is bound to the repository and to the issue or branch that it stands in, so that a copy of it
elsewhere is worth nothing. The content is written in hexadecimal, in which nothing looks like a
secret, a mention or the end of a comment.
"""

import hmac
import re
import zlib
from collections.abc import Iterator, Sequence

from pydantic import Field, ValidationError

from pipelines.model import Breach, FeedbackPayload, Frozen, Provenance

MAX_MARKER = 40_000
"""Characters of a marker; GitHub takes 65,536 of a whole text."""
MAX_OCCASIONS = 50
"""How many of the newest occasions a marker remembers."""
_MAX_CONTENT = 1024 * 1024
_MARKER = re.compile(
    r"<!-- conductor:(feedback|provenance) v1 ([0-9a-f]{2,40000}) ([0-9a-f]{64}) -->"
)


class Feedback(Frozen):
    """What a feedback issue says in its marker: the one durable record of it."""

    payload: FeedbackPayload
    provenance: Provenance
    occurrences: int = Field(default=1, ge=1)
    occasions: tuple[str, ...] = Field(default=(), max_length=MAX_OCCASIONS)
    """Digests of the newest occasions, oldest first: each was counted once."""
    closed_for: str = ""
    """The key of the effect that closed the issue; empty while nothing did."""


def feedback_marker(key: bytes, *, repository_id: int, number: int, feedback: Feedback) -> str:
    """Return the marker of the feedback issue ``number``.

    What is only for people to look at (points, queries, long lists) is left out as far as needed
    for it to fit.
    """
    subject = f"{repository_id}/{number}"
    marker = ""
    for payload in _lighter(feedback.payload):
        content = feedback.model_copy(update={"payload": payload}).model_dump_json()
        marker = _marker(key, "feedback", subject, content)
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
    return _marker(key, "provenance", subject, provenance.model_dump_json())


def read_provenance(
    keys: Sequence[bytes], *, repository_id: int, branch: str, body: str
) -> Provenance | None:
    """Return where a pull request of our own came from; None without a genuine marker."""
    content = _content(keys, "provenance", f"{repository_id}/{branch}", body)
    try:
        return Provenance.model_validate_json(content) if content is not None else None
    except ValidationError:
        return None


def _marker(key: bytes, kind: str, subject: str, content: str) -> str:
    packed = zlib.compress(content.encode(), 9)
    return f"<!-- conductor:{kind} v1 {packed.hex()} {_signature(key, kind, subject, packed)} -->"


def _content(keys: Sequence[bytes], kind: str, subject: str, body: str) -> bytes | None:
    for match in _MARKER.finditer(body):
        if match[1] != kind or len(match[2]) % 2:
            continue
        packed = bytes.fromhex(match[2])
        # Every key is tried, so that the time says nothing about which one it was.
        genuine = [
            hmac.compare_digest(_signature(key, kind, subject, packed), match[3]) for key in keys
        ]
        if any(genuine):
            return zlib.decompressobj().decompress(packed, _MAX_CONTENT)
    return None


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


def _without_detail(breach: Breach) -> Breach:
    return breach.model_copy(update={"points": (), "query": "", "unit": breach.unit[:20]})
