"""The code around a finding, by which a guard that was put there is told from a forgetful model."""

from bisect import bisect_left

from pipelines.agents.review.identity import Anchor, digests, scope_digest
from pipelines.agents.review.view import FileView

_WINDOW = 3
"""Lines with text above and below code that is in no definition."""


def surroundings(view: FileView, start: int, anchor: Anchor) -> str:
    """Return the digest of the definition around the code that starts on a line of the new file.

    Code outside any definition has a few lines around it instead. Empty where the text is not known
    or not understood, because then nothing can be said about it later.
    """
    if view.raw is None or view.scopes.broken:
        return ""
    scope = view.scopes.around(start)
    if scope:
        return view.digest_of(scope)
    first = bisect_left(view.filled, start)
    near = view.filled[max(0, first - _WINDOW) : first + len(anchor.lines) + _WINDOW]
    return scope_digest(view.right[number] for number in near)


def is_reworked(view: FileView, anchor: Anchor) -> bool:
    """Whether code that still stands in a file stands nowhere in what it stood in."""
    places = anchor.places_in(digests(view.right.values()))
    now = {surroundings(view, view.filled[place], anchor) for place in places}
    return bool(now) and "" not in now and bool(anchor.scope) and anchor.scope not in now
