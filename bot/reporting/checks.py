"""One check run a step: what it shows, and the calls that bring GitHub in line with it."""

import hashlib
import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from bot.reporting.outlet import Outlet
from bot.reporting.render import MAX_BODY_BYTES, fit, plain, prose
from bot.reporting.wording import (
    annotation_text,
    coverage_block,
    coverage_line,
    lines_of,
    redacted_finding,
    usage_line,
)
from pipelines.model import (
    Conclusion,
    Finding,
    Frozen,
    Severity,
    Step,
    StepState,
    TaskResult,
    WorkflowRun,
)

BATCH = 50
MAX_ANNOTATIONS = 200
MAX_MESSAGE = 15_000
"""Characters; GitHub takes 64 KB."""

_LEVELS = {
    Severity.CRITICAL: "failure",
    Severity.HIGH: "failure",
    Severity.MEDIUM: "warning",
    Severity.LOW: "notice",
    Severity.INFO: "notice",
}
_STATUS = {
    StepState.PENDING: "queued",
    StepState.WAITING: "completed",
    StepState.QUEUED: "queued",
    StepState.RUNNING: "in_progress",
    StepState.COMPLETED: "completed",
}
_TITLES = {
    StepState.PENDING: "Waits for the steps it needs",
    StepState.WAITING: "Waits for an approval",
    StepState.QUEUED: "Queued",
    StepState.RUNNING: "Running",
    StepState.COMPLETED: "Done",
}


class Button(Frozen):
    """A button on a check; GitHub allows 20, 40 and 20 characters."""

    label: str
    description: str
    identifier: str


CANCEL = Button(label="Cancel", description="Stop this run", identifier="cancel")
RETRY = Button(label="Retry", description="Run this workflow again", identifier="retry")
FIX = Button(label="Fix this", description="Have Conductor commit a fix", identifier="fix")
APPROVE = Button(label="Approve", description="Let this step go on", identifier="approve")


class Check(Frozen):
    """What a step's check run shall show; ``digest`` changes exactly when that changes."""

    name: str
    head_sha: str
    external_id: str
    status: str
    conclusion: str | None
    title: str
    summary: str
    annotations: tuple[dict[str, Any], ...] = ()
    buttons: tuple[Button, ...] = ()
    started_at: datetime | None = None
    completed_at: datetime | None = None
    details_url: str | None = None

    @property
    def completed(self) -> bool:
        """Whether GitHub will take no other status for it any more."""
        return self.status == "completed"

    @property
    def digest(self) -> str:
        """A fingerprint of everything shown."""
        shown = json.dumps(self.model_dump(mode="json"), sort_keys=True)
        return hashlib.sha256(shown.encode("utf-8", "replace")).hexdigest()[:32]

    def payload(self, first: int = 0) -> dict[str, Any]:
        """Return a request's body with the batch of annotations that starts at ``first``."""
        output: dict[str, Any] = {"title": self.title, "summary": self.summary}
        batch = self.annotations[first : first + BATCH]
        if batch:
            output["annotations"] = list(batch)
        timed = {"started_at": self.started_at, "completed_at": self.completed_at}
        optional: dict[str, Any] = {
            "conclusion": self.conclusion,
            "details_url": self.details_url,
            **{name: at.strftime("%Y-%m-%dT%H:%M:%SZ") for name, at in timed.items() if at},
        }
        return {
            "name": self.name,
            "external_id": self.external_id,
            "status": self.status,
            "output": output,
            "actions": [button.model_dump() for button in self.buttons],
            **{name: value for name, value in optional.items() if value is not None},
        }


def check_name(run: WorkflowRun, step: Step) -> str:
    """Return the constant name of a step's check, by which branch protection knows it."""
    return f"conductor / {run.workflow} / {step.name}"


