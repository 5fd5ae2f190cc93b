"""Findings, coverage and cost in words: typed fields in, safe Markdown out."""

from collections.abc import Callable, Iterable
from pathlib import PurePosixPath

from bot.github import markers
from bot.reporting.render import clean, code_span, fence, line, plain, prose, suggestion
from pipelines.model import Coverage, Finding, Unseen, Usage

NAMED_FILES = 50
_LANGUAGES = {"yml": "yaml", "md": "markdown", "rs": "rust"}


def redacted_finding(finding: Finding, redact: Callable[[str], str]) -> Finding:
    """Return a finding without secrets; a suggestion that held one is not offered."""
    offered = finding.suggestion
    if offered is not None and redact(offered) != offered:
        offered = None
    return finding.model_copy(
        update={
            "title": redact(finding.title),
            "explanation": redact(finding.explanation),
            "category": redact(finding.category),
            "quote": redact(finding.quote),
            "suggestion": offered,
        }
    )


def thread_comment(finding: Finding) -> str:
    """Return the comment that starts a finding's thread on its lines."""
    blocks = [*_head(finding), prose(finding.explanation)]
    if finding.suggestion is not None and finding.side == "RIGHT":
        blocks.append(suggestion(finding.suggestion) or fence(finding.suggestion))
    return "\n\n".join([*blocks, markers.finding(finding.fingerprint, finding.anchor)])


def body_finding(finding: Finding) -> str:
    """Return a finding that no line of the diff can carry, with its evidence quoted."""
    place = code_span(finding.path) + f" {lines_of(finding)}"
    blocks = [*_head(finding, place), prose(finding.explanation)]
    if finding.quote.strip():
        blocks.append(fence(finding.quote[:2000], _language(finding.path)))
    return "\n\n".join(blocks)


def lines_of(finding: Finding) -> str:
    """Return which lines a finding is about."""
    if finding.start_line < finding.line:
        return f"lines {finding.start_line} to {finding.line}"
    return f"line {finding.line}"


def _head(finding: Finding, place: str = "") -> list[str]:
    about = [f"`{finding.severity.value}`", line(finding.category, 60), place]
    return [f"**{line(finding.title) or 'Finding'}**", " · ".join(part for part in about if part)]


def _language(path: str) -> str:
    suffix = PurePosixPath(path).suffix.removeprefix(".").lower()
    return _LANGUAGES.get(suffix, suffix)


def annotation_text(finding: Finding) -> str:
    """Return a finding as plain text: GitHub renders no Markdown in annotations."""
    return clean(f"{finding.explanation}\n\n[{finding.severity.value}, {finding.category}]")


def coverage_line(coverage: Coverage) -> str:
    """Return how much of what was in scope was looked at; empty if nothing was in scope."""
    if not coverage.total and coverage.listing_complete:
        return ""
    seen = f"Looked at {len(coverage.seen)} of {coverage.total} files."
    return seen if coverage.listing_complete else f"{seen} GitHub did not list all files."


def coverage_block(coverage: Coverage) -> str:
    """Return the coverage with every file that was not looked at whole, and why."""
    groups = (
        ("Seen in part", coverage.partial),
        ("Not seen", coverage.unseen),
        ("Left out by configuration", coverage.ignored),
    )
    parts = [_group(name, files) for name, files in groups if files]
    return "\n\n".join(part for part in [coverage_line(coverage), *parts] if part)


def _group(name: str, files: tuple[Unseen, ...]) -> str:
    rows = [f"- {code_span(file.path)}: {line(file.reason)}" for file in files[:NAMED_FILES]]
    if len(files) > NAMED_FILES:
        rows.append(f"- and {len(files) - NAMED_FILES} more")
    head = f"<details><summary>{name}: {len(files)}</summary>"
    return "\n".join([head, "", *rows, "", "</details>"])


def usage_line(usage: Usage) -> str:
    """Return what the model calls cost; empty if there were none."""
    if not usage.calls:
        return ""
    names = ", ".join(plain(name, 60) for name in usage.models)
    using = f" with {code_span(names)}" if names else ""
    calls = "1 model call" if usage.calls == 1 else f"{usage.calls} model calls"
    tokens = usage.input_tokens + usage.output_tokens
    return f"{calls}{using}, {tokens} tokens, {usage.cost_usd:.4f} USD."


def footer(sha: str, run_url: str | None, hidden: Iterable[str]) -> str:
    """Return the end of a text: the commit it is about, the run's page, hidden markers."""
    link = f" · [run]({run_url})" if run_url else ""
    return "\n".join([f"Commit {sha[:10]}{link}", "", *hidden])
