"""A local git repository as a source: the current branch against its merge base, without GitHub.

Git is run with an argument list, never a shell, and with everything switched off that would let a
repository's own files or configuration start a program.
"""

import asyncio
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pipelines.errors import Ignorable, UserError
from pipelines.model import (
    Actor,
    Change,
    ChangedFile,
    ChangedFiles,
    ConfigFile,
    FileStatus,
    OpenFeedback,
    Repository,
    Trigger,
)
from pipelines.ports import Clock, FileText, Reader, Snapshot, Tree, TreeEntry
from pipelines.snapshots import is_inside, select

CONFIG_NAMES = (".conductor.yml", ".conductor.yaml", ".github/conductor.yml")
MAX_FILE_BYTES = 1 << 20
GIT_SECONDS = 60.0

_HARDENED = (
    "--no-optional-locks",
    *("-c", "core.fsmonitor=false"),
    *("-c", "core.hooksPath=/dev/null"),
    *("-c", "core.quotePath=false"),
    *("-c", "diff.external="),
    *("-c", "safe.bareRepository=explicit"),
    *("-c", "protocol.allow=never"),
)
_DIFF = ("--no-color", "--no-ext-diff", "--no-textconv", "--no-relative", "-M")
_STATUS = {
    "A": FileStatus.ADDED,
    "C": FileStatus.COPIED,
    "D": FileStatus.REMOVED,
    "M": FileStatus.MODIFIED,
    "R": FileStatus.RENAMED,
    "T": FileStatus.CHANGED,
}


class GitError(UserError):
    """Git refused; the message says what was asked and what it answered."""