def check_of(
    outlet: Outlet,
    run: WorkflowRun,
    step: Step,
    result: TaskResult | None,
    *,
    held: Sequence[str] = (),
) -> Check:
    """Return what the step's check run shall show; ``held`` is what its approval would let happen.

    While effects are carried out it shows what it showed before: the end follows at once, and a
    call in between would tell nobody anything.
    """
    if step.state is StepState.PUBLISHING:
        step, result = step.model_copy(update={"state": StepState.RUNNING, "title": ""}), None
    conclusion = _conclusion(step, result)
    findings = [
        redacted_finding(finding, outlet.redacted)
        for finding in (result.findings if result else ())
    ]
    waiting = step.state is StepState.WAITING
    return Check(
        name=check_name(run, step),
        head_sha=run.change.head_sha,
        external_id=f"{run.id}/{step.name}",
        status=_STATUS[step.state],
        conclusion=conclusion.value if conclusion else None,
        title=_title(outlet, step, result, conclusion),
        summary=_summary(outlet, run, step, result, findings, held=held),
        annotations=tuple(annotations(findings)) if step.done else (),
        buttons=_buttons(run, step, findings),
        started_at=step.started_at,
        completed_at=step.finished_at if step.done else step.queued_at if waiting else None,
        details_url=outlet.run_url(),
    )


def _conclusion(step: Step, result: TaskResult | None) -> Conclusion | None:
    """Return the conclusion; a success that did not see everything in scope is none."""
    if step.state is StepState.WAITING:
        return Conclusion.ACTION_REQUIRED
    if not step.done:
        return None
    whole = result is None or result.coverage.complete
    if step.conclusion is Conclusion.SUCCESS and not whole:
        return Conclusion.NEUTRAL
    return step.conclusion or Conclusion.FAILURE


def _title(
    outlet: Outlet, step: Step, result: TaskResult | None, conclusion: Conclusion | None
) -> str:
    said = plain(outlet.redacted(step.title), 160) or _TITLES[step.state]
    if conclusion is Conclusion.NEUTRAL and result is not None and not result.coverage.complete:
        seen = coverage_line(result.coverage)
        return said if seen in said else plain(f"{said.rstrip('.')}. {seen}", 250)
    return said


def _summary(
    outlet: Outlet,
    run: WorkflowRun,
    step: Step,
    result: TaskResult | None,
    findings: Sequence[Finding],
    *,
    held: Sequence[str],
) -> str:
    blocks = [prose(outlet.redacted(run.reason), 500), *held]
    if result is not None:
        blocks.append(prose(outlet.redacted(result.summary), 8000))
        if result.failure is not None:
            blocks.append(prose(outlet.redacted(result.failure.message), 2000))
        blocks.append(coverage_block(result.coverage))
        blocks.append(usage_line(result.usage))
    unannotated = len(findings) - len(list(annotations(findings)))
    if step.done and unannotated:
        blocks.append(f"{unannotated} of {len(findings)} findings have no annotation.")
    shown = [block for block in blocks if block.strip()]
    return fit(shown or [f"{_TITLES[step.state]}."], "", MAX_BODY_BYTES)


def annotations(findings: Sequence[Finding]) -> list[dict[str, Any]]:
    """Return annotations on lines of the new file, the most important first."""
    ranked = sorted(findings, key=lambda finding: -finding.severity.rank)
    return [_annotation(one) for one in ranked if _annotatable(one)][:MAX_ANNOTATIONS]


def _annotatable(finding: Finding) -> bool:
    return finding.side == "RIGHT" and finding.start_line <= finding.line and bool(finding.path)


def _annotation(finding: Finding) -> dict[str, Any]:
    return {
        "path": finding.path,
        "start_line": finding.start_line,
        "end_line": finding.line,
        "annotation_level": _LEVELS[finding.severity],
        "title": plain(finding.title, 200) or lines_of(finding),
        "message": annotation_text(finding)[:MAX_MESSAGE] or "No explanation.",
    }


def _buttons(run: WorkflowRun, step: Step, findings: Sequence[Finding]) -> tuple[Button, ...]:
    """Return what may be pressed; a fix is offered where Conductor could push one."""
    if step.state is StepState.WAITING:
        return (APPROVE, CANCEL)
    if not step.done:
        return (CANCEL,)
    fixable = bool(findings) and run.change.number is not None and not run.change.from_fork
    return (RETRY, FIX) if fixable else (RETRY,)
