"""The tools of the coding agent: look, search, edit, and run the tests."""

from collections.abc import Coroutine, Sequence
from typing import Any

from pydantic import Field

from pipelines.agents.coding.trials import Trial, Trials
from pipelines.agents.tools import AgentTool, AnyTool, Arguments, ToolError, head_and_tail
from pipelines.agents.workspace import Refused, Workspace
from pipelines.agents.workspace.looking import ReadingTools

_MAX_LINE = 600
_MAX_OUTPUT = 7 * 1024


class EditFile(Arguments):
    """One replacement."""

    path: str
    old: str = Field(description="The text as it stands in the file, to the letter, exactly once.")
    new: str = Field(description="What stands there afterwards.")


class CreateFile(Arguments):
    """One new file."""

    path: str
    content: str


class DeleteFile(Arguments):
    """One file less."""

    path: str


class RunTests(Arguments):
    """Nothing can be chosen: it is the project's own command."""


class CodingTools:
    """The handlers over one workspace; what the model was refused is kept for the report."""

    def __init__(self, space: Workspace, trials: Trials) -> None:
        self._space = space
        self._trials = trials
        self.refused: dict[str, str] = {}
        """Sentences about writes that were refused, by path."""

    @property
    def all(self) -> Sequence[AnyTool]:
        """The tools, without the one for tests where none can be run."""
        tools: list[AnyTool] = [
            *ReadingTools(self._space).all,
            AgentTool(
                "edit_file",
                "Replace a text that stands exactly once in a file.",
                EditFile,
                self._edit,
            ),
            AgentTool("create_file", "Add a new file.", CreateFile, self._create),
            AgentTool("delete_file", "Delete a file.", DeleteFile, self._delete),
        ]
        if not self._trials.obstacle:
            description = "Run the project's tests over your edits, in a sandbox without network."
            tools.append(AgentTool("run_tests", description, RunTests, self._run))
        return tools

    async def _edit(self, arguments: EditFile) -> str:
        return await self._write(
            arguments.path, self._space.replace(arguments.path, arguments.old, arguments.new)
        )

    async def _create(self, arguments: CreateFile) -> str:
        return await self._write(
            arguments.path, self._space.create(arguments.path, arguments.content)
        )

    async def _delete(self, arguments: DeleteFile) -> str:
        return await self._write(arguments.path, self._space.delete(arguments.path))

    async def _write(self, path: str, work: Coroutine[Any, Any, None]) -> str:
        try:
            await work
        except Refused as error:
            self.refused[path] = str(error)
            raise
        broken = self._space.broken.get(path)
        return f"Done, but mend this file: {broken}." if broken else "Done."

    async def _run(self, arguments: RunTests) -> str:
        if not self._trials.rounds_left:
            raise ToolError("The tests were run as often as they may be; give your answer.")
        return told(await self._trials.run(self._space.edits))


def told(trial: Trial) -> str:
    """Return how the tests ended, for the model; their output is a program's and not trusted."""
    if trial.ran is None:
        return f"The tests were not run: {trial.why}."
    rows = [f"`{trial.ran.recipe.shown}` {trial.ran.ending}."]
    if trial.verdict == "as before":
        rows.append("It fails like that without your edits as well.")
    rows += [f"Doubt: {doubt}." for doubt in trial.doubts]
    claims = trial.ran.claims
    rows += [
        f"{case.outcome}: {case.name}: {case.message}"[:_MAX_LINE]
        for case in (claims.failures[:20] if claims else ())
    ]
    return "\n".join((*rows, "", head_and_tail(trial.ran.result.output, _MAX_OUTPUT)))
