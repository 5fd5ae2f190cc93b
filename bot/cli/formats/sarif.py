"""SARIF 2.1.0, which code hosts and editors show as annotations.

https://docs.oasis-open.org/sarif/sarif/v2.1.0/os/sarif-v2.1.0-os.html
"""

import json
from typing import Any
from urllib.parse import quote

from bot import __version__
from bot.cli.report import RunReport
from pipelines.model import Finding, Severity

_LEVELS = {
    Severity.CRITICAL: "error",
    Severity.HIGH: "error",
    Severity.MEDIUM: "warning",
    Severity.LOW: "note",
    Severity.INFO: "note",
}


def as_sarif(report: RunReport) -> str:
    """Return a log with one run; files that were not looked at are notifications."""
    categories = sorted({finding.category for finding in report.findings})
    run: dict[str, Any] = {
        "tool": {
            "driver": {
                "name": "Conductor",
                "semanticVersion": __version__,
                "rules": [{"id": category} for category in categories],
            }
        },
        "columnKind": "unicodeCodePoints",
        "results": [_result(finding, categories) for finding in report.findings],
        "invocations": [
            {
                "executionSuccessful": all(run.conclusion is not None for run in report.runs),
                "toolExecutionNotifications": [
                    {
                        "level": "warning",
                        "message": {"text": f"Not looked at: {unseen.path} ({unseen.reason})"},
                        "locations": [{"physicalLocation": _file(unseen.path)}],
                    }
                    for unseen in report.unseen
                ],
            }
        ],
    }
    return json.dumps({"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2)


_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"


def _result(finding: Finding, categories: list[str]) -> dict[str, Any]:
    region = {"startLine": finding.start_line, "endLine": finding.line}
    result: dict[str, Any] = {
        "ruleId": finding.category,
        "ruleIndex": categories.index(finding.category),
        "level": _LEVELS[finding.severity],
        "message": {"text": f"{finding.title}\n\n{finding.explanation}"},
        "partialFingerprints": {"conductor/v1": finding.fingerprint},
        "locations": [
            {
                "physicalLocation": _file(finding.path)
                | {"region": region | {"snippet": {"text": finding.quote}}}
            }
        ],
    }
    if finding.suggestion is not None:
        result["fixes"] = [_fix(finding, region)]
    return result


def _fix(finding: Finding, region: dict[str, int]) -> dict[str, Any]:
    replacement = {"deletedRegion": region, "insertedContent": {"text": finding.suggestion}}
    change = _file(finding.path) | {"replacements": [replacement]}
    return {"description": {"text": finding.title}, "artifactChanges": [change]}


def _file(path: str) -> dict[str, Any]:
    return {"artifactLocation": {"uri": quote(path), "uriBaseId": "%SRCROOT%"}}
