"""The task's result: a commit with what is known about it, or why there is none."""

from collections.abc import Sequence
from datetime import datetime

from pydantic import JsonValue

from pipelines.agents.coding.answer import CodingAnswer
from pipelines.agents.coding.report import Work, commit_message, notes, pull_request
from pipelines.agents.coding.trials import Trial
from pipelines.agents.fence import one_line
from pipelines.agents.toolloop import Outcome
from pipelines.model import (
    Artifact,
    CodeVersion,
    Conclusion,
    Effect,
    ExecutionRecord,
    FileEdit,
    LogLine,
    OpenPullRequest,
    PushCommit,
    Task,
    TaskResult,
)

_MAX_TITLE = 200
_MAX_WORDS = 1_500
_MAX_LOG = 100
_MAX_REFUSED = 10


def propose(
    work: Work, outcome: Outcome[CodingAnswer], edits: tuple[FileEdit, ...], now: datetime
) -> TaskResult:
    """Return the result with its one effect; success only if the tests passed over the commit."""
    task = work.task
    count = len(work.changes)
    files = f"{count} file{'' if count == 1 else 's'}"
    title = f"{'Changed' if work.tested else 'Changed, not verified:'} {files}: {work.headline}"
    said = [work.sentence, *notes(work), *_about_refused(work.refused)]
    versions = (
        CodeVersion(
            path=change.path,
            base_sha=task.change.head_sha,
            content=change.after,
            diff=change.diff,
            headline=work.headline,
        )
        for change in work.changes
    )
    return TaskResult(
        task_id=task.id,
        status="completed",
        conclusion=Conclusion.SUCCESS if work.tested else Conclusion.NEUTRAL,
        title=title[:_MAX_TITLE],
        summary="\n".join(said),
        effects=(_effect(work, edits),),
        outputs=_outputs(task, [change.path for change in work.changes], work.trial, work.tested),
        artifacts=(*versions, *_traces(task, outcome, work.trial, "proposed", now)),
    )


def could_not(
    task: Task,
    why: str,
    *,
    answer: CodingAnswer | None = None,
    refused: Sequence[str] = (),
    trial: Trial | None = None,
    outcome: Outcome[CodingAnswer] | None = None,
    now: datetime | None = None,
) -> TaskResult:
    """Return a result without effects that says why, as a clear sentence."""
    said = [f"Nothing was committed, because {why}.", *_about_refused(refused)]
    if answer is not None and answer.explanation.strip():
        said.append(f"> In the model's words: {one_line(answer.explanation, _MAX_WORDS)}")
    traces = _traces(task, outcome, trial, "stopped", now) if outcome and now else ()
    return TaskResult(
        task_id=task.id,
        status="completed",
        conclusion=Conclusion.NEUTRAL,
        title=f"Could not, because {why}"[:_MAX_TITLE],
        summary="\n".join(said),
        outputs=_outputs(task, [], trial, tested=False),
        artifacts=tuple(traces),
    )


def _effect(work: Work, edits: tuple[FileEdit, ...]) -> Effect:
    head, assignment = work.task.change.head_sha, work.assignment
    commit = PushCommit(
        head_sha=head,
        branch=assignment.branch,
        edits=edits,
        headline=work.headline,
        body=commit_message(work),
    )
    if assignment.pull_request_into is None:
        return commit
    return OpenPullRequest(
        head_sha=head,
        commit=commit,
        base_ref=assignment.pull_request_into,
        title=work.headline,
        body=pull_request(work),
        answers_issue=assignment.answers_issue,
    )


def _about_refused(refused: Sequence[str]) -> list[str]:
    rows = [f"Refused: {one_line(sentence, 300)}" for sentence in refused[:_MAX_REFUSED]]
    more = len(refused) - _MAX_REFUSED
    return [*rows, *([f"Refused: {more} more writes."] if more > 0 else [])]


def _outputs(
    task: Task, changed: Sequence[str], trial: Trial | None, tested: bool
) -> dict[str, JsonValue]:
    ran = trial.ran if trial else None
    return {
        "changed": list(changed),
        "tested": tested,
        "exit_code": ran.result.exit_code if ran else None,
        "tainted": task.tainted,
    }


def _traces(
    task: Task,
    outcome: Outcome[CodingAnswer],
    trial: Trial | None,
    end: str,
    now: datetime,
) -> list[Artifact]:
    """Return what the stores keep of the work itself."""
    record = ExecutionRecord(
        subject="coding",
        data={
            "end": end,
            "ended": outcome.ended,
            "turns": outcome.turns,
            "calls": len(outcome.calls),
            "failed_calls": sum(not call.ok for call in outcome.calls),
            "tests": trial.verdict if trial else "not run",
        },
    )
    lines = [
        LogLine(
            level="info" if call.ok else "warning",
            text=f"turn {call.turn}: {call.tool} {call.about}".rstrip(),
            at=now,
        )
        for call in outcome.calls[-_MAX_LOG:]
    ]
    reports = [trial.ran.artifact(trial.doubts)] if trial and trial.ran else []
    return [record, *reports, *lines]
