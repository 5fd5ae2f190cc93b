"""How a test step ends: one conclusion, one line, and what was run where, always."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pipelines.agents.testing.execution import Ran
from pipelines.agents.testing.judgement import Judgement, code
from pipelines.model import CaseResult, Conclusion, SandboxInfo, Task, TaskResult

_SHOWN = 10


@dataclass(frozen=True, slots=True)
class Runs:
    """All runs of the whole command: head as often as asked, base at most once."""

    heads: tuple[Ran, ...]
    base: Ran | None
    no_base: str = ""
    """Why base was not run, as a clause."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the check run says."""

    conclusion: Conclusion
    title: str


def conclude(runs: Runs, judgement: Judgement) -> Verdict:
    """Judge: failure for what the change broke, success only for a run that can be believed."""
    if judgement.new:
        return Verdict(Conclusion.FAILURE, _many(len(judgement.new), "new failure"))
    if trouble := _trouble(runs):
        return trouble
    if doubt := _doubt(judgement):
        return Verdict(Conclusion.NEUTRAL, doubt)
    if not all(ran.ended_well for ran in runs.heads):
        same = runs.base is not None and not runs.base.ended_well
        conclusion = Conclusion.NEUTRAL if same else Conclusion.FAILURE
        return Verdict(conclusion, f"The command {_worst(runs).ending}{', as on base' * same}")
    claims = runs.heads[0].claims
    if claims is None:
        return Verdict(Conclusion.SUCCESS, "The command exited with 0; it leaves no report")
    conclusion = Conclusion.SUCCESS if claims.total else Conclusion.NEUTRAL
    return Verdict(conclusion, f"{_many(claims.total, 'test')}, none fails")


def _doubt(judgement: Judgement) -> str:
    """Return why a run without new failures is not simply green; empty if it is."""
    if judgement.suspicious:
        more = f" (and {len(judgement.suspicious) - 1} more)" * (len(judgement.suspicious) > 1)
        return f"suspicious: {judgement.suspicious[0]}{more}"
    if judgement.old:
        return f"No new failure; {_many(len(judgement.old), 'test')} fail on base, too"
    return _many(len(judgement.flaky), "flaky test") if judgement.flaky else ""


def _trouble(runs: Runs) -> Verdict | None:
    """Return a verdict if the tests as a whole could not be run or did not end."""
    head, base = _worst(runs), runs.base
    like_base = base is not None and (base.started, base.result.limit) == (
        head.started,
        head.result.limit,
    )
    if not head.started and (base is None or not base.started):
        return Verdict(
            Conclusion.NEUTRAL,
            f"The tests could not be run: the command {head.ending} and found no test runner",
        )
    if head.result.limit:
        conclusion = Conclusion.NEUTRAL if like_base else Conclusion.FAILURE
        return Verdict(conclusion, f"The command {head.ending}{', as on base' * like_base}")
    return None


def _worst(runs: Runs) -> Ran:
    return next((ran for ran in runs.heads if not ran.ended_well), runs.heads[0])


def summarise(runs: Runs, judgement: Judgement, notes: Sequence[str]) -> str:
    """Return the sentences behind the verdict."""
    return "\n\n".join([*_facts(runs), *_lists(judgement), *_output(runs, judgement), *notes])


def _facts(runs: Runs) -> Iterator[str]:
    head = runs.heads[0]
    info = head.result.sandbox
    image = head.result.image
    place = f"Sandbox: {info.name}, level {info.level}{f', image {image}' if image else ''}."
    yield f"Command: {code(head.recipe.shown)}. {place}{_why(info)}"
    for number, ran in enumerate(runs.heads, 1):
        which = f", run {number}" if len(runs.heads) > 1 else ""
        yield f"Head {ran.sha}{which}: {_outcome(ran)}"
    yield f"Base {runs.base.sha}: {_outcome(runs.base)}" if runs.base else f"Base: {runs.no_base}."
    if head.coverage and head.coverage.total:
        covered, total = head.coverage.total_covered, head.coverage.total
        yield f"Coverage by its own report: {covered} of {total} lines ({covered / total:.0%})."


def _why(info: SandboxInfo) -> str:
    return f" Not stronger because: {info.reason.rstrip('.')}." if info.reason else ""


def _outcome(ran: Ran) -> str:
    said = f"{ran.ending} after {ran.result.seconds:.1f} s"
    if ran.claims is None:
        return f"{said}; no report{f': {ran.problem}' if ran.problem else ''}."
    cases = ran.claims.cases
    parts = [
        f"{count} {outcome}"
        for outcome in ("passed", "failed", "error", "skipped")
        if (count := sum(case.outcome == outcome for case in cases))
    ]
    cut = f" (the first {len(cases)} of {ran.claims.total})" * (ran.claims.total > len(cases))
    return f"{said}; its report claims: {', '.join(parts) or 'no test'}{cut}."


def _lists(judgement: Judgement) -> Iterator[str]:
    if judgement.suspicious:
        yield "\n".join(["Suspicious:", *(f"- {clause}" for clause in judgement.suspicious)])
    yield from _cases("New failures, not on base:", judgement.new)
    yield from _cases("Flaky, passed in another run of the same commit:", judgement.flaky)
    yield from _cases("Old failures, on base too, that do not block:", judgement.old)


def _cases(heading: str, cases: Sequence[CaseResult]) -> Iterator[str]:
    if not cases:
        return
    more = [f"- and {len(cases) - _SHOWN} more"] if len(cases) > _SHOWN else []
    yield "\n".join([heading, *(f"- {code(case.name)}" for case in cases[:_SHOWN]), *more])


def _output(runs: Runs, judgement: Judgement) -> Iterator[str]:
    """Show the end of the output where there is no report of a failure to look at."""
    ran = _worst(runs)
    if ran.ended_well or judgement.new or not ran.excerpt.strip():
        return
    fence = "~" * (
        3 + max((len(run) for run in ran.excerpt.split() if set(run) == {"~"}), default=0)
    )
    yield f"The end of its output:\n\n{fence}\n{ran.excerpt[-2000:].strip()}\n{fence}"


def not_run(task: Task, reason: str, title: str = "") -> TaskResult:
    """Return the result of a step in which no test was run."""
    return TaskResult(
        task_id=task.id,
        status="completed",
        conclusion=Conclusion.NEUTRAL,
        title=title or reason,
        summary=reason,
        outputs={"ran": False},
    )


def _many(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
