"""A commit's tree, read lazily, and edits over it that keep to what a commit may contain."""

from collections.abc import Iterator, Mapping, Sequence

from pipelines import globs
from pipelines.agents.syntax import fault
from pipelines.agents.tools import ToolError
from pipelines.agents.workspace.difference import FileChange, compare
from pipelines.agents.workspace.search import Found, Query, search
from pipelines.model import FileEdit
from pipelines.paths import refused_content, refused_path
from pipelines.ports import FileText, Reader, Tree
from pipelines.redaction import REDACTED, find_secrets

MAX_EDITS = 100
MAX_EDITED_BYTES = 4 * 1024 * 1024
MAX_READ_BYTES = 48 * 1024 * 1024
_BATCH = 40
_BATCH_BYTES = 4 * 1024 * 1024
_REGULAR = ("100644", "100755")


class WorkspaceError(ToolError):
    """Something that cannot be read or written; one sentence that a model can act on."""


class Refused(WorkspaceError):
    """A write that no commit of an agent may make, whatever the model says."""

    def __init__(self, path: str, why: str) -> None:
        super().__init__(f"`{_shown(path)}` cannot be written: {why}.")


class Workspace:
    """What an agent works on; nothing outside changes.

    Every write passes ``pipelines.paths``, never goes through a symbolic link or a submodule of the
    tree, and never makes a path that differs from another one in the case of letters alone.
    """

    def __init__(
        self,
        reader: Reader,
        tree: Tree,
        *,
        protected: Sequence[str] = (),
        ignore: Sequence[str] = (),
        ships: bool = False,
    ) -> None:
        self._reader = reader
        self.tree = tree
        self._protected = tuple(protected)
        self._ignored = globs.compile_all(ignore)
        self._ships = ships
        self._entries = {entry.path: entry for entry in tree.entries}
        self._folders = {folder for path in self._entries for folder in _folders(path)}
        self._folded = {name.casefold(): name for name in (*self._folders, *self._entries)}
        self._loaded: dict[str, FileText] = {}
        self._edits: dict[str, str | None] = {}
        self._room = MAX_READ_BYTES

    @classmethod
    async def open(
        cls,
        reader: Reader,
        *,
        protected: Sequence[str] = (),
        ignore: Sequence[str] = (),
        ships: bool = False,
    ) -> "Workspace":
        """Return a workspace over the tree at head; ``ships`` is for the devops agent."""
        tree = await reader.tree()
        return cls(reader, tree, protected=protected, ignore=ignore, ships=ships)

    # --- reading ---------------------------------------------------------------------------------

    @property
    def paths(self) -> tuple[str, ...]:
        """Every file in scope as the edits leave it, sorted."""
        there = {path for path, entry in self._entries.items() if entry.mode in _REGULAR}
        there |= {path for path, text in self._edits.items() if text is not None}
        gone = {path for path, text in self._edits.items() if text is None}
        return tuple(sorted(p for p in there - gone if not globs.any_match(self._ignored, p)))

    def matching(self, pattern: str) -> tuple[str, ...]:
        """Return the paths in scope that a glob matches; raises WorkspaceError."""
        try:
            compiled = globs.compile(pattern)
        except globs.GlobError as error:
            raise WorkspaceError(str(error)) from error
        return tuple(path for path in self.paths if compiled.matches(path))

    async def text(self, path: str) -> str:
        """Return a file as the edits leave it; raises WorkspaceError with the reason."""
        if path in self._edits:
            text, reason = self._edits[path], "you deleted it"
        else:
            await self.load([path])
            text, reason = self._loaded[path].text, self._loaded[path].reason
        if text is None:
            raise WorkspaceError(f"`{_shown(path)}` cannot be read: {reason or 'missing'}.")
        return text

    async def texts(self, paths: Sequence[str]) -> dict[str, str]:
        """Return the texts, as the edits leave them, of those paths that have one."""
        await self.load(paths)
        found: dict[str, str] = {}
        for path in paths:
            try:
                found[path] = await self.text(path)
            except WorkspaceError:
                continue
        return found

    async def load(self, paths: Sequence[str]) -> None:
        """Read files of the commit that were not read yet."""
        wanted = [path for path in dict.fromkeys(paths) if path not in self._loaded]
        known = [path for path in wanted if path in self._entries or not self.tree.complete]
        for batch in self._batches(known):
            read = await self._reader.read(batch)
            self._loaded.update(read)
            self._room -= sum(file.size for file in read.values() if file.text is not None)
        for path in wanted:
            self._loaded.setdefault(path, FileText(path=path, text=None, reason="missing"))

    async def search(self, query: Query) -> Found:
        """Look for a text in the files as the edits leave them; raises WorkspaceError."""
        paths = self.matching(query.pattern) if query.pattern else self.paths
        return await search(self, paths, query)

    @property
    def room(self) -> int:
        """How many bytes may still be read by searches."""
        return max(0, self._room)

    def to_read(self, path: str) -> int:
        """Return how many bytes would have to be read for a file; 0 if it is at hand."""
        if path in self._edits or path in self._loaded:
            return 0
        return max(1, self._entries[path].size) if path in self._entries else 1

    def _batches(self, paths: Sequence[str]) -> Iterator[list[str]]:
        """Yield what is read in one go: as many files as GitHub takes, and not too many bytes."""
        batch: list[str] = []
        size = 0
        for path in paths:
            if len(batch) == _BATCH or size > _BATCH_BYTES:
                yield batch
                batch, size = [], 0
            batch.append(path)
            size += self.to_read(path)
        if batch:
            yield batch

    # --- writing ---------------------------------------------------------------------------------

    async def replace(self, path: str, old: str, new: str) -> None:
        """Replace the one place where ``old`` stands; raises WorkspaceError if it is not one."""
        text = await self._text_to_change(path)
        if "\r\n" in text and "\n" not in text.replace("\r\n", ""):
            old, new = (_with_crlf(each) for each in (old, new))
        if not old:
            raise WorkspaceError("The text to replace is empty; give the lines as they stand.")
        if old == new:
            raise WorkspaceError("The new text equals the old one, so nothing would change.")
        first = text.find(old)
        if first < 0:
            raise WorkspaceError(_not_found(path, old))
        if text.find(old, first + 1) >= 0:
            raise WorkspaceError(
                f"The text stands {max(2, text.count(old))} times in `{_shown(path)}` and must "
                "stand there once; give more of the lines around it."
            )
        self._store(path, text[:first] + new + text[first + len(old) :], before=text)

    async def create(self, path: str, content: str) -> None:
        """Add a file that is not there; raises WorkspaceError."""
        self._require_writable(path)
        if self._edits.get(path) is not None or self._is_there(path):
            raise WorkspaceError(f"`{_shown(path)}` is there already; edit it instead.")
        if not self.tree.complete and not self._is_known_to_be_free(path):
            raise WorkspaceError(
                "The list of this repository's files is incomplete, so a new file can only be made "
                "in a folder that the list has."
            )
        if not self.tree.complete:
            await self.load([path])
            if self._loaded[path].reason != "missing":
                raise WorkspaceError(f"`{_shown(path)}` is there already.")
        self._store(path, content, before="")

    async def delete(self, path: str) -> None:
        """Delete a file; raises WorkspaceError."""
        await self._text_to_change(path)
        if path in self._entries:
            self._keep({**self._edits, path: None})
        else:
            self._edits.pop(path)

    # --- what came of it -------------------------------------------------------------------------

    @property
    def edits(self) -> tuple[FileEdit, ...]:
        """What a commit has to do, by path; what was put back as it was is no edit."""
        return tuple(
            FileEdit(
                path=path,
                content=after,
                executable=self._mode(path) == "100755",
                before_sha=self._entries[path].sha if before is not None else None,
            )
            for path, before, after in self._changed()
        )

    @property
    def changes(self) -> tuple[FileChange, ...]:
        """What differs from the commit, by path."""
        return tuple(compare(path, before, after) for path, before, after in self._changed())

    @property
    def broken(self) -> Mapping[str, str]:
        """By path, why a changed file cannot be parsed that could be, or that is new."""
        return {
            path: reason
            for path, before, after in self._changed()
            if after is not None and (reason := fault(path, after))
            if before is None or not fault(path, before)
        }

    def _changed(self) -> Iterator[tuple[str, str | None, str | None]]:
        """Yield each path whose text differs, with the text before and the one after."""
        for path, after in sorted(self._edits.items()):
            loaded = self._loaded.get(path)
            before = loaded.text if loaded else None
            if before != after:
                yield path, before, after

    def _mode(self, path: str) -> str:
        return self._entries[path].mode if path in self._entries else "100644"

    # --- the rules of writing --------------------------------------------------------------------

    async def _text_to_change(self, path: str) -> str:
        self._require_writable(path)
        if path not in self._entries and path not in self._edits:
            raise WorkspaceError(f"There is no file `{_shown(path)}` in the list of files.")
        return await self.text(path)

    def _require_writable(self, path: str) -> None:
        reason = refused_path(path, self._protected, ships=self._ships) or self._obstacle(path)
        if reason:
            raise Refused(path, reason)

    def _obstacle(self, path: str) -> str | None:
        """Return what in the tree stands in the way."""
        parents = _folders(path)
        others = (self._folded.get(name.casefold(), name) for name in (path, *parents))
        other = next((o for o, name in zip(others, (path, *parents), strict=True) if o != name), "")
        rules = (
            (find_secrets(path), "it looks like a secret"),
            (
                globs.any_match(self._ignored, path),
                "the configuration leaves this path out",
            ),
            (self._is_special(path), "it is a symbolic link or a submodule"),
            (
                any(self._is_special(parent) for parent in parents),
                "the path leads through a symbolic link or a submodule",
            ),
            (
                any(
                    self._is_there(parent) or self._edits.get(parent) is not None
                    for parent in parents
                ),
                "a folder of the path is a file",
            ),
            (self._is_folder(path), "it is a folder"),
            (other, f"it differs from `{_shown(other)}` in the case of letters alone"),
        )
        return next((reason for holds, reason in rules if holds), None)

    def _is_special(self, path: str) -> bool:
        return path in self._entries and self._entries[path].mode not in _REGULAR

    def _is_there(self, path: str) -> bool:
        """Whether the commit has a file there that was not deleted."""
        return path in self._entries and self._edits.get(path, "") is not None

    def _is_folder(self, path: str) -> bool:
        return path in self._folders

    def _is_known_to_be_free(self, path: str) -> bool:
        folder = path.rpartition("/")[0]
        return not folder or self._is_folder(folder)

    def _store(self, path: str, content: str, *, before: str) -> None:
        if reason := refused_content(content):
            raise Refused(path, reason)
        if content.count(REDACTED) > before.count(REDACTED):
            raise WorkspaceError(
                f"{REDACTED} stands for something that you were not shown; a file cannot hold it."
            )
        if find_secrets(content):
            raise Refused(path, "it holds something that looks like a secret")
        self._keep({**self._edits, path: content})
        self._folders.update(_folders(path))
        for name in (path, *_folders(path)):
            self._folded.setdefault(name.casefold(), name)

    def _keep(self, edited: dict[str, str | None]) -> None:
        """Take the edits over if one commit can have them all."""
        if len(edited) > MAX_EDITS:
            raise WorkspaceError(f"No more than {MAX_EDITS} files can be changed.")
        if sum(len(text.encode()) for text in edited.values() if text) > MAX_EDITED_BYTES:
            raise WorkspaceError(f"All changed files together exceed {MAX_EDITED_BYTES} bytes.")
        self._edits = edited


def _folders(path: str) -> list[str]:
    """Return every folder above a path, the nearest first."""
    parts = path.split("/")
    return ["/".join(parts[:depth]) for depth in range(len(parts) - 1, 0, -1)]


def _with_crlf(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\n", "\r\n")


def _not_found(path: str, old: str) -> str:
    hint = "; what you were shown as [redacted] cannot be matched" if REDACTED in old else ""
    return (
        f"The text does not stand in `{_shown(path)}`; it must match to the letter, without the "
        f"line numbers{hint}."
    )


def _shown(path: str) -> str:
    return "".join(c if c.isprintable() and c != "`" else "?" for c in path[:200])
