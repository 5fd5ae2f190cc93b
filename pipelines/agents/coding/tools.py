"""The tools of the coding agent: look, search, edit, and run the tests."""

from collections import Counter
from collections.abc import Coroutine, Sequence
from typing import Any

from pydantic import Field

from pipelines.agents.coding.trials import Trial, Trials
from pipelines.agents.tools import AgentTool, AnyTool, Arguments, ToolError, head_and_tail
from pipelines.agents.workspace import Found, Query, Workspace, WorkspaceError

MAX_LISTED = 300
MAX_LINES = 400
MAX_SHOWN = 24 * 1024
_MAX_LINE = 600
_MAX_NAMED = 5
_MAX_OUTPUT = 7 * 1024


class ListFiles(Arguments):
    """Which files are listed."""

    pattern: str | None = Field(
        description="A glob over whole paths, e.g. `src/**/*.py`; `*` stays inside a folder. "
        "null for everything."
    )


class ReadFile(Arguments):
    """Which lines are read."""

    path: str
    start: int | None = Field(description="First line, 1 for the first of the file; null for 1.")
    end: int | None = Field(description="Last line; null for as many as are shown at once.")


class Search(Arguments):
    """What is looked for."""

    text: str = Field(description="Literal text within one line; no regular expression.")
    pattern: str | None = Field(description="A glob of the paths to search; null for all.")
    ignore_case: bool
    whole_word: bool


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
            AgentTool("list_files", "List the files of the repository.", ListFiles, self._list),
            AgentTool(
                "read_file",
                f"Show lines of a file with their numbers, at most {MAX_LINES} at once.",
                ReadFile,
                self._read,
                limit=MAX_SHOWN,
            ),
            AgentTool("search", "Find a literal text in the files.", Search, self._search),
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

    async def _list(self, arguments: ListFiles) -> str:
        space = self._space
        paths = space.matching(arguments.pattern) if arguments.pattern else space.paths
        rows = list(paths[:MAX_LISTED])
        if len(paths) > MAX_LISTED:
            rows.append(f"({len(paths) - MAX_LISTED} more files; by folder: {_folders(paths)})")
        if not space.tree.complete:
            rows.append("(the list of this repository's files is incomplete)")
        return "\n".join(rows) or "No file matches."

    async def _read(self, arguments: ReadFile) -> str:
        lines = (await self._space.text(arguments.path)).split("\n")
        if lines[-1] == "":
            lines.pop()
        start = max(1, arguments.start or 1)
        if start > max(1, len(lines)):
            raise ToolError(f"The file has {len(lines)} lines.")
        wanted = arguments.end if arguments.end is not None else len(lines)
        last = max(start, min(wanted, len(lines), start + MAX_LINES - 1))
        rows: list[str] = []
        room = MAX_SHOWN - 200
        for number, line in enumerate(lines[start - 1 : last], start):
            row = f"{number}\t{_cut(line.rstrip(chr(13)))}"
            room -= len(row) + 1
            if room < 0:
                last = number - 1
                break
            rows.append(row)
        if last < len(lines):
            rows.append(f"(lines {last + 1} to {len(lines)} follow)")
        return "\n".join(rows) or "(the file is empty)"

    async def _search(self, arguments: Search) -> str:
        query = Query(
            arguments.text, arguments.pattern or "", arguments.ignore_case, arguments.whole_word
        )
        return _told(await self._space.search(query))

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
        except WorkspaceError as error:
            if "cannot be written" in str(error):
                self.refused[path] = str(error)
            raise
        return "Done."

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


def _folders(paths: Sequence[str]) -> str:
    counts = Counter(path.split("/")[0] + "/" if "/" in path else "(root)" for path in paths)
    return ", ".join(f"{folder} {count}" for folder, count in counts.most_common(30))


def _told(found: Found) -> str:
    rows = [f"{match.path}:{match.line}: {match.text}" for match in found.matches]
    if found.more:
        rows.append(f"({found.more} more matches; narrow the search)")
    rows.append(f"({found.searched} files were searched.)")
    for what, paths in (("too large", found.too_large), ("unreadable", found.unreadable)):
        if paths:
            rows.append(
                f"(Not searched, {what}: {len(paths)}, e.g. {', '.join(paths[:_MAX_NAMED])})"
            )
    if found.not_reached:
        rows.append(f"(Not searched, beyond the limit: {found.not_reached}; give a pattern.)")
    return "\n".join(rows)


def _cut(line: str) -> str:
    more = len(line) - _MAX_LINE
    return f"{line[:_MAX_LINE]} (… {more} more characters)" if more > 0 else line
