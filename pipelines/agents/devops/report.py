"""The task's result: a pull request with what is known about each file, or why there is none."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from pydantic import JsonValue

from pipelines.agents.branches import branch_in, series_of
from pipelines.agents.devops.building import Build
from pipelines.agents.devops.deliverables import KINDS
from pipelines.agents.devops.problems import Problem, code, errors
from pipelines.agents.devops.stack import Stack
from pipelines.agents.devops.survey import Survey
from pipelines.agents.devops.verification import Verdict
from pipelines.agents.devops.writing import DevopsAnswer
from pipelines.agents.fence import one_line
from pipelines.agents.workspace import FileChange
from pipelines.config.steps import Deliverable
from pipelines.model import (
    CodeVersion,
    Conclusion,
    ExecutionRecord,
    FileEdit,
    OpenPullRequest,
    PushCommit,
    Task,
    TaskResult,
)
from pipelines.paths import refused_path

_MAX_TITLE = 200
_MAX_HEADLINE = 72
_MAX_WORDS = 1_500
_MAX_ROWS = 30
_MAX_BODY = 50_000


@dataclass(frozen=True, slots=True)
class Work:
    """All that is known when the result is written."""

    task: Task
    asked: tuple[Deliverable, ...]
    stack: Stack
    survey: Survey
    verdicts: Mapping[str, Verdict]
    """Of every file that was written, by path."""
    changes: tuple[FileChange, ...]
    edits: tuple[FileEdit, ...]
    builds: Mapping[str, Build] = field(default_factory=dict[str, Build])
    """By path of a Dockerfile, whether an image was built of it, and if not why."""
    answer: DevopsAnswer | None = None
    why: str = ""
    """Why the model did not come to an end, as half a sentence; empty if it did."""
    refused: tuple[str, ...] = ()
    rounds: int = 0

    @property
    def proposed(self) -> tuple[FileChange, ...]:
        """The changes that nothing speaks against."""
        return tuple(change for change in self.changes if self.verdicts[change.path].good)

    @property
    def unbuilt(self) -> tuple[str, ...]:
        """The Dockerfiles among the proposed of which no image came."""
        paths = (change.path for change in self.proposed)
        return tuple(path for path in paths if path in self.builds and not self.builds[path].ok)

    @property
    def dropped(self) -> tuple[Verdict, ...]:
        """The files that still have errors."""
        return tuple(verdict for verdict in self.verdicts.values() if not verdict.good)

    def without_changes(self) -> "Work":
        """Return the same with what was written thrown away."""
        return replace(self, verdicts={}, changes=(), edits=())

    @property
    def missing(self) -> tuple[Deliverable, ...]:
        """What was wanting and still is."""
        done = {self.verdicts[change.path].kind for change in self.proposed}
        return tuple(name for name in self.survey.wanting if name not in done)


def nothing_to_do(work: Work) -> TaskResult:
    """Return the result where everything that was asked for is there and in order."""
    present = work.survey.verdicts.values()
    said = [f"{_kinds(work.asked)}: there, and nothing speaks against what is there."]
    said += _about_files(present)
    return _result(work, Conclusion.SUCCESS, "Nothing to do: all that was asked for is there", said)


def could_not(work: Work, why: str) -> TaskResult:
    """Return a result without a commit that says why."""
    said = [f"Nothing was proposed, because {why}.", *_about_dropped(work), *_about_refused(work)]
    said += _opinion(work)
    return _result(work, Conclusion.NEUTRAL, f"Could not, because {why}", said)


def propose(work: Work) -> TaskResult:
    """Return the result with its pull request."""
    task, count = work.task, len(work.proposed)
    complete = not work.missing and not work.dropped
    files = f"{count} file{'' if count == 1 else 's'}"
    if not complete:
        files = f"{count} of {count + len(work.dropped)} files"
    unbuilt = ", not built" if work.unbuilt else ""
    title = f"Proposes {files}{unbuilt}: {_headline(work)}"
    said = [*facts(work), *_waits(work), *_opinion(work)]
    result = _result(work, Conclusion.SUCCESS if complete else Conclusion.NEUTRAL, title, said)
    paths = {change.path for change in work.proposed}
    change = task.change
    series = series_of(task.step, _into(task))
    commit = PushCommit(
        head_sha=change.head_sha,
        branch=f"{series}new",
        edits=tuple(edit for edit in work.edits if edit.path in paths),
        headline=_headline(work),
        body="\n".join(_about_files([work.verdicts[path] for path in sorted(paths)])),
    )
    effect = OpenPullRequest(
        head_sha=change.head_sha,
        commit=commit.model_copy(update={"branch": branch_in(series, commit, task)}),
        series=series,
        base_ref=_into(task),
        title=_headline(work),
        body="\n\n".join([*facts(work), *_opinion(work)])[:_MAX_BODY],
    )
    return result.model_copy(update={"effects": (effect,)})


def facts(work: Work) -> Iterator[str]:
    """Yield what was done and found out, as paragraphs; nothing of it is the model's word."""
    rows = [
        f"- {code(change.path)}: {KINDS[work.verdicts[change.path].kind].title}, {change.kind}, "
        f"+{change.additions} −{change.deletions}"  # noqa: RUF001 - a real minus sign
        for change in work.proposed
    ]
    yield "\n".join(["What builds and ships this repository:", *rows])
    verdicts = [work.verdicts[change.path] for change in work.proposed]
    yield "\n".join(["How it was checked:", *_about_files(verdicts)])
    known = [f"- {code(v.path)}, {problem}" for v in verdicts for problem in v.problems]
    if known:
        more = [f"- and {len(known) - _MAX_ROWS} more"] if len(known) > _MAX_ROWS else []
        yield "\n".join(["Worth knowing:", *known[:_MAX_ROWS], *more])
    if work.builds:
        yield "\n".join(["Images:", *(f"- {build.said}" for build in work.builds.values())])
    yield from _about_dropped(work)
    yield from _about_refused(work)
    yield f"Found in the repository: {_stack(work.stack)}."


