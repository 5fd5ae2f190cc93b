"""Tells how a watch ended: to people, to development, and to the stores."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from statistics import median
from typing import Literal

from pydantic import JsonValue

from pipelines.agents.monitor.recommendation import Advice
from pipelines.agents.monitor.rollback import Taken
from pipelines.agents.monitor.verification import Findings, Fixed
from pipelines.agents.monitor.watch import Track, Watch
from pipelines.agents.monitor.words import amount, finding, title
from pipelines.model import (
    AlertTrigger,
    Artifact,
    Breach,
    CloseIssue,
    Conclusion,
    Effect,
    ExecutionRecord,
    FeedbackPayload,
    Learned,
    Measurement,
    Notify,
    OpenIssue,
    Outcome,
    Severity,
    Task,
    TaskResult,
    TraceReport,
)

_MAX_BREACHES = 20
_MAX_PATHS = 100
_MAX_LESSON_PATHS = 50
_MAX_STORED = 300
_MAX_OPERATIONS = 50
_NOT_IN_SCOPE = "request_rate"


@dataclass(frozen=True, slots=True)
class Story:
    """Everything that a watch came to."""

    task: Task
    watch: Watch
    findings: Findings
    now: datetime
    whole: bool
    """Whether the span was watched to its end."""
    advice: Advice = field(default_factory=Advice)
    traces: TraceReport = field(default_factory=TraceReport)
    rollback: Taken | None = None

    @property
    def breaches(self) -> tuple[Breach, ...]:
        """All that is out of bounds."""
        return tuple(each for group in self.findings.breaches.values() for each in group)

    @property
    def occasion(self) -> str:
        """What saw it: a repeat of the task is the same occasion."""
        return f"{self.task.run_id}/{self.task.step}"


def result(story: Story) -> TaskResult:
    """Return what the task hands back."""
    payloads = [_payload(story, name, group) for name, group in story.findings.breaches.items()]
    conclusion, headline = _conclusion(story)
    return TaskResult(
        task_id=story.task.id,
        status="completed",
        conclusion=conclusion,
        title=headline,
        summary="\n".join(_summary(story)),
        effects=tuple(_effects(story, payloads, headline)),
        outputs=_outputs(story, payloads),
        artifacts=tuple(_artifacts(story)),
        feedback=payloads[0] if payloads else None,
    )


def _conclusion(story: Story) -> tuple[Conclusion, str]:
    environment = story.watch.subject.environment
    if story.breaches:
        return Conclusion.FAILURE, title(environment, [each.rule for each in story.breaches])
    seen, silent = _scope(story)
    if not seen:
        return Conclusion.NEUTRAL, f"Nothing could be measured in {environment}"
    said = f"{len(seen)} of {len(seen) + len(silent)} signals had data" if silent else ""
    if not story.whole:
        said = "the time was too short to watch to the end"
    trigger = story.task.trigger
    if isinstance(trigger, AlertTrigger) and trigger.firing and not said:
        said = "no watched signal shows what the alert is about"
    if said:
        return Conclusion.NEUTRAL, f"No breach seen in {environment}, but {said}"
    return Conclusion.SUCCESS, f"{environment} is healthy: {len(seen)} signals within bounds"


def _scope(story: Story) -> tuple[list[Track], list[Track]]:
    """Return the signals that had data, and those that should have had some.

    Fewer samples than a breach needs say nothing. A rule is always in scope; a built-in signal only
    if it was ever there, because hardly a service has all of them.
    """
    watch = story.watch
    tracks = [track for track in watch.tracks.values() if track.what.name != _NOT_IN_SCOPE]
    seen = [t for t in tracks if len(watch.settled(t)) >= t.what.run(watch.step, t.source)]
    wanted = [t for t in tracks if t.what.rule is not None or t.baseline or t.points]
    return seen, [track for track in wanted if track not in seen]


def _summary(story: Story) -> Iterator[str]:
    for breach in story.breaches:
        yield f"- {finding(breach)}"
    for each in story.findings.fixed:
        yield f"- Issue #{each.issue.number} is fixed: {' '.join(each.evidence)}"
    for note in story.findings.notes:
        yield f"- {note}"
    if story.rollback is not None:
        yield f"- {story.rollback.said}"
    if story.advice.obstacle:
        yield f"- {story.advice.obstacle}"
    yield ""
    for track in story.watch.tracks.values():
        yield f"- {_told(track, story.watch)}"
    span = story.watch.subject.span
    until = min(story.now, span.end)
    yield ""
    yield f"Watched from {span.start:%Y-%m-%d %H:%M:%S} to {until:%H:%M:%S} UTC" + (
        "." if story.whole else f"; {span.end:%H:%M:%S} was meant."
    )


def _told(track: Track, watch: Watch) -> str:
    name, unit = track.what.name, track.what.unit
    points, expected = watch.settled(track), watch.expected(track)
    if not points:
        return f"{name}: no data ({track.reason or 'nothing was answered'})"
    told = f"{name}: {amount(median(point.value for point in points), unit)}"
    if track.baseline is not None:
        told += f", before {amount(track.baseline.median, unit)}"
    elif track.what.worse is not None:
        told += ", before not known"
    few = len(points) < 0.8 * expected and track.reason
    return f"{told} ({len(points)} samples{f'; {track.reason}' if few else ''})"


def _payload(story: Story, fingerprint: str, group: Sequence[Breach]) -> FeedbackPayload:
    subject, change = story.watch.subject, story.task.change
    breaches = sorted(group, key=lambda each: -each.severity.rank)[:_MAX_BREACHES]
    suspected = subject.sha if subject.fresh else None
    return FeedbackPayload(
        fingerprint=fingerprint,
        environment=subject.environment,
        severity=max((each.severity for each in breaches), key=lambda severity: severity.rank),
        title=title(subject.environment, [each.rule for each in breaches]),
        breaches=tuple(breaches),
        findings=tuple(_findings(story, breaches))[:_MAX_BREACHES],
        recommendations=story.advice.sentences,
        suspected_sha=suspected,
        suspected_paths=change.paths[:_MAX_PATHS] if suspected == change.head_sha else (),
        deployment_id=subject.deployment_id,
        running_sha=subject.sha,
        observed_at=story.now,
    )


def _findings(story: Story, breaches: Sequence[Breach]) -> Iterator[str]:
    """Yield sentences of numbers; nothing of them was written by a stranger or by a model."""
    yield from (finding(each) for each in breaches)
    if story.rollback is not None and story.rollback.sha is not None:
        yield story.rollback.said
    operations = story.traces.operations
    if operations:
        failing = sum(each.errors > 0 for each in operations)
        yield f"Traces show {len(operations)} operations, {failing} of them with errors."


def _effects(story: Story, payloads: Sequence[FeedbackPayload], headline: str) -> Iterator[Effect]:
    head = story.task.change.head_sha
    for payload in payloads:
        yield OpenIssue(head_sha=head, payload=payload, occasion=story.occasion)
    for fixed in story.findings.fixed:
        yield _close(story, fixed)
    if payloads or story.findings.fixed:
        yield Notify(
            head_sha=head,
            level=_level(story),
            title=headline,
            text="\n".join(_news(story))[:4000],
            occasion=story.occasion,
        )


def _close(story: Story, fixed: Fixed) -> CloseIssue:
    sha = story.watch.subject.sha
    assert sha is not None, "an issue is fixed by a commit that is known"
    return CloseIssue(
        head_sha=story.task.change.head_sha,
        number=fixed.issue.number,
        fingerprint=fixed.issue.payload.fingerprint,
        evidence=fixed.evidence[:_MAX_BREACHES],
        fixed_in=sha,
        occasion=story.occasion,
    )


def _level(story: Story) -> Literal["info", "warning", "critical"]:
    if not story.breaches:
        return "info"
    grave = any(each.severity is Severity.CRITICAL for each in story.breaches)
    helped = story.rollback is not None and story.rollback.sha is not None
    return "critical" if grave and not helped else "warning"


def _news(story: Story) -> Iterator[str]:
    yield from (finding(each) for each in story.breaches)
    if story.rollback is not None:
        yield story.rollback.said
    for fixed in story.findings.fixed:
        yield f"Issue #{fixed.issue.number} is fixed."
        yield from fixed.evidence


def _outputs(story: Story, payloads: Sequence[FeedbackPayload]) -> dict[str, JsonValue]:
    subject = story.watch.subject
    return {
        "environment": subject.environment,
        "sha": subject.sha,
        "healthy": not story.breaches,
        "breaches": [each.rule for each in story.breaches],
        "fingerprint": payloads[0].fingerprint if payloads else None,
        "fixed": [each.issue.number for each in story.findings.fixed],
        "rolled_back_to": story.rollback.sha if story.rollback else None,
    }


def _artifacts(story: Story) -> Iterator[Artifact]:
    yield ExecutionRecord(subject="monitoring", data=_record(story))
    for track in story.watch.tracks.values():
        if track.points:
            yield _measurement(story, track)
    for fixed in story.findings.fixed:
        yield Learned(outcome=_verified(story, fixed))
    if story.rollback is not None and story.rollback.sha is not None:
        yield Learned(outcome=_rolled_back(story))


def _record(story: Story) -> dict[str, JsonValue]:
    watch, operations = story.watch, story.traces.operations[:_MAX_OPERATIONS]
    return {
        **_outputs(story, ()),
        "fingerprint": next(iter(story.findings.breaches), None),
        "occasion": watch.subject.occasion,
        "from": watch.subject.span.start.isoformat(),
        "to": min(story.now, watch.subject.span.end).isoformat(),
        "whole": story.whole,
        "step_seconds": watch.step,
        "bounds": {
            name: [track.bounds.above, track.bounds.below] for name, track in watch.tracks.items()
        },
        "operations": [each.model_dump(mode="json") for each in operations],
        "traces": story.traces.reason,
    }


def _measurement(story: Story, track: Track) -> Measurement:
    return Measurement(
        environment=story.watch.subject.environment,
        series=track.series(_MAX_STORED),
        at=story.now,
    )


def _verified(story: Story, fixed: Fixed) -> Outcome:
    payload = fixed.issue.payload
    return Outcome(
        kind="fix_verified",
        agent="coding",
        subject=payload.title[:300],
        why=" ".join(fixed.evidence)[:1000],
        paths=story.task.change.paths[:_MAX_LESSON_PATHS],
        source=f"issue/{fixed.issue.number}/{payload.fingerprint}",
        at=story.now,
    )


def _rolled_back(story: Story) -> Outcome:
    subject = story.watch.subject
    return Outcome(
        kind="deployment_rolled_back",
        agent="deploy",
        subject=f"Deployment of {subject.sha} to {subject.environment}",
        why=" ".join(finding(each) for each in story.breaches)[:1000],
        paths=story.task.change.paths[:_MAX_LESSON_PATHS],
        source=f"deployment/{subject.environment}/{subject.sha}",
        at=story.now,
    )
