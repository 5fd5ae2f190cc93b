"""Bare git repositories, driven by plumbing commands with nothing of the machine's own settings."""

import asyncio
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

TIMEOUT = 60.0
"""Seconds for one git command; the repositories here are small."""

ZERO = "0" * 40


class GitError(Exception):
    """A git command failed: what was asked, its exit code and its words."""

    def __init__(self, arguments: Sequence[str], code: int, stderr: str) -> None:
        super().__init__(f"git {arguments[0]} ended with {code}: {stderr.strip()[:500]}")
        self.code = code
        self.stderr = stderr


@dataclass(frozen=True, slots=True)
class Signature:
    """Who made a commit, and when."""

    name: str
    email: str
    at: datetime


@dataclass(frozen=True, slots=True)
class CommitRecord:
    """A commit as git stores it."""

    sha: str
    tree: str
    parents: tuple[str, ...]
    author: Signature
    committer: Signature
    message: str


@dataclass(frozen=True, slots=True)
class TreeEntry:
    """One row of ``git ls-tree``; ``size`` in bytes, None for what is not a blob."""

    mode: str
    kind: str
    sha: str
    size: int | None
    path: str


def environment() -> dict[str, str]:
    """An environment in which git reads no configuration but the repository's own."""
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": "/nonexistent",
        "LC_ALL": "C.UTF-8",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_OPTIONAL_LOCKS": "0",
        "GIT_NO_REPLACE_OBJECTS": "1",
        "GIT_PROTOCOL_FROM_USER": "0",
    }


