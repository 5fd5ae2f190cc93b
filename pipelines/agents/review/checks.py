"""What is found without a model: hidden characters and secrets in added lines."""

from collections.abc import Iterable, Iterator, Sequence
from typing import TypedDict

from pipelines.agents.hidden import describe
from pipelines.agents.review.identity import Anchor, fingerprint
from pipelines.agents.review.view import FileView, excerpt
from pipelines.model import Finding, Severity
from pipelines.paths import BIDI_CONTROLS

HIDDEN = "hidden-characters"
SECRET = "secret"  # noqa: S105 - the name of a category
_WEAK = "password in a URL"
"""Often an example or a local database, so not as bad as a key that names its issuer."""
_DECEIVING = frozenset(describe(character) for character in BIDI_CONTROLS)


class _Place(TypedDict):
    fingerprint: str
    path: str
    start_line: int
    line: int
    severity: Severity
    category: str
    quote: str
    anchor: str
    in_diff: bool


def deterministic_findings(views: Iterable[FileView]) -> tuple[Finding, ...]:
    """Return a finding for each added line that hides something or gives a secret away."""
    return tuple(finding for view in views for finding in _findings(view))


def _findings(view: FileView) -> Iterator[Finding]:
    for line in sorted(view.added):
        if kind := view.secrets.get(line):
            yield _secret(view, line, kind)
        if names := view.hidden.get(line):
            yield _concealment(view, line, names)


def _secret(view: FileView, line: int, kind: str) -> Finding:
    return Finding(
        **_place(view, line, SECRET, Severity.MEDIUM if kind == _WEAK else Severity.HIGH),
        title=f"This line adds what looks like a secret ({kind})",
        explanation="Whoever can read the repository can use it, also after it is removed again. "
        "Revoke it where it was issued and read it from the environment instead.",
    )


def _concealment(view: FileView, line: int, names: Sequence[str]) -> Finding:
    deceives = bool(_DECEIVING.intersection(names)) or any(" TAG " in name for name in names)
    return Finding(
        **_place(view, line, HIDDEN, Severity.HIGH if deceives else Severity.MEDIUM),
        title="This line adds characters that cannot be seen",
        explanation=f"It holds {', '.join(names[:5])}. A compiler or a model may read it "
        "differently from how it looks. Remove them, or write them as escapes if they are needed.",
    )


def _place(view: FileView, line: int, category: str, severity: Severity) -> _Place:
    shown = view.right[line]
    return _Place(
        fingerprint=fingerprint(view.path, view.symbol("RIGHT", line), category, [shown]),
        path=view.path,
        start_line=line,
        line=line,
        severity=severity,
        category=category,
        quote=excerpt([shown]),
        # Without the code around it: no guard makes it harmless, so only its removal mends it.
        anchor=str(Anchor.of(severity, [shown])),
        in_diff=view.places.allows("RIGHT", line, line),
    )
