"""Runs the tests over the edits as they are, at most so often, and compares with before them."""

from dataclasses import dataclass
from typing import Literal

from pipelines.agents.context import AgentContext
from pipelines.agents.testing.detection import detect, wanted
from pipelines.agents.testing.execution import Bench, Ran
from pipelines.agents.testing.judgement import judge
from pipelines.agents.testing.layout import Layout
from pipelines.agents.testing.recipe import Recipe, Wishes, whole
from pipelines.agents.testing.subject import texts_of
from pipelines.agents.workspace import Workspace
from pipelines.config.steps import CodingOptions
from pipelines.errors import Retryable, UserError
from pipelines.model import FileEdit, Task

Verdict = Literal["passed", "failed", "as before", "not run"]
_MAX_SECONDS = 900.0
_MIN_SECONDS = 10.0
_SHARE = 0.25
"""Of the time that is left, for one run: the model and later runs want theirs."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One run over one state of the edits; ``as before`` means that it fails without them too."""

    verdict: Verdict
    edits: tuple[FileEdit, ...]
    ran: Ran | None
    before: Ran | None = None
    doubts: tuple[str, ...] = ()
    """Clauses about a run that ended well and should not be believed as it is."""
    why: str = ""
    """Why nothing ran, as half a sentence."""

    @property
    def proves(self) -> bool:
        """Whether the tests ran over exactly these edits and can be believed to have passed."""
        return self.verdict == "passed" and not self.doubts


class Trials:
    """The test runs of one task; a state of the edits that was run is not run again."""

    def __init__(
        self,
        task: Task,
        context: AgentContext,
        *,
        layout: Layout | None,
        recipe: Recipe | None,
        max_rounds: int,
        obstacle: str,
    ) -> None:
        self.layout = layout
        self.recipe = recipe
        self.obstacle = obstacle
        """Why no test can be run, as half a sentence; empty if they can."""
        self._task = task
        self._context = context
        self._max_rounds = max_rounds
        self._failed = 0
        self._before: Ran | None = None
        self._last: Trial | None = None

    @classmethod
    async def prepare(
        cls, task: Task, options: CodingOptions, context: AgentContext, space: Workspace
    ) -> "Trials":
        """Find out what would be run, and whether anything may."""
        info = await context.workplace.sandbox()
        texts = await texts_of(context.reader, wanted(space.tree))
        layout = detect(space.tree, texts)
        recipe = whole(layout, Wishes(options.run, options.image))
        obstacle = ""
        if not info.usable:
            obstacle = f"there is no sandbox ({(info.reason or 'none is there').rstrip('.')})"
        elif recipe is None:
            obstacle = "no test command was found; `run` in the step can name it"
        return cls(
            task,
            context,
            layout=layout,
            recipe=recipe,
            max_rounds=options.max_rounds,
            obstacle=obstacle,
        )

    @property
    def rounds_left(self) -> int:
        """How often the edits may still be mended after tests that failed."""
        return max(0, self._max_rounds - self._failed + 1)

    async def run(self, edits: tuple[FileEdit, ...]) -> Trial:
        """Return how the tests end over these edits; whatever keeps them from running is told."""
        if self._last and self._last.edits == edits:
            return self._last
        if self.recipe is None or self.obstacle:
            return Trial("not run", edits, None, why=self.obstacle)
        try:
            self._last = await self._try(self.recipe, edits)
        except (UserError, Retryable) as error:
            self.obstacle = f"the sandbox could not run them ({str(error).rstrip('.')})"
            return Trial("not run", edits, None, why=self.obstacle)
        self._failed += self._last.verdict == "failed"
        return self._last

    async def _try(self, recipe: Recipe, edits: tuple[FileEdit, ...]) -> Trial:
        ran = await self._bench().run(recipe, edits=edits)
        if not ran.started:
            self.obstacle = f"the sandbox has not what `{recipe.shown}` needs"
            return Trial("not run", edits, ran, why=self.obstacle)
        if ran.ended_well:
            return Trial("passed", edits, ran, doubts=judge((ran,), None).suspicious)
        if self._before is None:
            self._before = await self._bench().run(recipe)
        same = not self._before.ended_well and not judge((ran,), self._before).new
        return Trial("as before" if same else "failed", edits, ran, before=self._before)

    def _bench(self) -> Bench:
        change = self._task.change
        left = (self._task.deadline - self._context.clock.now()).total_seconds()
        seconds = max(_MIN_SECONDS, min(_MAX_SECONDS, left * _SHARE))
        return Bench(self._context.workplace, change.head_sha, change.base_sha, seconds)
