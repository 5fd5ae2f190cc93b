"""What people read about a commit: facts that were computed, and the model's words as such."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pipelines.agents.coding.answer import CodingAnswer
from pipelines.agents.coding.assignment import Assignment
from pipelines.agents.coding.trials import Trial
from pipelines.agents.fence import one_line
from pipelines.agents.workspace import FileChange
from pipelines.model import Task

_MAX_HEADLINE = 72
_MAX_WORDS = 1_500
_MAX_ROWS = 60
_MAX_LESSONS = 5
_MANIFESTS = frozenset(
    {
        "package.json", "pyproject.toml", "setup.py", "setup.cfg", "requirements.txt", "go.mod",
        "Cargo.toml", "Gemfile", "pom.xml", "build.gradle", "composer.json",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Work:
    """All that is known about a commit when it is proposed."""

    task: Task
    assignment: Assignment
    changes: tuple[FileChange, ...]
    trial: Trial
    answer: CodingAnswer | None
    ended: str
    """Why the model did not conclude, as half a sentence; empty if it did."""
    changed_tests: tuple[str, ...]
    """Tests that were there before and that the commit changes or deletes."""
    refused: tuple[str, ...]
    """Sentences about writes that the model wanted and may not do."""
    complete: bool
    """Whether the source listed all files."""

    @property
    def tested(self) -> bool:
        """Whether the tests prove the commit."""
        return self.trial.proves

    @property
    def headline(self) -> str:
        """The first line of the commit, in the model's words if there are any."""
        said = one_line(self.answer.headline, _MAX_HEADLINE) if self.answer else ""
        return said or f"Change code for {self.assignment.subject}"

    @property
    def sentence(self) -> str:
        """Whether it was tested and how that ended, as a sentence."""
        trial = self.trial
        if trial.ran is None or trial.verdict == "not run":
            return f"Not verified: the tests were not run, because {trial.why}."
        result = trial.ran.result
        place = f"{result.sandbox.name}, {result.image}" if result.image else result.sandbox.name
        ran = f"`{_code(trial.ran.recipe.shown)}` {trial.ran.ending} over this commit ({place})"
        if trial.verdict == "as before":
            return f"Not verified: {ran}, and it fails without this commit as well."
        if trial.doubts:
            return f"Not verified: {ran}, but {'; '.join(map(_code, trial.doubts))}."
        return f"Tested: {ran}."


def commit_message(work: Work) -> str:
    """Return what follows the headline."""
    said = one_line(work.answer.explanation, _MAX_WORDS) if work.answer else ""
    return "\n\n".join(part for part in (said, work.sentence) if part)


def pull_request(work: Work) -> str:
    """Return the body of a pull request: first what is known, then what the model says."""
    # Without the sign that would make it a link: what it answers is linked by whoever opens it.
    subject = work.assignment.subject.replace("#", "")
    parts = [f"For {subject}.", work.sentence, "\n".join(_rows(work.changes))]
    parts += [f"- {note}" for note in notes(work)]
    parts += _opinions(work.answer)
    parts += _lessons(work.task)
    return "\n\n".join(parts)


def notes(work: Work) -> Iterator[str]:
    """Yield what a reader should know before believing the result."""
    if work.ended:
        yield f"The work was ended early: {work.ended}."
    if work.changed_tests:
        listed = ", ".join(f"`{_code(path)}`" for path in work.changed_tests[:10])
        yield f"It changes tests that were there, so passing ones prove less: {listed}."
    manifests = [c.path for c in work.changes if c.path.rsplit("/", 1)[-1] in _MANIFESTS]
    if manifests:
        listed = ", ".join(f"`{_code(path)}`" for path in manifests[:10])
        yield f"It changes what the project depends on or how it is built: {listed}."
    if not work.complete:
        yield "Not all files of the repository were listed, so some were never looked at."


def _rows(changes: Sequence[FileChange]) -> Iterator[str]:
    for change in changes[:_MAX_ROWS]:
        counts = f"+{change.additions} −{change.deletions}"  # noqa: RUF001 - a real minus sign
        yield f"- `{_code(change.path)}`: {change.kind}, {counts}"
    if len(changes) > _MAX_ROWS:
        yield f"- and {len(changes) - _MAX_ROWS} more files"


def _opinions(answer: CodingAnswer | None) -> Iterator[str]:
    if answer is None:
        return
    yield "In the model's words, which nobody checked:"
    for what, text in (
        ("What and why", answer.explanation),
        ("Looked at", answer.checked),
        ("Risk", answer.risk),
    ):
        if text.strip():
            yield f"> {what}: {one_line(text, _MAX_WORDS)}"


def _lessons(task: Task) -> Iterator[str]:
    if task.lessons:
        yield "Earlier outcomes that it was told:"
        for lesson in task.lessons[:_MAX_LESSONS]:
            kind = lesson.outcome.kind.replace("_", " ")
            yield f"- {kind}: {one_line(lesson.outcome.subject, 200)}"


def _code(text: str) -> str:
    return one_line(text, 300).replace("`", "")
