"""Has what was written built where an engine is there, and tells what that proves."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from pipelines.agents.devops.problems import Problem, code, error
from pipelines.agents.tools import head_and_tail
from pipelines.errors import Retryable, UserError
from pipelines.model import BuildResult, FileEdit
from pipelines.ports import Workplace

_NO_NETWORK = re.compile(
    r"name resolution|resolve host|could not resolve|network is unreachable|no such host"
    r"|enotfound|eai_again|getaddrinfo|dial tcp|bad address|could not connect|econnrefused",
    re.IGNORECASE,
)
_MAX_OUTPUT = 2_000


@dataclass(frozen=True, slots=True)
class Build:
    """How the newest build of a Dockerfile ended; ``said`` is a sentence."""

    ok: bool
    said: str


class Builds:
    """The builds of one task; a file that stands as it was built is not built again."""

    def __init__(self, workplace: Workplace) -> None:
        self._workplace = workplace
        self._done: dict[tuple[FileEdit, ...], tuple[Build, tuple[Problem, ...]]] = {}
        self.newest: dict[str, Build] = {}
        """By path."""

    async def problems(self, path: str, edits: Sequence[FileEdit]) -> tuple[Problem, ...]:
        """Return what a build of the Dockerfile at that path says against it."""
        key = (FileEdit(path=path, content=None), *edits)
        if key not in self._done:
            built = await self._build(path, edits)
            said, found = _judged(path, built)
            self._done[key] = Build(built.ok and not built.reason, said), found
        self.newest[path], problems = self._done[key]
        return problems

    async def _build(self, path: str, edits: Sequence[FileEdit]) -> BuildResult:
        try:
            return await self._workplace.build(path, edits)
        except (UserError, Retryable) as obstacle:
            return BuildResult(ok=False, reason=str(obstacle).rstrip("."))


def _judged(path: str, built: BuildResult) -> tuple[str, tuple[Problem, ...]]:
    if built.reason:
        return f"{code(path)} was not built: {built.reason}.", ()
    if built.ok:
        image = f" as {code(built.image)}" if built.image else ""
        return f"{code(path)} was built, without network{image}; the image was dropped.", ()
    if _NO_NETWORK.search(built.output):
        return f"{code(path)} was not built to its end: it needs a network, and has none here.", ()
    output = head_and_tail(built.output.strip(), _MAX_OUTPUT)
    return f"{code(path)} could not be built.", (error(f"The build fails: {output}"),)
