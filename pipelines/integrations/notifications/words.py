"""Notifications as text that is safe to leave."""

from pipelines.model import Notify
from pipelines.redaction import redact


def plain(text: str, limit: int) -> str:
    """Return text without secrets and control characters; longer text ends with an ellipsis."""
    clean = "".join(c for c in redact(text)[0] if c.isprintable() or c == "\n")
    return clean if len(clean) <= limit else clean[: limit - 1] + "…"


def link(notification: Notify) -> str:
    """Return its address if a browser may be sent there, else an empty text."""
    url = notification.url or ""
    fine = url.startswith(("https://", "http://")) and url.isascii() and url.isprintable()
    return "" if not fine or any(c in url for c in '<>|" \\') else url
