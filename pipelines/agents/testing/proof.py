"""A generated test has to prove itself: it passes on the change, and fails without it."""

from collections.abc import AsyncIterator, Set
from dataclasses import dataclass

from pipelines.agents.testing.execution import Bench, Ran
from pipelines.agents.testing.layout import Layout
from pipelines.agents.testing.mutations import mutants
from pipelines.agents.testing.proposal import ChangedSource
from pipelines.agents.testing.recipe import Recipe, Wishes, one_file, whole
from pipelines.model import FileEdit

TIMES = 3
"""How often a test must pass before it is believed to pass."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A test file that could be kept."""

    source: ChangedSource
    path: str
    title: str
    content: str

    @property
    def edit(self) -> FileEdit:
        """The file as a commit would add it."""
        return FileEdit(path=self.path, content=self.content)


@dataclass(frozen=True, slots=True)
class Proof:
    """Whether a candidate stood the test, why or why not, and the runs that show it."""

    candidate: Candidate
    holds: bool
    how: str
    runs: tuple[Ran, ...] = ()


@dataclass(frozen=True, slots=True)
class Prover:
    """Knows how the project's tests are run, and which tests there were before."""

    bench: Bench
    layout: Layout
    wishes: Wishes
    known: Set[str]
    """Names of the tests at head without any candidate."""
    support: tuple[FileEdit, ...] = ()
    """Other test files of the change, which base needs for a fair comparison."""

    async def prove(self, candidate: Candidate) -> Proof:
        """Run a candidate on the change and without it."""
        recipe = one_file(self.layout, self.wishes, candidate.path)
        recipe = recipe or whole(self.layout, self.wishes)
        if recipe is None or recipe.report == "none":
            return Proof(candidate, False, "the command gives no report that could prove it")
        runs: list[Ran] = []
        names = frozenset[str]()
        for _ in range(TIMES):
            ran = await self.bench.run(recipe, edits=(candidate.edit,))
            runs.append(ran)
            names = self._passed(ran)
            if not names:
                return Proof(candidate, False, _why_not(ran), tuple(runs))
        if len({self._passed(ran) for ran in runs}) != 1:
            return Proof(candidate, False, "it does not pass every time", tuple(runs))
        return await self._without_change(candidate, recipe, names, runs)

    def _passed(self, ran: Ran) -> frozenset[str]:
        """Return the new tests, if the run as a whole ended well and none of them failed."""
        if not ran.ended_well or ran.claims is None or ran.claims.failures:
            return frozenset()
        return ran.claims.names("passed") - self.known

    async def _without_change(
        self, candidate: Candidate, recipe: Recipe, names: Set[str], runs: list[Ran]
    ) -> Proof:
        tried = 0
        async for what, ran in self._defects(candidate, recipe):
            tried += 1
            failed = names & ran.claims.names("failed", "error") if ran.claims else None
            if failed:
                how = f"passes {TIMES} times and fails when {what}"
                return Proof(candidate, True, how, (*runs, ran))
        return Proof(
            candidate,
            False,
            f"it does not fail without the change ({tried} ways of taking it away were tried)",
            tuple(runs),
        )

    async def _defects(
        self, candidate: Candidate, recipe: Recipe
    ) -> AsyncIterator[tuple[str, Ran]]:
        """Yield runs over base, then over head with one changed line mutated at a time."""
        source = candidate.source
        if source.before is not None:
            edits = (*self.support, candidate.edit)
            yield "the change is reverted", await self.bench.run(recipe, at="base", edits=edits)
        for mutant in mutants(source.path, source.text, source.lines):
            broken = FileEdit(path=source.path, content=mutant.text)
            ran = await self.bench.run(recipe, edits=(broken, candidate.edit))
            yield f"line {mutant.line} of the change is mutated ({mutant.what})", ran


def _why_not(ran: Ran) -> str:
    if ran.claims is None:
        return f"it does not pass on the change: the command {ran.ending}"
    failed = len(ran.claims.failures)
    if failed:
        return f"it does not pass on the change: {failed} of its tests failed"
    if not ran.ended_well:
        return f"it does not pass on the change: the command {ran.ending}"
    return "no test of it was run"
