"""What is said about `.conductor.yml` itself: a check that no agent makes."""

import hashlib

from pipelines.config.compare import Comparison, Difference, compare
from pipelines.config.diagnostics import Diagnostic
from pipelines.config.loader import PATH, Loaded, default_file, load
from pipelines.config.plan import group_of
from pipelines.model import (
    Change,
    Conclusion,
    Coverage,
    Finding,
    Severity,
    Step,
    TaskResult,
    Trigger,
)
from pipelines.orchestration.changes import DESK, Plan
from pipelines.ports import FileText, Reader

WORKFLOW = PATH
"""The name of the run that carries the verdict; no workflow can be called that."""
STEP = "validation"


def plan_of(trigger: Trigger, *, again: bool = False) -> Plan:
    """Return the plan of the run that carries the verdict."""
    return Plan(
        workflow=WORKFLOW,
        group=group_of(WORKFLOW, trigger),
        steps=(Step(name=STEP, agent=DESK),),
        budget_usd=0.0,
        again=again,
    )


def in_force(change: Change) -> Loaded:
    """Return the configuration that holds for a change: never the one of its head."""
    if change.config is None:
        return Loaded(default_file())
    return load(change.config.text, change.config.path)


def edits_it(change: Change) -> bool:
    """Whether the change touches the configuration."""
    return change.number is not None and PATH in change.paths


def broken(loaded: Loaded) -> TaskResult:
    """Return the verdict on a configuration in force that cannot be used: nothing else runs."""
    count = len(loaded.diagnostics)
    lines = [f"- {diagnostic}" for diagnostic in loaded.diagnostics]
    summary = "\n".join(
        [
            "Nothing runs before the configuration on the base branch is mended:",
            "",
            *lines,
            "",
            "`conductor check-config` shows the same on your machine.",
        ]
    )
    return _verdict(
        Conclusion.FAILURE,
        f"{_mistakes(count)} in the configuration in force",
        summary,
        loaded.diagnostics,
    )


def mended() -> TaskResult:
    """Return the verdict that replaces ``broken`` on the same commit."""
    return _verdict(Conclusion.SUCCESS, "The configuration in force is valid", "", ())


async def proposed(base: Loaded | None, reader: Reader) -> TaskResult:
    """Return the verdict on the configuration as the head of a pull request has it."""
    text = (await reader.read([PATH], at="head"))[PATH]
    if text.text is None:
        return _unreadable(text)
    comparison = compare(base, load(text.text))
    if comparison.diagnostics:
        count = len(comparison.diagnostics)
        summary = "\n".join(f"- {diagnostic}" for diagnostic in comparison.diagnostics)
        title = f"{_mistakes(count)} in the proposed configuration"
        return _verdict(Conclusion.FAILURE, title, summary, comparison.diagnostics)
    return _verdict(
        Conclusion.SUCCESS, "The proposed configuration is valid", _differences(comparison), ()
    )


def _unreadable(text: FileText) -> TaskResult:
    if text.reason == "missing":
        summary = f"Without {PATH} pull requests get an advisory review, and nothing else runs."
        return _verdict(Conclusion.NEUTRAL, f"The change removes {PATH}", summary, ())
    title = f"{PATH} cannot be read: {text.reason}"
    return _verdict(Conclusion.FAILURE, title, "", ())


def _differences(comparison: Comparison) -> str:
    intro = "What is in force stays so until this is merged. With it:"
    if comparison.base_broken:
        intro = "The configuration in force is broken, so nothing runs. Against the default:"
    lines = [_difference(difference) for difference in comparison.differences]
    return "\n".join([intro, "", *(lines or ["- nothing that runs changes"])])


def _difference(difference: Difference) -> str:
    keys = f" ({', '.join(f'`{key}`' for key in difference.keys)})" if difference.keys else ""
    return f"- {difference.kind}: `{difference.place}`{keys}"


def _mistakes(count: int) -> str:
    return "1 mistake" if count == 1 else f"{count} mistakes"


def _verdict(
    conclusion: Conclusion, title: str, summary: str, diagnostics: tuple[Diagnostic, ...]
) -> TaskResult:
    return TaskResult(
        task_id="",
        status="completed",
        conclusion=conclusion,
        title=title,
        summary=summary,
        findings=tuple(_finding(diagnostic) for diagnostic in diagnostics),
        coverage=Coverage(seen=(PATH,)),
    )


def _finding(diagnostic: Diagnostic) -> Finding:
    text = str(diagnostic)
    return Finding(
        fingerprint=hashlib.sha256(text.encode()).hexdigest()[:16],
        path=diagnostic.path,
        start_line=diagnostic.line,
        line=diagnostic.line,
        severity=Severity.HIGH,
        category="configuration",
        title=diagnostic.message,
        explanation=text,
        in_diff=False,
    )
