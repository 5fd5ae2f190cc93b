"""Checks each file by code and by the ecosystem's own tools before anybody is shown it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipelines.agents.devops import schemas
from pipelines.agents.devops.composing import compose_problems, gitlab_problems
from pipelines.agents.devops.deliverables import is_ignore_file
from pipelines.agents.devops.documents import MAX_DOCUMENTS, Node, Unreadable, load, plain
from pipelines.agents.devops.hadolint import lint
from pipelines.agents.devops.images import dockerfile_problems, ignore_problems
from pipelines.agents.devops.kubernetes import manifest_problems
from pipelines.agents.devops.problems import Problem, error, errors
from pipelines.agents.devops.workflows import Vouched, workflow_problems
from pipelines.config.steps import Deliverable

MAX_CHARACTERS = 64 * 1024
_MAX_PROBLEMS = 40
_OWN_RULES = "Conductor's rules"
_NO_SCHEMAS = "not checked against its schema: `conductor-app[devops]` is not installed"
_NO_CLUSTER = "not tried against a cluster's API: none is configured for this step"


@dataclass(frozen=True, slots=True)
class Check:
    """One check that was done; ``found`` are the errors and warnings that it has."""

    name: str
    found: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """All that was found out about one file."""

    path: str
    kind: Deliverable
    problems: tuple[Problem, ...]
    checks: tuple[Check, ...]
    unchecked: tuple[str, ...] = ()
    """What was not done and why, as half sentences."""

    @property
    def good(self) -> bool:
        """Whether it may be proposed."""
        return not errors(self.problems)

    @property
    def to_mend(self) -> tuple[Problem, ...]:
        """What is worth asking the model about."""
        return tuple(problem for problem in self.problems if problem.level != "note")


class Verifier:
    """Judges files of one repository; ``program`` is hadolint, None if it is not there."""

    def __init__(self, vouched: Vouched, program: Path | None) -> None:
        self._vouched = vouched
        self._program = program

    async def verify(self, path: str, kind: Deliverable, text: str) -> Verdict:
        """Return what is known of a text that stands or shall stand at a path."""
        if len(text) > MAX_CHARACTERS:
            problem = error(f"It is longer than {MAX_CHARACTERS} characters.")
            return Verdict(path, kind, (problem,), (Check("size", 1),))
        if is_ignore_file(path):
            return _verdict(path, kind, [(_OWN_RULES, list(ignore_problems(text)))])
        if kind == "dockerfile":
            return await self._image(path, text)
        try:
            documents = load(text, at_most=MAX_DOCUMENTS if kind == "kubernetes" else 1)
        except Unreadable as problem:
            return _verdict(path, kind, [("YAML", [error(str(problem), problem.mark.line)])])
        return self._documents(path, kind, documents)

    async def _image(self, path: str, text: str) -> Verdict:
        done: list[tuple[str, Sequence[Problem]]] = [(_OWN_RULES, list(dockerfile_problems(text)))]
        linted = await lint(text, self._program)
        if linted.obstacle:
            return _verdict(
                path, "dockerfile", done, [f"not checked by hadolint: {linted.obstacle}"]
            )
        return _verdict(path, "dockerfile", [*done, ("hadolint", linted.problems)])

    def _documents(self, path: str, kind: Deliverable, documents: Sequence[Node]) -> Verdict:
        done: list[tuple[str, Sequence[Problem]]] = [("YAML", [])]
        unchecked: list[str] = []
        if kind == "kubernetes":
            unchecked.append(_NO_CLUSTER)
        elif schemas.installed():
            done.append(("its JSON Schema", schemas.schema_problems(kind, plain(documents[0]))))
        else:
            unchecked.append(_NO_SCHEMAS)
        done.append((_OWN_RULES, list(self._rules(kind, documents))))
        return _verdict(path, kind, done, unchecked)

    def _rules(self, kind: Deliverable, documents: Sequence[Node]) -> Iterator[Problem]:
        match kind:
            case "github-actions":
                yield from workflow_problems(documents[0], self._vouched)
            case "gitlab-ci":
                yield from gitlab_problems(documents[0])
            case "compose":
                yield from compose_problems(documents[0])
            case _:
                yield from manifest_problems(documents)


def _verdict(
    path: str,
    kind: Deliverable,
    done: Sequence[tuple[str, Sequence[Problem]]],
    unchecked: Sequence[str] = (),
) -> Verdict:
    """Put the findings of all checks together, errors first so that a limit drops none of them."""
    order = ("error", "warning", "note")
    problems = dict.fromkeys(problem for _, found in done for problem in found)
    by_level = sorted(problems, key=lambda problem: order.index(problem.level))
    checks = tuple(Check(name, sum(p.level != "note" for p in found)) for name, found in done)
    return Verdict(path, kind, tuple(by_level[:_MAX_PROBLEMS]), checks, tuple(unchecked))
