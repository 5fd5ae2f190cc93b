"""What an agent may read on GitHub: one repository at the commits of one change."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import ValidationError

from bot.github.answer import as_list, as_object
from bot.github.client import GitHubClient
from bot.github.documents import MAX_BLOBS, contents
from bot.github.errors import BadAnswer, NotFound
from bot.github.subjects import SYMLINK_MODE, Entry
from bot.github.wire import Wire, parse
from pipelines.model import Change, ChangedFile, ChangedFiles, FileStatus
from pipelines.ports import FileText, Tree, TreeEntry

MAX_FILES = 3000
"""What GitHub lists of a pull request at most."""
MAX_COMPARED = 300
"""What GitHub lists of two commits at most: https://docs.github.com/rest/commits/commits"""
MAX_FILE_BYTES = 1024 * 1024
_SPECIAL = frozenset({"120000", "160000"})
_STATUSES = frozenset(status.value for status in FileStatus)


class _ListedFile(Wire):
    filename: str
    status: str = "changed"
    previous_filename: str | None = None
    additions: int = 0
    deletions: int = 0
    patch: str | None = None


class _Row(Wire):
    path: str
    mode: str
    type: str
    sha: str
    size: int = 0


class _Listing(Wire):
    tree: tuple[_Row, ...]
    truncated: bool = False


class GitHubReader:
    """Implements ``pipelines.ports.Reader``; reads only, and only this change's repository."""

    def __init__(self, client: GitHubClient, change: Change) -> None:
        self._client = client
        self._change = change

    async def changed_files(self) -> ChangedFiles:
        """Return the changed files; ``complete`` is False if GitHub may have left some out."""
        change, finished = self._change, False
        found = dict[str, ChangedFile]()
        repeated = 0
        async for page, last in self._client.pages(self._listing()):
            finished = last
            for raw in as_list(page) or as_list(as_object(page).get("files")):
                file = _changed_file(parse(_ListedFile, raw, "a changed file"))
                repeated += file.path in found
                found[file.path] = file
        most = MAX_FILES if change.number is not None else MAX_COMPARED
        whole = finished and len(found) < most
        if change.paths_complete:
            whole = whole and found.keys() >= set(change.paths)
        else:
            whole = whole and repeated == 0
        return ChangedFiles(files=tuple(found.values())[:MAX_FILES], complete=whole)

    def _listing(self) -> str:
        change = self._change
        root = f"/repos/{change.repository.full_name}"
        if change.number is not None:
            return f"{root}/pulls/{change.number}/files?per_page=100"
        return f"{root}/compare/{change.base_sha}...{change.head_sha}?per_page=100"

    async def read(
        self, paths: Sequence[str], *, at: Literal["head", "base"] = "head"
    ) -> Mapping[str, FileText]:
        """Return one entry a path, forty to a query; a path is a variable, never query text."""
        oid = self._change.head_sha if at == "head" else self._change.base_sha
        wanted = list(dict.fromkeys(paths))
        found = dict[str, FileText]()
        for start in range(0, len(wanted), MAX_BLOBS):
            found.update(await self._read(wanted[start : start + MAX_BLOBS], oid))
        return found

    async def _read(self, paths: Sequence[str], oid: str) -> dict[str, FileText]:
        variables: dict[str, Any] = {
            "owner": self._change.repository.owner,
            "name": self._change.repository.name,
            "oid": oid,
            **{f"p{index}": path for index, path in enumerate(paths)},
        }
        data = await self._client.query(contents(len(paths)), variables)
        commit = as_object(as_object(data.get("repository")).get("object"))
        if not commit:
            raise NotFound(f"Commit {oid} is gone from {self._change.repository.full_name}.")
        entries = (commit.get(f"f{index}") for index in range(len(paths)))
        return {path: _file_text(path, entry) for path, entry in zip(paths, entries, strict=True)}

    async def tree(self, *, at: Literal["head", "base"] = "head") -> Tree:
        """Return every file of a commit; GitHub lists at most 100,000 and says if that cut some."""
        oid = self._change.head_sha if at == "head" else self._change.base_sha
        url = f"/repos/{self._change.repository.full_name}/git/trees/{oid}?recursive=1"
        listing = parse(_Listing, await self._client.getitem(url), "a tree")
        try:
            entries = tuple(_entry(row) for row in listing.tree if row.type != "tree")
        except ValidationError as error:
            place = error.errors(include_url=False, include_input=False)[0]["loc"]
            raise BadAnswer(f"GitHub's answer about a tree is wrong at {place}.") from None
        return Tree(entries=entries, complete=not listing.truncated)


def _entry(row: _Row) -> TreeEntry:
    """Return an entry; git's older modes for regular files mean the same as today's."""
    regular = "100755" if row.mode[3:4] in ("5", "7") else "100644"
    mode = row.mode if row.mode in _SPECIAL else regular
    return TreeEntry.model_validate(
        {"path": row.path, "mode": mode, "sha": row.sha, "size": max(row.size, 0)}
    )


def _changed_file(raw: _ListedFile) -> ChangedFile:
    known = raw.status in _STATUSES
    return ChangedFile(
        path=raw.filename,
        status=FileStatus(raw.status) if known else FileStatus.CHANGED,
        previous_path=raw.previous_filename,
        additions=max(raw.additions, 0),
        deletions=max(raw.deletions, 0),
        patch=raw.patch or None,
    )


def _file_text(path: str, raw: Any) -> FileText:
    if raw is None:
        return FileText(path=path, text=None, reason="missing")
    entry = parse(Entry, raw, "a file")
    blob = entry.object
    if entry.type != "blob" or entry.mode == SYMLINK_MODE or blob is None:
        return FileText(path=path, text=None, reason="not a regular file")
    size = max(blob.size, 0)
    if blob.truncated or size > MAX_FILE_BYTES:
        return FileText(path=path, text=None, size=size, reason="too large")
    if blob.binary or blob.text is None or "\0" in blob.text:
        return FileText(path=path, text=None, size=size, reason="binary")
    return FileText(path=path, text=blob.text, size=size)