class GitRepository:
    """One bare repository; every method is one or a few plumbing commands."""

    def __init__(self, path: Path) -> None:
        self.path = path

    async def create(self, default_branch: str) -> None:
        """Make an empty bare repository without hooks."""
        self.path.mkdir(parents=True)
        await self.run("init", "--quiet", "--bare", "--template=", f"-b{default_branch}", ".")

    async def run(
        self, *arguments: str, stdin: bytes = b"", env: Mapping[str, str] | None = None
    ) -> bytes:
        """Run one command and return its output; raises GitError on a non-zero exit."""
        process = await asyncio.create_subprocess_exec(
            "git",
            "-c",
            "core.hooksPath=/dev/null",
            "-c",
            "core.quotePath=false",
            "-c",
            "gc.auto=0",
            *arguments,
            cwd=self.path,
            env={**environment(), **(env or {})},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            async with asyncio.timeout(TIMEOUT):
                out, err = await process.communicate(stdin)
        except BaseException:
            if process.returncode is None:
                process.kill()
            await process.wait()
            raise
        if process.returncode:
            raise GitError(arguments, process.returncode, err.decode(errors="replace"))
        return out

    async def text(self, *arguments: str, stdin: bytes = b"") -> str:
        """Run one command and return its output as text without the last newline."""
        return (await self.run(*arguments, stdin=stdin)).decode(errors="replace").rstrip("\n")

    async def resolve(self, revision: str, kind: str = "commit") -> str | None:
        """Return the object id of a branch, tag, ``refs/…`` or short id; None if there is none."""
        if not revision or revision.startswith("-") or "\0" in revision:
            return None
        for candidate in (revision, f"refs/heads/{revision}", f"refs/tags/{revision}"):
            try:
                return await self.text(
                    "rev-parse",
                    "--verify",
                    "--quiet",
                    "--end-of-options",
                    f"{candidate}^{{{kind}}}",
                )
            except GitError:
                continue
        return None

    async def kind(self, sha: str) -> str | None:
        """Return ``blob``, ``tree``, ``commit`` or ``tag``; None if there is no such object."""
        try:
            return await self.text("cat-file", "-t", sha)
        except GitError:
            return None

    async def blob(self, sha: str) -> bytes:
        """Return a blob's bytes."""
        return await self.run("cat-file", "blob", sha)

    async def write_blob(self, content: bytes) -> str:
        """Store bytes and return the blob's id."""
        return await self.text("hash-object", "-w", "--stdin", stdin=content)

    async def tree(self, treeish: str, *, recursive: bool, path: str = "") -> list[TreeEntry]:
        """List a tree; with ``path``, that folder or file."""
        flags = ["-r", "-t"] if recursive else []
        scope = ["--", path] if path else []
        out = await self.run("ls-tree", "-z", "-l", *flags, treeish, *scope)
        return [_entry(row) for row in out.split(b"\0") if row]

    async def write_tree(
        self, base: str | None, changes: Sequence[tuple[str, str, str | None]]
    ) -> str:
        """Return the tree that comes of ``(path, mode, sha)`` over a base; sha None removes."""
        index = self.path / f"index-{id(changes):x}"
        env = {"GIT_INDEX_FILE": str(index)}
        rows = [
            f"{mode} {sha}\t{path}" if sha else f"0 {ZERO}\t{path}" for path, mode, sha in changes
        ]
        try:
            await self.run("read-tree", *([base] if base else ["--empty"]), env=env)
            lines = "".join(f"{row}\0" for row in rows).encode()
            await self.run("update-index", "-z", "--index-info", stdin=lines, env=env)
            return (await self.run("write-tree", env=env)).decode().strip()
        finally:
            index.unlink(missing_ok=True)

    async def write_commit(
        self,
        tree: str,
        parents: Sequence[str],
        message: str,
        author: Signature,
        committer: Signature,
    ) -> str:
        """Store a commit and return its id."""
        env = {
            "GIT_AUTHOR_NAME": author.name,
            "GIT_AUTHOR_EMAIL": author.email,
            "GIT_AUTHOR_DATE": author.at.strftime("%s %z"),
            "GIT_COMMITTER_NAME": committer.name,
            "GIT_COMMITTER_EMAIL": committer.email,
            "GIT_COMMITTER_DATE": committer.at.strftime("%s %z"),
        }
        flags = [flag for parent in parents for flag in ("-p", parent)]
        out = await self.run("commit-tree", *flags, tree, stdin=message.encode(), env=env)
        return out.decode().strip()

    async def commit(self, sha: str) -> CommitRecord:
        """Read a commit."""
        form = "%H%x00%T%x00%P%x00%an%x00%ae%x00%aI%x00%cn%x00%ce%x00%cI%x00%B"
        fields = (await self.text("log", "-1", f"--format={form}", sha, "--")).split("\0")
        return CommitRecord(
            sha=fields[0],
            tree=fields[1],
            parents=tuple(fields[2].split()),
            author=Signature(fields[3], fields[4], datetime.fromisoformat(fields[5])),
            committer=Signature(fields[6], fields[7], datetime.fromisoformat(fields[8])),
            message=fields[9].rstrip("\n"),
        )

    async def log(self, base: str, head: str) -> list[str]:
        """Ids of the commits of ``head`` that ``base`` does not have, oldest first."""
        out = await self.text("rev-list", "--reverse", "--topo-order", f"{base}..{head}", "--")
        return out.split()

    async def merge_base(self, left: str, right: str) -> str | None:
        """The best common ancestor, or None for unrelated histories."""
        try:
            return await self.text("merge-base", left, right)
        except GitError:
            return None

    async def is_ancestor(self, older: str, newer: str) -> bool:
        """Whether ``newer`` contains ``older``."""
        return await self.merge_base(older, newer) == older

    async def refs(self, prefix: str = "refs/") -> dict[str, str]:
        """Every ref below a prefix with the object it names."""
        out = await self.text("for-each-ref", "--format=%(refname) %(objectname)", prefix)
        rows = (line.partition(" ") for line in out.splitlines())
        return {name: sha for name, _, sha in rows}

    async def move_ref(self, ref: str, new: str | None, expected: str | None = None) -> None:
        """Set or delete a ref; with ``expected`` (ZERO: absent) only if it is there now."""
        guard = [expected] if expected else []
        change = ["-d", ref] if new is None else [ref, new]
        await self.run("update-ref", *change, *guard)


def _entry(row: bytes) -> TreeEntry:
    meta, path = row.decode(errors="replace").split("\t", 1)
    mode, kind, sha, size = meta.split()
    return TreeEntry(mode, kind, sha, None if size == "-" else int(size), path)
