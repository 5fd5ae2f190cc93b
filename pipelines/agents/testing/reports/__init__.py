"""Reads what test runners report; all of it is a claim by the code under test."""

from pipelines.agents.testing.reports.claims import Claims, UnreadableReport, claims_of
from pipelines.agents.testing.reports.coverage import CoveredLines, read_coverage
from pipelines.agents.testing.reports.jest import read_jest
from pipelines.agents.testing.reports.junit import read_junit
from pipelines.agents.testing.reports.lines import read_go, read_unittest

__all__ = [
    "Claims",
    "CoveredLines",
    "UnreadableReport",
    "claims_of",
    "read_coverage",
    "read_go",
    "read_jest",
    "read_junit",
    "read_unittest",
]
