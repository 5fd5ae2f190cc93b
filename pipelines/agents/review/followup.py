"""Compares what is found now with what earlier reviews of the same pull request posted."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from pipelines.agents.review.identity import Anchor, digests
from pipelines.agents.review.surroundings import is_reworked
from pipelines.agents.review.view import FileView
from pipelines.model import Finding, PriorFinding, Severity


@dataclass(frozen=True)
class Snapshot:
    """The files that matter as they are now, in lines that may be shown, by path."""

    files: Mapping[str, Sequence[str] | None]
    """At head; None for a file that is gone. One that could not be read is not in it."""
    removed: Mapping[str, Sequence[str]]
    """The lines that the diff takes out of each file."""
    unexamined: frozenset[str]
    """Changed files that this review did not look at whole, and so may have forgotten."""
    examined: Mapping[str, FileView] = field(default_factory=dict[str, FileView])
    """Changed files that the model was shown whole, and all of whose findings are known."""

    @cached_property
    def _now(self) -> dict[str, tuple[str, ...]]:
        return {path: digests(lines) for path, lines in self.files.items() if lines is not None}

    def stands(self, path: str, anchor: Anchor) -> bool:
        """Whether the code that a finding hangs on is still there, perhaps in another file."""
        if anchor.side == "LEFT":
            return bool(set(digests(self.removed.get(path, ()))).intersection(anchor.lines))
        if path not in self.files:
            return True
        if path in self._now:
            return anchor.stands_in(self._now[path])
        return any(anchor.stands_in(lines) for lines in self._now.values())

    def reworked(self, path: str, anchor: Anchor) -> bool:
        """Whether the definition around code that still stands was changed and examined again."""
        return path in self.examined and is_reworked(self.examined[path], anchor)


@dataclass(frozen=True, slots=True)
class Followup:
    """What this review has to say about each finding, old and new."""

    new: tuple[Finding, ...]
    repeated: tuple[Finding, ...]
    """Found again, and already open on GitHub: nothing is posted for them."""
    remaining: tuple[PriorFinding, ...]
    """Open and not found again, but nothing shows that they were mended."""
    fixed: tuple[PriorFinding, ...]
    dismissed: int
    """How many were found again although a person had resolved them."""

    @property
    def open_severities(self) -> list[Severity]:
        """The severities of everything that is open now."""
        priors = (Anchor.parse(prior.anchor).severity for prior in self.remaining)
        found = [finding.severity for finding in (*self.new, *self.repeated)]
        return found + [severity for severity in priors if severity]


def follow_up(
    findings: Sequence[Finding], priors: Sequence[PriorFinding], snapshot: Snapshot
) -> Followup:
    """Match each finding with at most one prior; decide what became of the other priors."""
    live = [prior for prior in priors if not prior.answered]
    matches = _match(findings, live)
    new = tuple(finding for finding in findings if finding.fingerprint not in matches)
    repeated: list[Finding] = []
    for finding in findings:
        prior = matches.get(finding.fingerprint)
        if prior and not prior.resolved:
            repeated.append(_as_posted(finding, prior))
    taken = {prior.thread_id for prior in matches.values()}
    left = [prior for prior in live if not prior.resolved and prior.thread_id not in taken]
    gone = [prior for prior in left if _is_fixed(prior, findings, snapshot)]
    return Followup(
        new=new,
        repeated=tuple(repeated),
        remaining=tuple(prior for prior in left if prior not in gone),
        # A finding outside the diff has no thread to answer in; it is simply no longer there.
        fixed=tuple(prior for prior in gone if prior.comment_id),
        dismissed=sum(prior.resolved for prior in matches.values()),
    )


def _match(findings: Sequence[Finding], priors: Sequence[PriorFinding]) -> dict[str, PriorFinding]:
    """Pair by fingerprint first, then by file and resembling code; each of them once."""
    matches: dict[str, PriorFinding] = {}
    free = list(priors)
    tests: tuple[Callable[[Finding, PriorFinding], bool], ...] = (_is_same, _is_alike)
    for test in tests:
        for finding in findings:
            if finding.fingerprint in matches:
                continue
            prior = next((prior for prior in free if test(finding, prior)), None)
            if prior:
                matches[finding.fingerprint] = prior
                free.remove(prior)
    return matches


def _is_same(finding: Finding, prior: PriorFinding) -> bool:
    return finding.fingerprint == prior.fingerprint


def _is_alike(finding: Finding, prior: PriorFinding) -> bool:
    alike = Anchor.parse(finding.anchor).resembles(Anchor.parse(prior.anchor))
    return finding.path == prior.path and alike


def _as_posted(finding: Finding, prior: PriorFinding) -> Finding:
    """Keep the severity that people were shown, so that the same code is not judged anew."""
    severity = Anchor.parse(prior.anchor).severity or finding.severity
    changes = {"severity": severity, "fingerprint": prior.fingerprint}
    return finding.model_copy(update={**changes, "anchor": prior.anchor or finding.anchor})


def _is_fixed(prior: PriorFinding, findings: Sequence[Finding], snapshot: Snapshot) -> bool:
    """Whether its code is gone or was guarded, and not merely overlooked or forgotten."""
    anchor = Anchor.parse(prior.anchor)
    if not anchor.lines or prior.path in snapshot.unexamined:
        return False
    if not snapshot.stands(prior.path, anchor):
        return True
    again = any(_is_same(found, prior) or _is_alike(found, prior) for found in findings)
    return not again and snapshot.reworked(prior.path, anchor)
