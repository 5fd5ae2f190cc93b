"""Markdown, for a comment or a job summary; rendered as safely as what goes to GitHub."""

from bot.cli.report import RunReport
from bot.reporting.render import code_span, line
from bot.reporting.wording import body_finding


def as_markdown(report: RunReport) -> str:
    """Return the report as one document."""
    blocks = [f"## Conductor: {report.conclusion}"]
    blocks += ["\n".join(_steps(report))]
    blocks += [body_finding(finding) for finding in report.findings] or ["No findings."]
    if report.unseen:
        names = (f"- {code_span(u.path)}: {line(u.reason)}" for u in report.unseen)
        blocks.append("Not looked at:\n\n" + "\n".join(names))
    blocks += [line(note) for note in report.notes]
    return "\n\n".join(blocks) + "\n"


def _steps(report: RunReport) -> list[str]:
    return [
        f"- {code_span(f'{run.workflow} / {step.name}')}: {step.conclusion}: {line(step.title)}"
        for run in report.runs
        for step in run.steps
    ]