@dataclass(frozen=True, slots=True)
class Git:
    """Runs git in one folder."""

    folder: Path

    async def run(self, *arguments: str, stdin: bytes = b"") -> bytes:
        """Return git's standard output; raises GitError if it fails or takes over a minute."""
        try:
            process = await asyncio.create_subprocess_exec(
                "git",
                *_HARDENED,
                *arguments,
                cwd=self.folder,
                env=_environment(),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
        except (FileNotFoundError, NotADirectoryError) as error:
            raise GitError(f"git could not be started in {str(self.folder)!r}: {error}.") from error
        try:
            async with asyncio.timeout(GIT_SECONDS):
                output, complaint = await process.communicate(stdin)
        except TimeoutError as error:
            raise GitError(f"`git {_verb(arguments)}` took more than a minute.") from error
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode != 0:
            said = complaint.decode(errors="replace").strip().removeprefix("fatal: ")
            raise GitError(f"`git {_verb(arguments)}` failed: {said or process.returncode}.")
        return output

    async def text(self, *arguments: str) -> str:
        """Return git's output without the final line break."""
        return (await self.run(*arguments)).decode(errors="replace").rstrip("\n")

    async def commit(self, revision: str) -> str:
        """Return the full id of the commit that a revision names."""
        return await self.text(
            "rev-parse", "--verify", "--end-of-options", f"{revision}^{{commit}}"
        )


class CheckoutSource:
    """Implements ``ports.Source`` for the repository that a folder belongs to."""

    def __init__(self, folder: Path, clock: Clock, *, base: str | None = None) -> None:
        self._git = Git(folder)
        self._clock = clock
        self._base = base

    async def current_change(self) -> Change:
        """Return the change between HEAD and its merge base with the base branch.

        Raises Ignorable when there is nothing between them and UserError outside a repository.
        """
        root = await self._git.text("rev-parse", "--show-toplevel")
        head = await self._git.commit("HEAD")
        base_ref = self._base or await self._default_branch()
        base = await self._merge_base(base_ref, head)
        if base == head:
            raise Ignorable(
                f"There is nothing to look at: HEAD has no commits that {base_ref!r} lacks. "
                "Commit on a branch, or name another base with --base."
            )
        paths = await self._git.run("diff", *_DIFF, "--name-only", "-z", base, head)
        return Change(
            repository=Repository(
                installation_id=0,
                id=0,
                owner="local",
                name=Path(root).name,
                default_branch=base_ref,
            ),
            head_sha=head,
            base_sha=base,
            head_ref=await self._git.text("rev-parse", "--abbrev-ref", "HEAD"),
            base_ref=base_ref,
            title=await self._git.text("log", "-1", "--format=%s", head),
            body=await self._git.text("log", "-1", "--format=%b", head),
            author=Actor(id=0, login=await self._git.text("log", "-1", "--format=%an", head)),
            author_can_write=True,
            paths=tuple(_path(p) for p in paths.split(b"\0") if p),
            config=await self._config(base),
            read_at=self._clock.now(),
        )

    async def dirty(self) -> bool:
        """Whether tracked files have changes that are not committed."""
        return bool(await self._git.run("diff-index", "--name-only", "HEAD", "--"))

    async def change(self, trigger: Trigger) -> Change:
        """Return the current change; a local run has one subject whatever triggered it."""
        del trigger
        return await self.current_change()

    def reader(self, change: Change) -> Reader:
        """Return a reader bound to the change's two commits."""
        return CheckoutReader(self._git, change)

    async def snapshot(self, change: Change, *, at: Literal["head", "base"] = "head") -> Snapshot:
        """Return the files of a commit as bytes."""
        selection = select(await self.reader(change).tree(at=at))
        contents = await _blobs(self._git, [entry.sha for entry in selection.wanted])
        return Snapshot(
            sha=change.head_sha if at == "head" else change.base_sha,
            files={entry.path: contents[entry.sha] for entry in selection.wanted},
            executables=selection.executables,
            left_out=selection.left_out,
        )

    async def feedback(self, change: Change, environment: str | None) -> Sequence[OpenFeedback]:
        """Return nothing: there are no issues beside a folder."""
        del change, environment
        return ()

    async def _merge_base(self, base_ref: str, head: str) -> str:
        try:
            return await self._git.text("merge-base", await self._git.commit(base_ref), head)
        except GitError as error:
            raise UserError(
                f"HEAD has no common history with {base_ref!r}; name a base with --base."
            ) from error

    async def _default_branch(self) -> str:
        candidates = ["origin/HEAD", "origin/main", "origin/master", "main", "master"]
        for name in candidates:
            try:
                await self._git.commit(name)
            except GitError:
                continue
            return name
        raise UserError("No base branch was found (main or master); name one with --base.")

    async def _config(self, commit: str) -> ConfigFile | None:
        for name, entry in (await _entries(self._git, commit, CONFIG_NAMES)).items():
            text = await self._git.run("cat-file", "blob", entry.oid)
            return ConfigFile(path=name, text=text.decode(errors="replace"), sha=entry.oid)
        return None


class CheckoutReader:
    """Implements ``ports.Reader`` for two commits of a local repository."""

    def __init__(self, git: Git, change: Change) -> None:
        self._git = git
        self._change = change

    async def changed_files(self) -> ChangedFiles:
        """Return every file between base and head with its patch."""
        between = (self._change.base_sha, self._change.head_sha)
        status = await self._git.run("diff", *_DIFF, "--name-status", "-z", *between)
        patch = await self._git.run("diff", *_DIFF, "--patch", "-U3", *between)
        patches = iter(_split_patch(patch.decode(errors="replace")))
        files: list[ChangedFile] = []
        for letter, paths in _name_status(status):
            text = next(patches)
            if letter == "T":
                # A changed type, say from file to symlink, is printed as a removal and an addition.
                next(patches)
                text = ""
            files.append(_changed_file(letter, paths, text))
        return ChangedFiles(files=tuple(files))

    async def read(
        self, paths: Sequence[str], *, at: Literal["head", "base"] = "head"
    ) -> Mapping[str, FileText]:
        """Return one entry for each path, as the commit has it."""
        commit = self._change.head_sha if at == "head" else self._change.base_sha
        entries = await _entries(self._git, commit, paths)
        return {path: await self._file(path, entries.get(path)) for path in paths}

    async def tree(self, *, at: Literal["head", "base"] = "head") -> Tree:
        """Return the whole tree of a commit; a name that is not UTF-8 is spelled out."""
        commit = self._change.head_sha if at == "head" else self._change.base_sha
        listing = await self._git.run("ls-tree", "-r", "-z", "-l", "--full-tree", commit)
        return Tree(entries=tuple(_tree_entry(path, entry) for path, entry in _listed(listing)))

    async def _file(self, path: str, entry: "_Entry | None") -> FileText:
        if entry is None:
            return FileText(path=path, text=None, reason="missing")
        if entry.mode not in ("100644", "100755"):
            return FileText(path=path, text=None, reason="not a regular file")
        if entry.size > MAX_FILE_BYTES:
            return FileText(path=path, text=None, size=entry.size, reason="too large")
        content = await self._git.run("cat-file", "blob", entry.oid)
        if b"\0" in content[:8000]:
            return FileText(path=path, text=None, size=entry.size, reason="binary")
        return FileText(path=path, text=content.decode(errors="replace"), size=entry.size)


@dataclass(frozen=True, slots=True)
class _Entry:
    mode: str
    oid: str
    size: int


async def _entries(git: Git, commit: str, paths: Sequence[str]) -> dict[str, _Entry]:
    inside = [path for path in paths if is_inside(path)]
    if not inside:
        return {}
    listing = await git.run(
        "--literal-pathspecs", "ls-tree", "-z", "-l", "--full-tree", commit, "--", *inside
    )
    entries = dict(_listed(listing))
    return {path: entries[path] for path in paths if path in entries}


def _listed(listing: bytes) -> Iterator[tuple[str, _Entry]]:
    """Yield the path and entry of each row that ``git ls-tree -z -l`` printed."""
    for line in filter(None, listing.split(b"\0")):
        head, _, name = line.partition(b"\t")
        mode, _kind, oid, size = head.decode().split()
        yield _path(name), _Entry(mode, oid, int(size) if size.isdigit() else 0)


def _tree_entry(path: str, entry: _Entry) -> TreeEntry:
    """Return a row of a recursive listing; git's older modes for regular files mean the same."""
    mode = entry.mode if entry.mode in ("100755", "120000", "160000") else "100644"
    return TreeEntry.model_validate(
        {"path": path, "mode": mode, "sha": entry.oid, "size": entry.size}
    )


async def _blobs(git: Git, oids: Sequence[str]) -> dict[str, bytes]:
    """Return the content of every blob, asked for in one go."""
    wanted = list(dict.fromkeys(oids))
    asked = "".join(f"{oid}\n" for oid in wanted).encode()
    output = await git.run("cat-file", "--batch", stdin=asked)
    found, place = dict[str, bytes](), 0
    for oid in wanted:
        end = output.index(b"\n", place)
        said = output[place:end].split(b" ")
        if len(said) != 3 or said[1] != b"blob":
            raise GitError(f"`git cat-file` does not have blob {oid}.")
        start, size = end + 1, int(said[2])
        found[oid] = output[start : start + size]
        place = start + size + 1
    return found


def _path(name: bytes) -> str:
    """Return a file's name as text; bytes that are not UTF-8 are spelled out, so that it is told
    from others, can be written down, and is not mistaken for a name that can be read back.
    """
    return name.decode(errors="backslashreplace")


def _name_status(output: bytes) -> list[tuple[str, list[str]]]:
    fields = [_path(field) for field in output.split(b"\0")]
    found: list[tuple[str, list[str]]] = []
    index = 0
    while index < len(fields) - 1:
        letter = fields[index][:1]
        count = 2 if letter in "RC" else 1
        found.append((letter, fields[index + 1 : index + 1 + count]))
        index += 1 + count
    return found


def _split_patch(text: str) -> list[str]:
    """One text a file; no line of content can look like the header, since each has a prefix."""
    pieces = ("\n" + text).split("\ndiff --git ")
    return [piece + "\n" for piece in pieces[1:]]


def _changed_file(letter: str, paths: list[str], text: str) -> ChangedFile:
    _, found, hunks = text.partition("\n@@ ")
    patch = ("@@ " + hunks).rstrip("\n") if found else None
    lines = patch.split("\n") if patch else []
    return ChangedFile(
        path=paths[-1],
        previous_path=paths[0] if len(paths) > 1 else None,
        status=_STATUS.get(letter, FileStatus.CHANGED),
        additions=sum(line.startswith("+") for line in lines),
        deletions=sum(line.startswith("-") for line in lines),
        patch=patch,
    )


def _verb(arguments: Sequence[str]) -> str:
    return next(argument for argument in arguments if not argument.startswith("-"))


def _environment() -> dict[str, str]:
    """Only what git needs: no user or system configuration, no prompts, no helpers."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
    return kept | {
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_TERMINAL_PROMPT": "0",
        "LC_ALL": "C.UTF-8",
    }
