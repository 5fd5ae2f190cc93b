"""The JSON that ``jest --json`` writes."""

import json
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pipelines.agents.testing.reports.claims import (
    MAX_CHARACTERS,
    CaseOutcome,
    Claims,
    UnreadableReport,
    case,
    claims_of,
)
from pipelines.model import CaseResult

_OUTCOMES: dict[str, CaseOutcome] = {
    "passed": "passed",
    "failed": "failed",
    "pending": "skipped",
    "skipped": "skipped",
    "todo": "skipped",
    "disabled": "skipped",
}


class _Lax(BaseModel):
    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True)


class _Assertion(_Lax):
    full_name: str = Field(alias="fullName")
    status: str
    duration: float | None = None
    failures: list[str] = Field(default_factory=list[str], alias="failureMessages")


class _File(_Lax):
    name: str
    status: str = ""
    message: str = ""
    assertions: list[_Assertion] = Field(alias="assertionResults")


class _Report(_Lax):
    total: int | None = Field(default=None, alias="numTotalTests")
    files: list[_File] = Field(alias="testResults")


def read_jest(text: str) -> Claims:
    """Return the report's claims; UnreadableReport if it is not jest's JSON."""
    if len(text) > MAX_CHARACTERS:
        raise UnreadableReport("it is larger than 10 MiB")
    try:
        report = _Report.model_validate(cast("object", json.loads(text)))
    except (ValidationError, ValueError, RecursionError) as error:
        raise UnreadableReport("it is not what jest writes") from error
    listed = sum(len(file.assertions) for file in report.files)
    cases = [item for file in report.files for item in _cases(file)]
    return claims_of(cases, miscounted=report.total is not None and report.total != listed)


def _cases(file: _File) -> Iterator[CaseResult]:
    short = PurePosixPath(file.name).name
    if file.status == "failed" and not file.assertions:
        yield case(short, "error", message=file.message, path=file.name)
    for item in file.assertions:
        yield case(
            f"{short}::{item.full_name}",
            _OUTCOMES.get(item.status, "error"),
            seconds=(item.duration or 0.0) / 1000,
            message="\n".join(item.failures),
            path=file.name,
        )
