"""Checks each proposed finding against the files; what cannot be shown is dropped and counted."""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from pipelines.agents.hidden import strip_hidden
from pipelines.agents.review.answer import ProposedFinding
from pipelines.agents.review.identity import Anchor, fingerprint
from pipelines.agents.review.surroundings import surroundings
from pipelines.agents.review.view import FileView, excerpt
from pipelines.agents.syntax import parses_as_python
from pipelines.diff import Side, apply_suggestion, split_lines
from pipelines.model import Finding, Severity
from pipelines.redaction import REDACTED, redact

MAX_FINDINGS = 50
_MAX_QUOTE_LINES = 40
_NEAR = 40
"""How far, in lines, a quote may stand from the line that was named."""
_MIN_PART = 4
"""Characters that a part of a line must have to say anything."""
_MAX_TITLE = 160
_MAX_EXPLANATION = 2_000
_MAX_SUGGESTION = 8_000


def verify(
    proposed: Iterable[ProposedFinding], views: Mapping[str, FileView]
) -> tuple[list[Finding], list[ProposedFinding]]:
    """Return the findings that quote a file of the change, and the proposals that do not."""
    pairs = [(proposal, _verified(proposal, views.get(proposal.path))) for proposal in proposed]
    findings = [finding for _, finding in pairs if finding]
    return findings, [proposal for proposal, finding in pairs if finding is None]


def condense(findings: Iterable[Finding]) -> tuple[tuple[Finding, ...], int]:
    """Return each finding once, worst first, at most 50, and how many are left out."""
    distinct: dict[str, Finding] = {}
    for finding in worst_first(findings):
        distinct.setdefault(finding.fingerprint, finding)
    kept = tuple(distinct.values())[:MAX_FINDINGS]
    return kept, len(distinct) - len(kept)


def worst_first(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Sort by severity, then by place."""
    return tuple(sorted(findings, key=lambda f: (-f.severity.rank, f.path, f.line, f.fingerprint)))


def _verified(proposal: ProposedFinding, view: FileView | None) -> Finding | None:
    if view is None or not proposal.title.strip():
        return None
    side: Side = "LEFT" if proposal.side == "old" else "RIGHT"
    shown = view.side(side)
    quoted = _lines_of(proposal.quote)
    start = _locate(quoted, proposal.line, shown)
    if start is None:
        return None
    end = start + len(quoted) - 1
    lines = [shown[n] for n in range(start, end + 1)]
    severity = Severity(proposal.severity)
    anchor = Anchor.of(severity, lines, side)
    if side == "RIGHT":
        anchor = replace(anchor, scope=surroundings(view, start, anchor))
    in_diff = view.places.allows(side, start, end)
    offered = in_diff and side == "RIGHT"
    return Finding(
        fingerprint=fingerprint(view.path, view.symbol(side, start), proposal.category, lines),
        path=view.path,
        start_line=start,
        line=end,
        side=side,
        severity=severity,
        category=proposal.category,
        title=_clean(" ".join(proposal.title.split()), _MAX_TITLE),
        explanation=_clean(proposal.explanation.strip(), _MAX_EXPLANATION),
        quote=excerpt(lines),
        suggestion=_suggestion(proposal, view, start, quoted) if offered else None,
        anchor=str(anchor),
        in_diff=in_diff,
    )


def _lines_of(quote: str) -> list[str]:
    """Return the quoted lines without empty ones around them; none if there are too many."""
    lines = [line.rstrip() for line in quote.split("\n")]
    while lines and not lines[0].strip():
        lines.pop(0)
    while lines and not lines[-1].strip():
        lines.pop()
    return lines if len(lines) <= _MAX_QUOTE_LINES else []


def _locate(quoted: list[str], line: int, shown: Mapping[int, str]) -> int | None:
    """Return where the quote starts: on the line named, or at the only place near it."""
    if not quoted:
        return None
    if _stands_at(quoted, line, shown):
        return line
    near = range(line - _NEAR, line + _NEAR + 1)
    places = [start for start in near if _stands_at(quoted, start, shown)]
    return places[0] if len(places) == 1 else None


def _stands_at(quoted: list[str], start: int, shown: Mapping[int, str]) -> bool:
    """Whether the lines from there on read as quoted; one alone may be a part of its line."""
    if len(quoted) == 1:
        part, whole = quoted[0].strip(), shown.get(start, "").strip()
        return part == whole or (len(part) >= _MIN_PART and part in whole)
    numbered = enumerate(quoted, start)
    return all(n in shown and shown[n].strip() == text.strip() for n, text in numbered)


def _suggestion(
    proposal: ProposedFinding, view: FileView, start: int, quoted: list[str]
) -> str | None:
    """Return the replacement of the quoted lines if it applies and improves on nothing broken."""
    # An empty one more often stands for "none" than for "delete these lines".
    if not (proposal.suggestion or "").strip() or view.raw is None:
        return None
    end = start + len(quoted) - 1
    current = [line.rstrip("\r\n") for line in split_lines(view.raw)[start - 1 : end]]
    whole = [line.strip() for line in current] == [line.strip() for line in quoted]
    if not whole:
        # Either a part of a line was quoted, or the text holds something that may not be shown.
        return None
    text = _indented(proposal.suggestion or "", quoted[0], current[0])
    if _unfit(text) or text.rstrip("\n") == "\n".join(current):
        return None
    changed = apply_suggestion(view.raw, start, end, text)
    if changed == view.raw or (_parses(view.path, view.raw) and not _parses(view.path, changed)):
        return None
    return text.removesuffix("\n")


def _unfit(text: str) -> bool:
    """Whether it is too long, or holds hidden characters, a secret or the place of one."""
    too_long = len(text) > _MAX_SUGGESTION
    return too_long or bool(strip_hidden(text)[1] or redact(text)[1]) or REDACTED in text


def _indented(suggestion: str, quoted: str, current: str) -> str:
    """Give the suggestion the indentation that the quote left out."""
    missing = _indent(current).removesuffix(_indent(quoted)) if quoted else ""
    if not missing or _indent(suggestion).startswith(_indent(current)):
        return suggestion
    lines = suggestion.split("\n")
    return "\n".join(missing + line if line.strip() else line for line in lines)


def _indent(text: str) -> str:
    return text[: len(text) - len(text.lstrip())]


def _parses(path: str, text: str) -> bool:
    """Whether it is Python that parses; other languages are not judged."""
    return path.endswith((".py", ".pyi")) and parses_as_python(text)


def _clean(text: str, limit: int) -> str:
    cleaned = redact(strip_hidden(text)[0])[0]
    return cleaned if len(cleaned) <= limit else cleaned[: limit - 1] + "…"
