"""Turns what targets and services say into lines that fit where they go."""

from pipelines.agents.fence import one_line

MAX_DESCRIPTION = 140
"""GitHub's limit on the description of a deployment status."""


def line(text: str, limit: int = 300) -> str:
    """Return somebody's text as one line without what is hidden or secret, cut with an ellipsis."""
    return one_line(text, limit)


def web_address(url: str | None) -> str | None:
    """Return the address if a browser may be sent there."""
    return url if url is not None and url.startswith(("https://", "http://")) else None


def span(seconds: float) -> str:
    """Return a length of time for people, e.g. ``45 s`` or ``10 min``."""
    return f"{seconds / 60:.0f} min" if seconds >= 120 else f"{seconds:.0f} s"
