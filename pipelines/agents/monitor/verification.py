"""Whether the open issues of an environment are still there, are fixed, or cannot be told."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from pipelines.agents.monitor.detection import Bounds, near, steady
from pipelines.agents.monitor.watch import Track, Watch
from pipelines.agents.monitor.words import amount, span_of
from pipelines.model import Breach, OpenFeedback


@dataclass(frozen=True, slots=True)
class Fixed:
    """An issue whose every signal is back; ``evidence`` says so in numbers."""

    issue: OpenFeedback
    evidence: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Findings:
    """What one watch says: breaches by fingerprint, issues that are fixed, and notes on others."""

    breaches: Mapping[str, tuple[Breach, ...]]
    """The first is the one to send back to development."""
    known: Mapping[str, OpenFeedback]
    """The open issue of a fingerprint, if it has one."""
    fixed: tuple[Fixed, ...] = ()
    notes: tuple[str, ...] = ()


def fingerprint(repository_id: int, environment: str, rules: Iterable[str]) -> str:
    """Return what stays the same however often, and with whatever values, the same rules break."""
    named = json.dumps([repository_id, environment, sorted(set(rules))], ensure_ascii=True)
    return hashlib.sha256(named.encode()).hexdigest()[:32]


def judge(
    watch: Watch, issues: Sequence[OpenFeedback], *, repository_id: int, whole: bool
) -> Findings:
    """Compare what was seen with what is open; ``whole`` if the span was watched to its end."""
    environment = watch.subject.environment
    mine = [issue for issue in issues if issue.payload.environment == environment]
    confirmed = {breach.rule: breach for breach in watch.breaches()}
    for recorded in (breach for issue in mine for breach in issue.payload.breaches):
        again = _again(watch, recorded)
        if again is not None:
            confirmed.setdefault(again.rule, again)
    groups, known = _grouped(confirmed, mine, repository_id, environment)
    fixed: list[Fixed] = []
    notes: list[str] = []
    for issue in mine:
        if issue.payload.fingerprint in groups:
            continue
        verdict = _verdict(watch, issue, whole=whole)
        if isinstance(verdict, Fixed):
            fixed.append(verdict)
        else:
            notes.append(f"Issue #{issue.number} stays open: {verdict}.")
    return Findings(groups, known, tuple(fixed), tuple(notes))


def _again(watch: Watch, recorded: Breach) -> Breach | None:
    """Return the breach of an open issue if the signal is still beyond the bounds it broke then.

    What was usual when the issue was opened counts: the window before this deployment is the one
    in which the service was broken.
    """
    track = watch.tracks.get(recorded.rule)
    if track is None:
        return None
    breach = watch.breach(track, _recorded_bounds(recorded, track))
    return breach and breach.model_copy(update={"baseline": recorded.baseline})


def _recorded_bounds(recorded: Breach, track: Track) -> Bounds:
    """Return the bounds of a rule as it is written now, or those that were recorded."""
    if track.what.bounds.any:
        return track.what.bounds
    return Bounds(above=recorded.above, below=recorded.below)


def _grouped(
    confirmed: Mapping[str, Breach],
    issues: Sequence[OpenFeedback],
    repository_id: int,
    environment: str,
) -> tuple[dict[str, tuple[Breach, ...]], dict[str, OpenFeedback]]:
    """Give each breach to the open issue that knows its rule, so that no second one is opened."""
    left = dict(confirmed)
    groups: dict[str, tuple[Breach, ...]] = {}
    known: dict[str, OpenFeedback] = {}
    for issue in sorted(issues, key=lambda issue: issue.number):
        rules = {breach.rule for breach in issue.payload.breaches}
        own = tuple(left.pop(rule) for rule in list(left) if rule in rules)
        if own:
            groups[issue.payload.fingerprint] = own
            known[issue.payload.fingerprint] = issue
    if left and groups:
        first = next(iter(groups))
        groups[first] += tuple(left.values())
    elif left:
        groups[fingerprint(repository_id, environment, left)] = tuple(left.values())
    return groups, known


def _verdict(watch: Watch, issue: OpenFeedback, *, whole: bool) -> Fixed | str:
    """Return the proof that an issue is fixed, or why it cannot be told."""
    if not whole:
        return "the signals were not watched for the whole time"
    evidence: list[str] = []
    for recorded in issue.payload.breaches:
        track = watch.tracks.get(recorded.rule)
        if track is None:
            return f"nothing is watched any more under the name {recorded.rule}"
        problem = _doubt(watch, track, recorded)
        if problem:
            return problem
        evidence.append(_proof(watch, track, recorded))
    subject = watch.subject
    if not subject.fresh or subject.sha is None:
        return "the signals are back within their bounds, but nothing new was deployed"
    if subject.sha == issue.payload.suspected_sha:
        return "the signals are back within their bounds, but the suspected commit still runs"
    return Fixed(issue, tuple(dict.fromkeys(evidence)))


def _doubt(watch: Watch, track: Track, recorded: Breach) -> str:
    """Return why a signal does not prove anything, or an empty text if it does."""
    points, bounds = watch.settled(track), _recorded_bounds(recorded, track)
    name, expected = track.what.name, watch.expected(track)
    if not bounds.any:
        return f"{name} has no bounds to compare with"
    needed = track.what.run(watch.step, track.source)
    if not steady(points, bounds, expected, needed):
        if len(points) < expected:
            return f"{name} has {len(points)} of {expected} samples, too few or not all well"
        return f"{name} is not back within its bounds for the whole time"
    if not near(points, recorded.baseline, bounds):
        return f"{name} is within its bounds but not back near what it was"
    return ""


def _proof(watch: Watch, track: Track, recorded: Breach) -> str:
    points = watch.settled(track)
    unit, values = track.what.unit, sorted(point.value for point in points)
    middle = amount(values[len(values) // 2], unit)
    least, most = amount(values[0], unit), amount(values[-1], unit)
    was = f"it had been at {amount(recorded.observed, unit)}"
    if recorded.baseline is not None:
        was += f", usually {amount(recorded.baseline, unit)}"
    seen = span_of(points)
    return (
        f"{track.what.name} is at {middle} (from {least} to {most} in {len(points)} samples, "
        f"{seen}); {was}."
    )
