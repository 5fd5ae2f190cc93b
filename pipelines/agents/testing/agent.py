"""Tests a change: runs head and base, compares what they claim, and writes what is missing."""

from dataclasses import dataclass, replace
from typing import ClassVar

from pipelines.agents.base import BaseAgent
from pipelines.agents.context import AgentContext
from pipelines.agents.testing.control import control
from pipelines.agents.testing.execution import Bench, Ran
from pipelines.agents.testing.findings import findings_of
from pipelines.agents.testing.judgement import Judgement, code, judge
from pipelines.agents.testing.options import Options
from pipelines.agents.testing.recipe import Recipe, whole
from pipelines.agents.testing.subject import Subject
from pipelines.agents.testing.verdict import Runs, conclude, not_run, summarise
from pipelines.agents.testing.writing import Written, nothing, write_missing
from pipelines.errors import UserError
from pipelines.model import Conclusion, Task, TaskResult, TestReport

_NO_COMMAND = (
    "No test command was found in the repository; set `run` in the step to the one it uses"
)

_DECIDING = frozenset(
    {
        "conftest.py", "pytest.ini", "tox.ini", "setup.cfg", "pyproject.toml", "sitecustomize.py",
        "usercustomize.py", "package.json", "Makefile", "go.mod", "pom.xml", "build.gradle",
    }
)  # fmt: skip


class TestAgent(BaseAgent):
    """Runs the tests of head and base in the sandbox; keeps a generated test only with proof.

    Options: as ``TestOptions`` of the configuration.
    """

    __test__ = False
    name: ClassVar[str] = "test"

    def _validate_task(self, task: Task) -> None:
        super()._validate_task(task)
        Options.of(task)

    async def _execute(self, task: Task, context: AgentContext) -> TaskResult:
        info = await context.workplace.sandbox()
        if not info.usable:
            reason = f"no sandbox, tests not run: {info.reason or 'none is there'}"
            return not_run(task, reason, "no sandbox, tests not run")
        subject = await Subject.read(context.workplace)
        options = Options.of(task)
        recipe = whole(subject.layout, options.wishes)
        if recipe is None:
            return not_run(task, _NO_COMMAND)
        seconds = options.timeout(task.deadline - context.clock.now())
        change = task.change
        bench = Bench(context.workplace, change.head_sha, change.base_sha, seconds)
        session = _Session(task, context, subject, bench)
        runs = await _run_all(bench, recipe, options.repeat)
        judgement, note = await _checked(session, recipe, runs)
        written = await _write(session, runs, judgement)
        return await _result(session, runs, judgement, (*_notes(subject), note), written)


@dataclass(frozen=True, slots=True)
class _Session:
    """What every part of one task works with."""

    task: Task
    context: AgentContext
    subject: Subject
    bench: Bench


async def _run_all(bench: Bench, recipe: Recipe, repeat: int) -> Runs:
    """Run base once if there is one, then head as often as asked."""
    heads = [await bench.run(recipe) for _ in range(repeat)]
    if set(bench.base_sha) == {"0"} or bench.base_sha == bench.head_sha:
        return Runs(tuple(heads), None, "not run, because there is no commit to compare with")
    try:
        base = await bench.run(recipe, at="base")
    except UserError as error:
        return Runs(tuple(heads), None, f"not run: {str(error).rstrip('.')}")
    return Runs(tuple(heads), base)


async def _checked(session: _Session, recipe: Recipe, runs: Runs) -> tuple[Judgement, str]:
    """Judge the runs; a green one that could be forged has to pass a control, too."""
    task, layout = session.task, session.subject.layout
    judgement = judge(runs.heads, runs.base)
    doubtful = task.tainted or task.change.from_fork or bool(_deciding(session.subject))
    green = conclude(runs, judgement).conclusion is Conclusion.SUCCESS
    if not (doubtful and green and runs.heads[0].claims):
        return judgement, ""
    wishes, rng = Options.of(task).wishes, session.context.rng
    outcome = await control(session.bench, recipe, layout, wishes, rng)
    if not outcome.suspicion:
        return judgement, outcome.note
    return replace(judgement, suspicious=(*judgement.suspicious, outcome.suspicion)), ""


async def _write(session: _Session, runs: Runs, judgement: Judgement) -> Written:
    """Have missing tests written where a proof means something: over a run that is sound."""
    subject = session.subject
    if not Options.of(session.task).generate:
        return nothing()
    if subject.layout is None:
        return nothing("No test was written: the project's test framework is not known.")
    if judgement.new or judgement.suspicious or judgement.flaky or not runs.heads[0].started:
        return nothing("No test was written: the tests that are there come first.")
    claims = runs.heads[0].claims
    return await write_missing(
        session.task,
        session.context,
        (subject.layout, subject.tree, subject.changed),
        session.bench,
        claims.names() if claims else frozenset(),
    )


async def _result(
    session: _Session,
    runs: Runs,
    judgement: Judgement,
    notes: tuple[str, ...],
    written: Written,
) -> TaskResult:
    task, subject = session.task, session.subject
    findings = await findings_of(
        judgement.new, session.context.reader, subject.paths, subject.changed
    )
    verdict = conclude(runs, judgement)
    return TaskResult(
        task_id=task.id,
        status="completed",
        conclusion=verdict.conclusion,
        title=verdict.title,
        summary=summarise(runs, judgement, [n for n in (*notes, *written.notes) if n]),
        findings=findings,
        effects=written.effects,
        artifacts=(*_reports(runs, judgement), *written.artifacts),
        outputs={
            "ran": True,
            "passed": verdict.conclusion is Conclusion.SUCCESS,
            "new_failures": len(judgement.new),
            "old_failures": len(judgement.old),
            "suspicious": len(judgement.suspicious),
            "tests_kept": len(written.kept),
        },
    )


def _reports(runs: Runs, judgement: Judgement) -> list[TestReport]:
    every: list[Ran] = [*runs.heads, *([runs.base] if runs.base else [])]
    return [r.artifact(judgement.suspicious if r.at == "head" else ()) for r in every]


def _deciding(subject: Subject) -> list[str]:
    """Return the changed files that decide how tests run."""
    return sorted(path for path in subject.changed if path.rsplit("/", 1)[-1] in _DECIDING)


def _notes(subject: Subject) -> list[str]:
    """Say what a reader should know before believing the result."""
    notes: list[str] = []
    if touched := _deciding(subject):
        listed = ", ".join(code(path) for path in touched[:5])
        notes.append(f"This change edits what decides how tests run: {listed}.")
    if subject.others:
        names = ", ".join(layout.framework for layout in subject.others)
        notes.append(f"Also found and not run: {names}; a step with `run` of its own runs them.")
    if not subject.tree.complete:
        notes.append("The source did not list all files of the commit.")
    if not subject.complete:
        notes.append("The source did not list all changed files.")
    return notes
