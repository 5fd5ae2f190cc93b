"""The tools by which a model looks around in a workspace; they change nothing."""

from collections import Counter
from collections.abc import Sequence

from pydantic import Field

from pipelines.agents.tools import AgentTool, AnyTool, Arguments, ToolError
from pipelines.agents.workspace.files import Workspace
from pipelines.agents.workspace.search import Found, Query

MAX_LISTED = 300
MAX_LINES = 400
MAX_SHOWN = 24 * 1024
_MAX_LINE = 600
_MAX_NAMED = 5


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


class ReadingTools:
    """The handlers over one workspace, as the edits leave it."""

    def __init__(self, space: Workspace) -> None:
        self._space = space

    @property
    def all(self) -> Sequence[AnyTool]:
        """The tools."""
        return (
            AgentTool("list_files", "List the files of the repository.", ListFiles, self._list),
            AgentTool(
                "read_file",
                f"Show lines of a file with their numbers, at most {MAX_LINES} at once.",
                ReadFile,
                self._read,
                limit=MAX_SHOWN,
            ),
            AgentTool("search", "Find a literal text in the files.", Search, self._search),
        )

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
