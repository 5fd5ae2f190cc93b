"""What a local run found, in the form that all output formats start from."""

from collections.abc import Sequence

from pipelines.model import (
    CodeVersion,
    Conclusion,
    Coverage,
    Finding,
    Frozen,
    TaskResult,
    Unseen,
    WorkflowRun,
)
from pipelines.orchestration.outcome import WORST_FIRST


class RunReport(Frozen):
    """All workflow runs of one local run with the results of their steps, by step name."""

    runs: tuple[WorkflowRun, ...]
    results: tuple[dict[str, TaskResult], ...]
    notes: tuple[str, ...] = ()
    """What the reader should know besides, e.g. that uncommitted changes were not looked at."""

    @property
    def conclusion(self) -> Conclusion:
        """The worst conclusion of all runs."""
        reached = {run.conclusion for run in self.runs}
        return next((c for c in WORST_FIRST if c in reached), Conclusion.NEUTRAL)

    @property
    def all_results(self) -> Sequence[TaskResult]:
        """Every result, run by run and step by step."""
        return [
            results[step.name]
            for run, results in zip(self.runs, self.results, strict=True)
            for step in run.steps
            if step.name in results
        ]

    @property
    def findings(self) -> Sequence[Finding]:
        """Every finding once, worst first, then by place."""
        unique = {f.fingerprint: f for result in self.all_results for f in result.findings}
        return sorted(unique.values(), key=lambda f: (-f.severity.rank, f.path, f.start_line))

    @property
    def proposals(self) -> Sequence[CodeVersion]:
        """Every file that an agent would change; a local run shows it and writes nothing."""
        found = (artifact for result in self.all_results for artifact in result.artifacts)
        return [artifact for artifact in found if isinstance(artifact, CodeVersion)]

    @property
    def unseen(self) -> Sequence[Unseen]:
        """Every file that some step should have looked at and did not, or not wholly."""
        coverages = [result.coverage for result in self.all_results]
        return sorted(
            {u.path: u for c in coverages for u in (*c.unseen, *c.partial)}.values(),
            key=lambda u: u.path,
        )

    @property
    def coverage(self) -> Coverage | None:
        """The coverage of the first step that has one."""
        return next((r.coverage for r in self.all_results if r.coverage.total), None)

    @property
    def cost_usd(self) -> float:
        """What all model calls cost."""
        return sum(result.usage.cost_usd for result in self.all_results)
