"""The terminal: findings with file:line, colour only where there is a terminal."""

from collections.abc import Iterator

from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.text import Text

from bot.cli.report import RunReport
from bot.reporting.render import clean
from pipelines.model import Conclusion, Finding, Severity

_STYLES = {
    Severity.CRITICAL: "bold red",
    Severity.HIGH: "red",
    Severity.MEDIUM: "yellow",
    Severity.LOW: "cyan",
    Severity.INFO: "dim",
}
_MARKS = {
    Conclusion.SUCCESS: ("✓", "green"),
    Conclusion.FAILURE: ("✗", "red"),
    Conclusion.TIMED_OUT: ("✗", "red"),
    Conclusion.NEUTRAL: ("•", "yellow"),
}


def show(report: RunReport, console: Console) -> None:
    """Print the report; narrow terminals and pipes get the same lines."""
    for part in _parts(report):
        console.print(part)


def _parts(report: RunReport) -> Iterator[RenderableType]:
    for finding in report.findings:
        yield from _finding(finding)
    for proposal in report.proposals:
        yield Text.assemble("proposed for ", (clean(proposal.path), "bold"), ":")
        yield from (_changed(line) for line in clean(proposal.diff).splitlines())
        yield Text()
    for unseen in report.unseen:
        yield Text.assemble("not looked at: ", (clean(unseen.path), "bold"), f" ({unseen.reason})")
    for run in report.runs:
        for step in run.steps:
            mark, style = _MARKS.get(step.conclusion or Conclusion.SKIPPED, ("-", "dim"))
            name = f"{run.workflow} / {step.name}"
            yield Text.assemble((mark, style), f" {name}: ", clean(step.title))
    for note in report.notes:
        yield Text(f"note: {clean(note)}", style="dim")
    if report.cost_usd:
        yield Text(f"model calls cost {report.cost_usd:.4f} USD", style="dim")


def _changed(line: str) -> RenderableType:
    style = {"+": "green", "-": "red"}.get(line[:1], "dim")
    return Padding(Text(line, style=style), (0, 0, 0, 4))


def _finding(finding: Finding) -> Iterator[RenderableType]:
    place = f"{clean(finding.path)}:{finding.start_line}"
    yield Text.assemble(
        (place, "bold"),
        ": ",
        (finding.severity, _STYLES[finding.severity]),
        ": ",
        clean(finding.title),
    )
    yield Padding(Text(clean(finding.explanation)), (0, 0, 0, 4))
    for line in clean(finding.quote).splitlines():
        yield Padding(Text(f"| {line}", style="dim"), (0, 0, 0, 4))
    if finding.suggestion is not None:
        yield Padding(Text("suggested instead:"), (0, 0, 0, 4))
        for line in clean(finding.suggestion).splitlines():
            yield Padding(Text(f"+ {line}", style="green"), (0, 0, 0, 4))
    yield Text()
