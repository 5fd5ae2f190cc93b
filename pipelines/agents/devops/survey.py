"""What the repository has of what was asked for, and whether it does its job."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from pipelines.agents.devops.composing import gitlab_scripts
from pipelines.agents.devops.deliverables import KINDS, is_ignore_file, there
from pipelines.agents.devops.documents import Node, Unreadable, load
from pipelines.agents.devops.problems import Problem, errors, note
from pipelines.agents.devops.stack import Stack
from pipelines.agents.devops.verification import Verdict, Verifier
from pipelines.agents.devops.workflows import Vouched, runs
from pipelines.agents.workspace import Workspace
from pipelines.config.steps import Deliverable

_SCRIPTED = re.compile(
    r"\b(?:npm|yarn|pnpm|bun)\s+(?:run\s+)?t(?:est)?\b|\bjest\b|\bvitest\b|--test\b"
)
_TESTS: Mapping[str, re.Pattern[str]] = {
    "python": re.compile(r"\b(?:pytest|unittest|tox|nox)\b"),
    "javascript": _SCRIPTED,
    "typescript": _SCRIPTED,
    "go": re.compile(r"\bgo\s+test\b|\bgotestsum\b"),
    "rust": re.compile(r"\bcargo\s+(?:test|nextest)\b"),
    "java": re.compile(r"\b(?:test|verify|check|build)\b"),
}
_ANY_MAKE = re.compile(r"\bmake\s+(?:test|check|ci)\b")
_PIPELINES: tuple[Deliverable, ...] = ("github-actions", "gitlab-ci")
MAX_FILES = 40


@dataclass(frozen=True, slots=True)
class Survey:
    """The files that are there, by path, and what is wanting, by deliverable."""

    verdicts: Mapping[str, Verdict]
    texts: Mapping[str, str]
    wanting: Mapping[Deliverable, tuple[str, ...]]
    """Sentences; a deliverable that does its job is not named."""

    def judged(self, verdict: Verdict) -> Verdict:
        """Return a file's verdict with what was wrong before it was touched as notes."""
        before = self.verdicts.get(verdict.path)
        if before is None:
            return verdict
        old = Counter(problem.text for problem in errors(before.problems))
        problems: list[Problem] = []
        for problem in verdict.problems:
            if problem.level == "error" and old[problem.text] > 0:
                old[problem.text] -= 1
                problems.append(note(f"{problem.text} It was so before.", problem.line))
            else:
                problems.append(problem)
        return replace(verdict, problems=tuple(problems))


async def vouched(space: Workspace) -> Vouched:
    """Return what the workflows of the commit name; those that cannot be read name nothing."""
    texts = await space.texts(there(space.paths, "github-actions")[:MAX_FILES])
    documents: list[Node] = []
    for text in texts.values():
        try:
            documents += load(text)
        except Unreadable:
            continue
    return Vouched.by(documents)


async def survey(
    space: Workspace, asked: Sequence[Deliverable], stack: Stack, verifier: Verifier
) -> Survey:
    """Check what is there of each deliverable that was asked for."""
    verdicts: dict[str, Verdict] = {}
    texts: dict[str, str] = {}
    wanting: dict[Deliverable, tuple[str, ...]] = {}
    for name in asked:
        found = await space.texts(there(space.paths, name)[:MAX_FILES])
        texts |= found
        for path, text in found.items():
            verdicts[path] = await verifier.verify(path, name, text)
        lacks = _lacks(name, found, [verdicts[path] for path in found], stack)
        if lacks:
            wanting[name] = lacks
    return Survey(verdicts, texts, wanting)


def _lacks(
    name: Deliverable, found: Mapping[str, str], verdicts: Sequence[Verdict], stack: Stack
) -> tuple[str, ...]:
    if not [path for path in found if not is_ignore_file(path)]:
        return (f"There is no {KINDS[name].title} yet.",)
    wrong = [f"{v.path}, {problem}" for v in verdicts for problem in errors(v.problems)]
    if name in _PIPELINES and stack.tests and not _tested(name, found, stack):
        wrong.append("Nothing in it runs the tests.")
    return tuple(wrong)


def _tested(name: Deliverable, found: Mapping[str, str], stack: Stack) -> bool:
    patterns = [_ANY_MAKE, *(_TESTS[each] for each in stack.languages if each in _TESTS)]
    return any(
        pattern.search(script)
        for text in found.values()
        for script in _scripts(name, text)
        for pattern in patterns
    )


def _scripts(name: Deliverable, text: str) -> Sequence[str]:
    try:
        (document,) = load(text)
    except Unreadable:
        return ()
    return tuple(runs(document) if name == "github-actions" else gitlab_scripts(document))
