"""How a review ends: one conclusion, one line, and the sentences behind them."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from pipelines.agents.review.followup import Followup
from pipelines.model import Conclusion, Coverage, Finding, Severity


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the check run says; who shows the summary adds the coverage to it."""

    conclusion: Conclusion
    title: str
    summary: str


def conclude(
    followup: Followup, coverage: Coverage, *, block_on: Severity | None, obstacle: str
) -> Verdict:
    """Judge: failure for what blocks, neutral for advice and gaps, success for nothing at all.

    ``obstacle`` is the sentence that says why the model's review is missing or incomplete.
    """
    blocking = _count_blocking(followup, block_on)
    counts = _counts(followup)
    if blocking:
        conclusion = Conclusion.FAILURE
        title = f"{_many(blocking, 'finding')} at or above {block_on}"
    elif obstacle:
        conclusion, title = Conclusion.NEUTRAL, obstacle
    elif not coverage.total and coverage.listing_complete:
        conclusion, title = Conclusion.NEUTRAL, "Nothing to review: no changed file is in scope"
    elif not coverage.complete:
        conclusion, title = Conclusion.NEUTRAL, f"{_reach(coverage)} {counts}"
    else:
        advice = followup.new or followup.repeated or followup.remaining
        conclusion, title = Conclusion.NEUTRAL if advice else Conclusion.SUCCESS, counts
    sentences = [counts, obstacle] if obstacle else [counts]
    summary = "\n".join(f"{sentence.rstrip('.')}." for sentence in sentences)
    return Verdict(conclusion, title.rstrip("."), summary)


def _count_blocking(followup: Followup, block_on: Severity | None) -> int:
    if block_on is None:
        return 0
    return sum(severity.rank >= block_on.rank for severity in followup.open_severities)


def _counts(followup: Followup) -> str:
    still_open = len(followup.repeated) + len(followup.remaining)
    parts = [f"{_many(len(followup.new), 'new finding')}{_severities(followup.new)}"]
    parts += [f"{still_open} still open"] if still_open else []
    parts += [f"{len(followup.fixed)} fixed"] if followup.fixed else []
    parts += [f"{followup.dismissed} dismissed"] if followup.dismissed else []
    return "No findings" if parts == ["0 new findings"] else ", ".join(parts)


def _severities(findings: Sequence[Finding]) -> str:
    by_severity = Counter(finding.severity for finding in findings)
    shown = [f"{by_severity[s]} {s}" for s in reversed(Severity) if by_severity[s]]
    return f" ({', '.join(shown)})" if shown else ""


def _reach(coverage: Coverage) -> str:
    reach = f"Looked at {len(coverage.seen)} of {coverage.total} files."
    return reach if coverage.listing_complete else f"{reach} GitHub did not list all files."


def _many(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
