"""What monitoring saw, for people to read: numbers in a table, the signal as a small curve."""

from collections.abc import Callable, Sequence

from bot.github.markers import Feedback
from bot.reporting.render import code_span, fence, line, plain
from pipelines.model import Breach, FeedbackPayload

_LEVELS = "▁▂▃▄▅▆▇█"
_NONE = "\N{EN DASH}"

Redact = Callable[[str], str]


def redacted_payload(payload: FeedbackPayload, redact: Redact) -> FeedbackPayload:
    """Return the payload without secrets in what names and describes.

    A mask may be longer than what it hides, and a marker with a text beyond its limit could not be
    read again.
    """
    return payload.model_copy(
        update={
            "title": redact(payload.title)[:200],
            "breaches": tuple(
                breach.model_copy(
                    update={
                        "rule": redact(breach.rule)[:100],
                        "query": redact(breach.query)[:4096],
                        "unit": redact(breach.unit),
                    }
                )
                for breach in payload.breaches
            ),
            "findings": tuple(redact(text) for text in payload.findings),
            "recommendations": tuple(redact(text) for text in payload.recommendations),
            "suspected_paths": tuple(redact(path) for path in payload.suspected_paths),
        }
    )


def issue_title(payload: FeedbackPayload) -> str:
    """Return the issue's title: what is wrong and where, as the monitor says it."""
    return plain(payload.title, 250)


def report(feedback: Feedback) -> list[str]:
    """Return the blocks of the issue's text; all of it is computed, none of it is a model's."""
    payload = feedback.payload
    blocks = [
        f"Monitoring of {code_span(payload.environment)} reports: **{line(payload.title)}**, "
        f"severity `{payload.severity.value}`, seen {_times(feedback.occurrences)}, "
        f"last at {payload.observed_at:%Y-%m-%d %H:%M:%S} UTC.",
        _table(payload.breaches),
        *(_curve(breach) for breach in payload.breaches if len(breach.points) > 1),
        _bullets("What was found", payload.findings),
        _suspect(payload),
        _failed(feedback),
        _bullets("What to do", payload.recommendations),
        _queries(payload.breaches),
    ]
    return [block for block in blocks if block]


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _table(breaches: Sequence[Breach]) -> str:
    head = "| Signal | Observed | Before | Bounds | Samples | Severity |\n|---|---|---|---|---|---|"
    return "\n".join([head, *(_row(breach) for breach in breaches)])


def _row(breach: Breach) -> str:
    cells = [
        code_span(breach.rule.replace("|", "\N{BOX DRAWINGS LIGHT VERTICAL}")) or _NONE,
        _amount(breach.observed, breach.unit),
        _amount(breach.baseline, breach.unit),
        _bounds(breach) or _NONE,
        str(breach.samples),
        breach.severity.value,
    ]
    return f"| {' | '.join(cells)} |"


def _amount(value: float | None, unit: str) -> str:
    return _NONE if value is None else line(f"{_number(value)} {unit}", 40)


def _number(value: float) -> str:
    return f"{value:.4g}"


def _bounds(breach: Breach) -> str:
    bounds = (("at most", breach.above), ("at least", breach.below))
    return ", ".join(f"{word} {_number(value)}" for word, value in bounds if value is not None)


def _curve(breach: Breach) -> str:
    low, high = min(breach.points), max(breach.points)
    span = high - low or 1.0
    steps = (int((point - low) / span * (len(_LEVELS) - 1)) for point in breach.points)
    drawn = "".join(_LEVELS[step] for step in steps)
    return f"{code_span(breach.rule)} from {_number(low)} to {_number(high)}:\n\n{fence(drawn)}"


def _bullets(title: str, lines: Sequence[str]) -> str:
    rows = [f"- {line(text, 500)}" for text in lines if text.strip()]
    return "\n".join([f"**{title}**", "", *rows]) if rows else ""


def _suspect(payload: FeedbackPayload) -> str:
    """Name the commit bare: GitHub itself makes a link of it."""
    if payload.suspected_sha is None:
        return ""
    paths = ", ".join(code_span(path) for path in payload.suspected_paths[:20])
    tail = f" It changed {paths}." if paths else ""
    return f"It began after the deployment of {payload.suspected_sha}.{tail}"


def _failed(feedback: Feedback) -> str:
    """Name the fixes bare, as links to them."""
    numbers = ", ".join(f"#{fix.number}" for fix in feedback.failed)
    if not numbers:
        return ""
    what = "fix" if len(feedback.failed) == 1 else "fixes"
    tail = " People are needed." if feedback.given_up else ""
    return f"The {what} in {numbers} did not help.{tail}"


def _queries(breaches: Sequence[Breach]) -> str:
    asked = [f"{code_span(one.rule)}\n\n{fence(one.query)}" for one in breaches if one.query]
    if not asked:
        return ""
    head = "<details><summary>Queries</summary>"
    return "\n\n".join([head, *asked, "</details>"])
