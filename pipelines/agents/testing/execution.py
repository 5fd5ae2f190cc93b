"""Runs a recipe in the sandbox and puts exit code and report side by side."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from pipelines.agents.fence import presentable
from pipelines.agents.testing.recipe import Recipe
from pipelines.agents.testing.reports import (
    Claims,
    CoveredLines,
    UnreadableReport,
    read_coverage,
    read_go,
    read_jest,
    read_junit,
    read_unittest,
)
from pipelines.model import CaseResult, FileEdit, SandboxJob, SandboxResult, Sha, TestReport
from pipelines.ports import Workplace

_READERS = {"junit": read_junit, "jest": read_jest, "go": read_go}
_CANNOT_START = (126, 127)
_NO_MODULE = re.compile(r"No module named '?(pytest|unittest)\b")
_CLOSING = re.compile(r"^(?:=+ )?(?:\d+ \w+(?:, )?)+ in [\d.]+s\b", re.MULTILINE)
_PASSED = re.compile(r"\b(\d{1,9}) passed\b")
_MAX_EXCERPT = 6_000
_MAX_STORED = 128 * 1024


@dataclass(frozen=True, slots=True)
class Ran:
    """One run: what happened to the command, and what its report claims."""

    at: Literal["head", "base"]
    sha: Sha
    recipe: Recipe
    result: SandboxResult
    claims: Claims | None
    problem: str = ""
    """A clause that says why there are no claims although a report was asked for."""
    coverage: CoveredLines | None = None
    """None also if the report could not be read: coverage is told, and decides nothing."""

    @property
    def started(self) -> bool:
        """Whether the test runner was there at all."""
        missing = self.claims is None and _NO_MODULE.search(self.result.output) is not None
        return self.result.exit_code not in _CANNOT_START and not missing

    @property
    def ended_well(self) -> bool:
        """Whether the command said by its exit code that all is well."""
        return self.result.exit_code == 0 and not self.result.limit

    @property
    def ending(self) -> str:
        """How the command ended, as a clause."""
        if self.result.limit:
            return f"was stopped at its {self.result.limit} limit"
        return f"exited with {self.result.exit_code}"

    @property
    def printed_passes(self) -> int | None:
        """How many tests pytest's closing line says passed; None if it printed none."""
        if not _CLOSING.search(self.result.output):
            return None
        found = _PASSED.findall(self.result.output)
        return int(found[-1]) if found else 0

    @property
    def excerpt(self) -> str:
        """The end of the output, presentable."""
        return presentable(self.result.output[-_MAX_EXCERPT:])

    def artifact(self, suspicious: Sequence[str] = ()) -> TestReport:
        """Return the run as the Test Data Store keeps it: failures first, about 128 KiB in all."""
        return TestReport(
            sha=self.sha,
            command=self.recipe.shown,
            sandbox=self.result.sandbox.name,
            image=self.result.image or self.recipe.image,
            exit_code=self.result.exit_code,
            cases=_kept(self.claims.cases) if self.claims else (),
            covered_lines=self.coverage.total_covered if self.coverage else None,
            total_lines=self.coverage.total if self.coverage else None,
            suspicious=tuple(suspicious),
        )


@dataclass(frozen=True, slots=True)
class Bench:
    """Where things are run: a workplace, the two commits, and the time that one run may take."""

    workplace: Workplace
    head_sha: Sha
    base_sha: Sha
    timeout_seconds: float

    async def run(
        self,
        recipe: Recipe,
        *,
        at: Literal["head", "base"] = "head",
        edits: tuple[FileEdit, ...] = (),
    ) -> Ran:
        """Run a recipe over one commit's files with edits laid over them."""
        job = SandboxJob(
            at=at,
            edits=edits,
            command=recipe.command,
            image=recipe.image,
            environment=recipe.environment,
            collect=recipe.collect,
            timeout_seconds=self.timeout_seconds,
        )
        result = await self.workplace.run(job)
        claims, problem = _claims(recipe, result)
        sha = self.head_sha if at == "head" else self.base_sha
        return Ran(at, sha, recipe, result, claims, problem, _coverage(recipe, result))


def _kept(cases: Sequence[CaseResult]) -> tuple[CaseResult, ...]:
    """Return as many cases as there is room for, failures first."""
    kept: list[CaseResult] = []
    left = _MAX_STORED
    for case in sorted(cases, key=lambda case: case.outcome in ("passed", "skipped")):
        left -= len(case.model_dump_json())
        if left < 0:
            break
        kept.append(case)
    return tuple(kept)


def _claims(recipe: Recipe, result: SandboxResult) -> tuple[Claims | None, str]:
    try:
        if recipe.report == "unittest":
            return read_unittest(result.output), ""
        if recipe.report == "none" or recipe.report_path is None:
            return None, ""
        text = result.files.get(recipe.report_path)
        if text is None:
            return None, result.refused.get(recipe.report_path) or "the command left no report"
        return _READERS[recipe.report](text), ""
    except UnreadableReport as error:
        return None, str(error)


def _coverage(recipe: Recipe, result: SandboxResult) -> CoveredLines | None:
    text = result.files.get(recipe.coverage_path or "")
    try:
        return read_coverage(text) if text else None
    except UnreadableReport:
        return None