def _about_files(verdicts: Iterable[Verdict]) -> list[str]:
    rows: list[str] = []
    for verdict in verdicts:
        done = ", ".join(f"{each.name} ({each.found or 'no'} findings)" for each in verdict.checks)
        rows.append(f"- {code(verdict.path)}: {done}")
        rows += [f"- {code(verdict.path)}: {why}" for why in verdict.unchecked]
    return rows[: 2 * _MAX_ROWS]


def _about_dropped(work: Work) -> Iterator[str]:
    if work.dropped:
        rows = [
            f"- {code(verdict.path)}, {problem}"
            for verdict in work.dropped
            for problem in map(_told, errors(verdict.problems)[:5])
        ]
        yield "\n".join(["Not proposed, because the checks still fail:", *rows[:_MAX_ROWS]])
    written = {verdict.kind for verdict in work.verdicts.values()}
    rows = [
        f"- {KINDS[name].title}: {one_line(sentence, 300)}"
        for name in work.missing
        if name not in written
        for sentence in work.survey.wanting[name][:5]
    ]
    if rows:
        yield "\n".join(["Asked for and not written:", *rows[:_MAX_ROWS]])


def _told(problem: Problem) -> str:
    return one_line(str(problem), 500)


def _about_refused(work: Work) -> Iterator[str]:
    rows = [f"- {one_line(sentence, 300)}" for sentence in work.refused[:10]]
    more = len(work.refused) - 10
    if rows:
        tail = [f"- and {more} more"] if more > 0 else []
        yield "\n".join(["Writes that were refused:", *rows, *tail])


def _waits(work: Work) -> Iterator[str]:
    """Say what the policy holds back, by the very rule that it uses."""
    rows = [
        f"- {code(change.path)}: {reason}"
        for change in work.proposed
        if (reason := refused_path(change.path, work.task.protected))
    ]
    if rows:
        first = "The pull request waits for a writer's approval (`/conductor approve`):"
        yield "\n".join([first, *rows])


def _opinion(work: Work) -> Iterator[str]:
    if work.why:
        yield f"The work was ended early: {work.why}."
    if work.answer is not None and work.answer.explanation.strip():
        said = one_line(work.answer.explanation, _MAX_WORDS)
        yield f"In the model's words, which nobody checked:\n> {said}"


def _headline(work: Work) -> str:
    new = all(change.before is None for change in work.proposed)
    verdicts = (work.verdicts[change.path] for change in work.proposed)
    names = list(dict.fromkeys(KINDS[verdict.kind].title for verdict in verdicts))
    listed = names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
    text = f"{'Add' if new else 'Bring up to date:'} {listed}"
    return text if len(text) <= _MAX_HEADLINE else f"{text[: _MAX_HEADLINE - 1].rstrip()}…"


def _into(task: Task) -> str:
    change = task.change
    if change.number is not None:
        return change.head_ref
    return change.base_ref or change.repository.default_branch


def _stack(stack: Stack) -> str:
    languages = ", ".join(stack.languages) or "no language that is known"
    tests = f"tests by {code(stack.tests)}" if stack.tests else "no tests"
    starts = f"started by {code(stack.starts[0])}" if stack.starts else "no way to start it"
    return f"{languages}; {tests}; {starts}"


def _kinds(names: Iterable[Deliverable]) -> str:
    return ", ".join(KINDS[name].title for name in names)


def _result(work: Work, conclusion: Conclusion, title: str, said: list[str]) -> TaskResult:
    proposed = [change.path for change in work.proposed]
    outputs: dict[str, JsonValue] = {
        "proposed": [*proposed],
        "dropped": [verdict.path for verdict in work.dropped],
        "missing": [*work.missing],
        "unbuilt": [*work.unbuilt],
        "tainted": work.task.tainted,
    }
    record = ExecutionRecord(
        subject="pipeline",
        data={
            **outputs,
            "asked": [*work.asked],
            "rounds": work.rounds,
            "refused": len(work.refused),
            "ended": work.why or "answered",
            "checks": {
                verdict.path: {each.name: each.found for each in verdict.checks}
                for verdict in work.verdicts.values()
            },
            "builds": {path: build.said for path, build in work.builds.items()},
        },
    )
    versions = (
        CodeVersion(
            path=change.path,
            base_sha=work.task.change.head_sha,
            content=change.after,
            diff=change.diff,
            headline=_headline(work),
        )
        for change in work.proposed
    )
    return TaskResult(
        task_id=work.task.id,
        status="completed",
        conclusion=conclusion,
        title=title[:_MAX_TITLE],
        summary="\n\n".join(said),
        outputs=outputs,
        artifacts=(*versions, record),
    )
