"""Reviews a change: reads, checks, asks a model, verifies, compares with before, concludes."""

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from typing import ClassVar

from pydantic import JsonValue

from pipelines import globs
from pipelines.agents.base import BaseAgent
from pipelines.agents.context import AgentContext
from pipelines.agents.hidden import strip_comments, strip_hidden
from pipelines.agents.review.checks import deterministic_findings
from pipelines.agents.review.consultation import consult
from pipelines.agents.review.followup import Followup, Snapshot, follow_up
from pipelines.agents.review.verdict import Verdict, conclude
from pipelines.agents.review.verification import condense, verify, worst_first
from pipelines.agents.review.view import FileView, build_view, shown_lines
from pipelines.errors import UserError
from pipelines.model import (
    AnswerFinding,
    Change,
    ChangedFile,
    ChangedFiles,
    Coverage,
    FileStatus,
    Finding,
    PriorFinding,
    Severity,
    SubmitReview,
    Task,
    TaskResult,
    Unseen,
)
from pipelines.ports import FileText, Reader

_MAX_READ = 300
"""Files whose whole text is read; further ones are reviewed by their diff alone."""
_MAX_TOLD = 20
"""Findings that later steps of the run are told, the worst first."""
_MAX_TOLD_WORDS = 1_000


class ReviewAgent(BaseAgent):
    """Proposes one review of a pull request, or annotations for a push.

    Option ``block_on``: the least severity that fails the check, or null for advice only.
    """

    name: ClassVar[str] = "review"

    def _validate_task(self, task: Task) -> None:
        super()._validate_task(task)
        _block_on(task)

    async def _execute(self, task: Task, context: AgentContext) -> TaskResult:
        listing = await context.reader.changed_files()
        scope = _Scope.of(listing, task)
        texts = await context.reader.read(scope.to_read(task.change), at="head")
        views = await _views(scope, texts, context.reader)
        opinion = await consult(task.change, views, context, task.lessons)
        verified, rejected = verify(opinion.proposed, views)
        findings, left_out = condense((*deterministic_findings(views.values()), *verified))
        coverage = Coverage(
            seen=opinion.seen,
            partial=opinion.partial,
            unseen=opinion.unseen,
            ignored=scope.ignored,
            listing_complete=listing.complete,
        )
        doubtful = set(views) if left_out else {proposal.path for proposal in rejected}
        snapshot = _snapshot(task.change, views, texts, coverage, doubtful)
        followup = follow_up(findings, task.change.prior_findings, snapshot)
        verdict = conclude(followup, coverage, block_on=_block_on(task), obstacle=opinion.obstacle)
        notes = "\n".join([verdict.summary, *_notes(task.change, left_out)])
        return _result(task, followup, coverage, replace(verdict, summary=notes), len(rejected))


async def _views(
    scope: "_Scope", texts: Mapping[str, FileText], reader: Reader
) -> dict[str, FileView]:
    """Build the views; a file that came without a patch is compared with its text at base."""
    before = {
        file.path: file.previous_path or file.path
        for file in scope.files
        if not file.patch and file.status is not FileStatus.ADDED
    }
    wanted = list(before.values())[:_MAX_READ]
    bases: Mapping[str, FileText] = await reader.read(wanted, at="base") if wanted else {}
    return {
        file.path: build_view(file, texts.get(file.path), bases.get(before.get(file.path, "")))
        for file in scope.files
    }


@dataclass(frozen=True, slots=True)
class _Scope:
    """Which changed files are to be reviewed, and which configuration leaves out."""

    files: tuple[ChangedFile, ...]
    ignored: tuple[Unseen, ...]

    @classmethod
    def of(cls, listing: ChangedFiles, task: Task) -> "_Scope":
        patterns = globs.compile_all(task.ignore)
        left_out = [file for file in listing.files if globs.any_match(patterns, file.path)]
        return cls(
            files=tuple(file for file in listing.files if file not in left_out),
            ignored=tuple(Unseen(path=f.path, reason="ignored by `paths`") for f in left_out),
        )

    def to_read(self, change: Change) -> list[str]:
        """Return the paths whose text at head is needed, earlier findings' files first."""
        before = (prior.path for prior in change.prior_findings if not prior.answered)
        present = (file.path for file in self.files if file.status is not FileStatus.REMOVED)
        return list(dict.fromkeys((*before, *present)))[:_MAX_READ]


