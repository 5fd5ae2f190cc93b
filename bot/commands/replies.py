"""What Conductor answers to a command, in Markdown.

Text that people or models wrote is put in code spans or quotes, where GitHub renders no mention,
link or image from it.
"""

from collections.abc import Iterable, Sequence

from pipelines.model import Actor, Dismissal, Finding, Step, WorkflowRun

MAX_QUOTED = 120
"""Characters of somebody's text that an answer repeats."""


def quoted(text: str) -> str:
    """Return somebody's text as a code span that it cannot leave."""
    flat = " ".join(text.replace("`", "'").split())
    short = flat if len(flat) <= MAX_QUOTED else flat[: MAX_QUOTED - 1] + "…"
    return f"`{short}`" if short else "` `"


def listed(names: Iterable[str]) -> str:
    """Return names as code spans, each once, or ``none``."""
    unique = list(dict.fromkeys(names))
    return ", ".join(quoted(name) for name in unique) or "none"


def refusal(actor: Actor, why: str) -> str:
    """Return the answer to a command that is not carried out."""
    return f"@{actor.login}: {why}"


def status(runs: Sequence[WorkflowRun], paused_by: Actor | None) -> str:
    """Return a table of the newest run of each workflow."""
    lines: list[str] = []
    if paused_by is not None:
        until = "nothing automatic is run or written here until `resume`."
        lines += [f"Paused by @{paused_by.login}: {until}", ""]
    if not runs:
        return "\n".join([*lines, "Nothing has run here yet."])
    lines += ["| workflow | step | state | |", "| --- | --- | --- | --- |"]
    lines += [_row(run, step) for run in runs for step in run.steps]
    lines += ["", *(_cost(run) for run in runs)]
    return "\n".join(lines)


def _row(run: WorkflowRun, step: Step) -> str:
    state = step.conclusion.value if step.done and step.conclusion else step.state.value
    title = quoted(step.title.replace("|", "/")) if step.title else ""
    return f"| {quoted(run.workflow)} | {quoted(step.name)} | {state} | {title} |"


def _cost(run: WorkflowRun) -> str:
    spent, budget = run.usage.cost_usd, run.budget_usd
    return f"{quoted(run.workflow)} at {run.change.head_sha[:10]}: {spent:.4f} of {budget:.2f} USD."


def explained(finding: Finding, dismissal: Dismissal | None) -> str:
    """Return everything that is stored about a finding."""
    lines = [
        f"**{finding.severity.value}** · {quoted(finding.category)} · {quoted(finding.title)}",
        "",
        f"{quoted(finding.path)} lines {finding.start_line} to {finding.line}, which read:",
        "",
        *_indented(finding.quote),
        "",
        *(f"> {line}" for line in finding.explanation.splitlines()),
        "",
        f"Its name is {quoted(finding.fingerprint)}.",
    ]
    if finding.suggestion is not None:
        lines += ["", "The suggested text:", "", *_indented(finding.suggestion)]
    if dismissal is not None:
        lines += ["", f"Dismissed by @{dismissal.by.login}: {quoted(dismissal.why)}."]
    return "\n".join(lines)


def _indented(text: str) -> list[str]:
    """A code block that no run of backticks inside can end."""
    return [f"    {line}" for line in text.splitlines()]
