"""Compares runs: which failures are new, which are old, which come and go, and what is fishy."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pipelines.agents.fence import presentable
from pipelines.agents.testing.execution import Ran
from pipelines.agents.testing.reports import Claims
from pipelines.model import CaseResult

_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the runs of head, against the run of base, amount to."""

    new: tuple[CaseResult, ...] = ()
    """Failures at head in every run that base does not have."""
    old: tuple[CaseResult, ...] = ()
    flaky: tuple[CaseResult, ...] = ()
    """Cases that failed in some runs of head and passed in others."""
    suspicious: tuple[str, ...] = ()
    """Clauses about a report that should not be believed as it is."""


def judge(heads: Sequence[Ran], base: Ran | None) -> Judgement:
    """Judge at least one run of head."""
    failing = {case.name: case for ran in heads for case in _claims(ran).failures}
    always = frozenset[str].intersection(*(_claims(r).names("failed", "error") for r in heads))
    before = _claims(base).names("failed", "error") if base else frozenset[str]()
    fishy = dict.fromkeys(clause for ran in heads for clause in _suspicions(ran, base))
    return Judgement(
        new=tuple(c for name, c in failing.items() if name in always and name not in before),
        old=tuple(c for name, c in failing.items() if name in before),
        flaky=tuple(c for name, c in failing.items() if name not in always | before),
        suspicious=tuple(fishy),
    )


def _claims(ran: Ran) -> Claims:
    return ran.claims or Claims()


def _suspicions(head: Ran, base: Ran | None) -> Iterator[str]:
    """Yield what speaks against a run, by itself and compared with base."""
    yield from _without_report(head, base)
    if head.claims is None:
        return
    if head.ended_well and head.claims.failures:
        count = len(head.claims.failures)
        yield f"the command exited with 0, but its report has {_many(count, 'failure')}"
    before = base.claims if base else None
    if head.ended_well and not head.claims.total and not (before and not before.total):
        yield "0 tests collected"
    if head.claims.miscounted and not (before and before.miscounted):
        yield "the report's own totals are not those of its tests"
    known = before.repeated if before else ()
    if repeated := [name for name in head.claims.repeated if name not in known]:
        yield f"{_many(len(repeated), 'name')} duplicated: {_listed(repeated)}"
    if base and before:
        yield from _against_base(head, head.claims, base, before)


def _without_report(head: Ran, base: Ran | None) -> Iterator[str]:
    if head.claims is not None or not head.ended_well:
        return
    usual = base is None or base.claims is not None or head.recipe.expected
    if head.recipe.report != "none" and usual:
        yield f"the command exited with 0, but {_clause(head.problem)}"


def _clause(problem: str) -> str:
    return problem if problem.startswith("the command") else f"of its report: {problem}"


def _against_base(head: Ran, now: Claims, base: Ran, before: Claims) -> Iterator[str]:
    passed = before.names("passed")
    # A run that failed may have lost tests with the module that does not load.
    if head.ended_well and (vanished := sorted(passed - now.names())):
        yield f"{_many(len(vanished), 'test')} vanished: {_listed(vanished)}"
    if skipped := sorted(passed & now.names("skipped") - now.names("passed")):
        yield f"{_many(len(skipped), 'test')} newly skipped: {_listed(skipped)}"
    if not head.ended_well or now.failures:
        return
    printed, usual = head.printed_passes, base.printed_passes
    if usual is not None and printed is None:
        yield "the test runner did not print its closing line, as it does on base"
    elif usual == _count_passed(before) and printed not in (None, _count_passed(now)):
        yield f"the report has {_count_passed(now)} passes, the output {printed}"


def _count_passed(claims: Claims) -> int:
    return sum(case.outcome == "passed" for case in claims.cases)


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(code(name) for name in names[:_SHOWN])
    return f"{shown} and {len(names) - _SHOWN} more" if len(names) > _SHOWN else shown


def code(name: str) -> str:
    """Return a stranger's words as one span of Markdown code."""
    return f"`{' '.join(presentable(name).replace('`', chr(39)).split())[:200]}`"


def block(text: str) -> str:
    """Return a stranger's lines as one block of Markdown code."""
    fence = "~" * 8
    return f"{fence}\n{text.replace(fence, '')}\n{fence}"


def _many(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