def _snapshot(
    change: Change,
    views: Mapping[str, FileView],
    texts: Mapping[str, FileText],
    coverage: Coverage,
    doubtful: Set[str],
) -> Snapshot:
    """Describe the files as they are now; of the doubtful ones not every finding is known."""
    files: dict[str, Sequence[str] | None] = {}
    for path, text in texts.items() if change.prior_findings else ():
        if text.text is not None:
            files[path] = shown_lines(text.text)
        elif text.reason == "missing":
            files[path] = None
    left_out = (*coverage.partial, *coverage.unseen, *coverage.ignored)
    return Snapshot(
        files=files,
        removed={path: view.removed for path, view in views.items()},
        unexamined=frozenset(item.path for item in left_out),
        examined={
            path: views[path]
            for path in coverage.seen
            if views[path].hunks and path not in doubtful
        },
    )


def _result(
    task: Task, followup: Followup, coverage: Coverage, verdict: Verdict, dropped: int
) -> TaskResult:
    effects = (
        *_reviews(task.change, followup.new, coverage, verdict.summary, dropped),
        *_answers(task.change, followup.fixed),
    )
    return TaskResult(
        task_id=task.id,
        status="completed",
        conclusion=verdict.conclusion,
        title=verdict.title,
        summary="\n".join([verdict.summary, *_note_on_dropped(dropped)]),
        findings=worst_first((*followup.new, *followup.repeated)),
        effects=effects,
        coverage=coverage,
        outputs={
            "new": len(followup.new),
            "open": len(followup.repeated) + len(followup.remaining),
            "fixed": len(followup.fixed),
            "dropped": dropped,
            "findings": [_told(finding) for finding in worst_first(followup.new)[:_MAX_TOLD]],
        },
    )


def _told(finding: Finding) -> dict[str, JsonValue]:
    """Return what a later step is told of a finding."""
    return {
        "path": finding.path,
        "line": finding.line,
        "severity": finding.severity.value,
        "title": finding.title,
        "explanation": finding.explanation[:_MAX_TOLD_WORDS],
    }


def _reviews(
    change: Change, new: tuple[Finding, ...], coverage: Coverage, summary: str, dropped: int
) -> Iterator[SubmitReview]:
    """Yield a review only if it says something new; the check run carries the rest."""
    if change.number is not None and new:
        yield SubmitReview(
            number=change.number,
            head_sha=change.head_sha,
            findings=new,
            summary=summary,
            coverage=coverage,
            dropped=dropped,
        )


def _answers(change: Change, fixed: tuple[PriorFinding, ...]) -> Iterator[AnswerFinding]:
    for prior in fixed:
        if change.number is not None:
            yield AnswerFinding(
                number=change.number,
                head_sha=change.head_sha,
                fingerprint=prior.fingerprint,
                thread_id=prior.thread_id,
                comment_id=prior.comment_id,
                fixed_in=change.head_sha,
            )


def _block_on(task: Task) -> Severity | None:
    value = task.options.get("block_on")
    if value is None:
        return None
    if value not in list(Severity):
        raise UserError(f"`block_on` must be one of {', '.join(Severity)}, not {value!r}.")
    return Severity(str(value))


def _notes(change: Change, left_out: int) -> list[str]:
    """Say what was taken out of the description before the model read it, and of the findings."""
    without, comments = strip_comments(change.body)
    hidden = sum(strip_hidden(text)[1] for text in (without, change.title, change.head_ref))
    notes: list[str] = []
    if hidden:
        notes.append(f"Characters that cannot be seen, removed from the description: {hidden}.")
    if comments:
        notes.append(f"Hidden comments in the description, not shown to the model: {comments}.")
    if left_out:
        notes.append(f"Further, less severe findings that are not listed: {left_out}.")
    return notes


def _note_on_dropped(dropped: int) -> list[str]:
    """Say for the check what the review says by its own field."""
    return [f"Findings of the model that did not stand up to the code: {dropped}."] * bool(dropped)
