"""The tools of the devops agent, and the answer with which it ends."""

from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from pipelines.agents.coding.tools import EditFile
from pipelines.agents.devops.deliverables import KINDS, kind_of
from pipelines.agents.devops.problems import code
from pipelines.agents.structured import Strict
from pipelines.agents.tools import AgentTool, AnyTool, Arguments, ToolError
from pipelines.agents.workspace import Refused, Workspace, WorkspaceError
from pipelines.agents.workspace.looking import ReadingTools
from pipelines.config.steps import Deliverable


class WriteFile(Arguments):
    """One whole file."""

    path: str
    content: str = Field(description="The whole file; what stood there before is replaced.")


class DevopsAnswer(Strict):
    """The model's own words about what it wrote; what was checked is not asked of it."""

    outcome: Literal["written", "unchanged", "unable"]
    explanation: str


class WritingTools:
    """Lets a model write what was asked for and nothing else; refusals are kept for the report."""

    def __init__(self, space: Workspace, asked: Sequence[Deliverable]) -> None:
        self._space = space
        self._asked = tuple(asked)
        self.refused: dict[str, str] = {}
        """Sentences about writes that were refused, by path."""

    @property
    def all(self) -> Sequence[AnyTool]:
        """The tools."""
        return (
            *ReadingTools(self._space).all,
            AgentTool("write_file", "Write a whole file.", WriteFile, self._write),
            AgentTool(
                "edit_file",
                "Replace a text that stands exactly once in a file.",
                EditFile,
                self._edit,
            ),
        )

    async def _write(self, arguments: WriteFile) -> str:
        path = self._allowed(arguments.path)
        try:
            await write(self._space, path, arguments.content)
        except WorkspaceError as error:
            self.refused[path] = str(error)
            raise
        return "Done."

    async def _edit(self, arguments: EditFile) -> str:
        path = self._allowed(arguments.path)
        try:
            await self._space.replace(path, arguments.old, arguments.new)
        except Refused as error:
            self.refused[path] = str(error)
            raise
        return "Done."

    def _allowed(self, path: str) -> str:
        if kind_of(path, self._asked):
            return path
        patterns = ", ".join(f"`{each}`" for name in self._asked for each in KINDS[name].patterns)
        sentence = f"{code(path)} cannot be written: this step writes only {patterns}."
        self.refused[path] = sentence
        raise ToolError(sentence)


async def write(space: Workspace, path: str, content: str) -> None:
    """Make a file hold a text, whether it is there or not; raises WorkspaceError."""
    if path not in space.paths:
        await space.create(path, content)
    elif (before := await space.text(path)) and before != content:
        await space.replace(path, before, content)
    elif not before:
        await space.delete(path)
        await space.create(path, content)
