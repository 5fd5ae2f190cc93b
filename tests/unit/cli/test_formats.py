"""Every output format carries the same findings, and no format obeys a stranger's text."""

import io
import json
from html.parser import HTMLParser

import pytest
from markdown_it import MarkdownIt
from rich.console import Console

from bot.cli.formats import FORMATS
from bot.cli.formats.terminal import show
from bot.cli.report import RunReport
from pipelines.model import Conclusion, Severity
from tests.support.samples import a_finding, a_result, a_run

NASTY = "<script>alert(1)</script> ![x](http://evil/a.png) @org/team \x1b[31m\u202e\n# Heading"


def report(*findings: object, **changes: object) -> RunReport:
    result = a_result(findings=findings or (a_finding(),), **changes)
    return RunReport(runs=(a_run(),), results=({"review": result},), notes=("A note.",))


def on_terminal(shown: RunReport, *, colour: bool = False) -> str:
    stream = io.StringIO()
    show(shown, Console(file=stream, force_terminal=colour, width=100, no_color=not colour))
    return stream.getvalue()


def test_the_terminal_shows_place_evidence_suggestion_and_what_was_not_seen() -> None:
    text = on_terminal(report())
    assert "shop/cart.py:3: high: An empty cart divides by zero" in text
    assert "| return sum(prices) / len(prices)" in text.replace("|     ", "| ")
    assert "if prices else 0" in text
    assert "not looked at: logo.png (binary)" in text
    assert "✗ pull-request / review: 1 finding blocks" in text
    assert "note: A note." in text
    assert "\x1b" not in text


def test_colour_is_for_terminals_only() -> None:
    assert "\x1b[" in on_terminal(report(), colour=True)


@pytest.mark.parametrize("field", ["title", "explanation", "quote", "suggestion", "path"])
def test_no_escape_sequence_reaches_the_terminal(field: str) -> None:
    text = on_terminal(report(a_finding(**{field: NASTY})))
    assert "\x1b" not in text
    assert "\u202e" not in text


def test_json_carries_every_field_and_is_ascii() -> None:
    text = FORMATS["json"](report(a_finding(title="Ärger")))
    assert text.isascii()
    data = json.loads(text)
    assert data["conclusion"] == "failure"
    assert data["findings"][0]["title"] == "Ärger"
    assert data["not_seen"] == [{"path": "logo.png", "reason": "binary"}]
    assert data["steps"][0]["step"] == "review"
    assert data["cost_usd"] == 0.0123


def test_sarif_has_the_places_levels_fingerprints_and_fixes() -> None:
    low = a_finding(fingerprint="0" * 16, severity=Severity.LOW, category="style", path="a b.py")
    log = json.loads(FORMATS["sarif"](report(a_finding(), low)))
    assert log["version"] == "2.1.0"
    (run,) = log["runs"]
    rules = [rule["id"] for rule in run["tool"]["driver"]["rules"]]
    first, second = run["results"]
    assert [first["level"], second["level"]] == ["error", "note"]
    assert rules[first["ruleIndex"]] == first["ruleId"] == "correctness"
    place = second["locations"][0]["physicalLocation"]
    assert place["artifactLocation"]["uri"] == "a%20b.py"
    assert place["region"]["startLine"] == 3
    assert first["partialFingerprints"] == {"conductor/v1": "f" * 16}
    inserted = first["fixes"][0]["artifactChanges"][0]["replacements"][0]["insertedContent"]
    assert inserted["text"].endswith("else 0")
    notes = run["invocations"][0]["toolExecutionNotifications"]
    assert notes[0]["message"]["text"] == "Not looked at: logo.png (binary)"


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.add(tag)


def test_html_escapes_everything_and_fetches_nothing() -> None:
    nasty = a_finding(title=NASTY, explanation=NASTY, path=NASTY, quote=NASTY)
    page = FORMATS["html"](report(nasty))
    tags = _Tags()
    tags.feed(page)
    assert tags.found.isdisjoint({"script", "img", "a", "link", "iframe"})
    assert "&lt;script&gt;" in page
    assert "default-src 'none'" in page


def test_markdown_keeps_its_structure_whatever_the_findings_say() -> None:
    quiet = MarkdownIt("commonmark").parse(FORMATS["markdown"](report()))
    loud = MarkdownIt("commonmark").parse(
        FORMATS["markdown"](report(a_finding(title=NASTY, explanation=NASTY)))
    )
    headings = [t.tag for t in loud if t.type == "heading_open"]
    assert headings == [t.tag for t in quiet if t.type == "heading_open"]
    inline = {child.type for token in loud for child in token.children or []}
    assert "image" not in inline
    assert "html_inline" not in inline
    assert "html_block" not in {token.type for token in loud}


def test_the_worst_run_decides_and_findings_come_worst_first() -> None:
    low = a_finding(fingerprint="0" * 16, severity=Severity.LOW)
    both = RunReport(
        runs=(a_run(conclusion=Conclusion.SUCCESS), a_run()),
        results=({"review": a_result(findings=(low,))}, {"review": a_result()}),
    )
    assert both.conclusion is Conclusion.FAILURE
    assert [f.severity for f in both.findings] == [Severity.HIGH, Severity.LOW]
