"""What is laid into a sandbox: the snapshot's files with a job's edits over them."""

import tarfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from pipelines.errors import UserError
from pipelines.model import FileEdit
from pipelines.ports import Snapshot

MAX_FILES = 20_000
MAX_BYTES = 250 * 1024**2
_PAGE = 4096
_CHUNK = 1 << 18


@dataclass(frozen=True, slots=True)
class Layout:
    """Regular files by path relative to the work folder; nothing else is ever laid in."""

    files: Mapping[str, bytes]
    executables: frozenset[str]

    @property
    def size(self) -> int:
        """Bytes that the files take in memory-backed storage, rounded up to pages."""
        return sum(-(-len(data) // _PAGE) * _PAGE + _PAGE for data in self.files.values())


def laid_out(snapshot: Snapshot, edits: Sequence[FileEdit]) -> Layout:
    """Lay edits over a snapshot; UserError if a path leads out or there is too much."""
    files = dict(snapshot.files)
    executables = set(snapshot.executables)
    for edit in edits:
        executables.discard(edit.path)
        if edit.content is None:
            files.pop(edit.path, None)
            continue
        files[edit.path] = edit.content.encode()
        if edit.executable:
            executables.add(edit.path)
    _check(files)
    return Layout(files, frozenset(executables & files.keys()))


def stays_inside(path: str) -> bool:
    """Whether a path names something under the folder that it is relative to."""
    parts = path.split("/")
    return (
        0 < len(path.encode(errors="surrogateescape")) <= 4096
        and "\0" not in path
        and all(p not in ("", ".", "..") and len(p.encode(errors="replace")) <= 255 for p in parts)
    )


def _check(files: Mapping[str, bytes]) -> None:
    if len(files) > MAX_FILES:
        raise UserError(f"A sandbox takes at most {MAX_FILES:,} files, not {len(files):,}.")
    if (size := sum(map(len, files.values()))) > MAX_BYTES:
        raise UserError(f"A sandbox takes at most {MAX_BYTES:,} bytes of files, not {size:,}.")
    folders: set[str] = set()
    for path in files:
        if not stays_inside(path):
            raise UserError(f"The path {path!r} cannot be laid into a sandbox.")
        parts = path.split("/")
        folders.update("/".join(parts[:n]) for n in range(1, len(parts)))
    if both := folders & files.keys():
        raise UserError(f"{min(both)!r} would be a file and a folder at once.")


def archive(layout: Layout, *, owner: int) -> Iterator[bytes]:
    """Yield a tar archive of the files, owned by the user id ``owner``."""
    for path, data in sorted(layout.files.items()):
        entry = tarfile.TarInfo(path)
        entry.size = len(data)
        entry.mode = 0o755 if path in layout.executables else 0o644
        entry.uid = entry.gid = owner
        yield entry.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape")
        yield from chunks(data)
        yield bytes(-len(data) % tarfile.BLOCKSIZE)
    yield bytes(tarfile.RECORDSIZE)


def chunks(data: bytes) -> Iterator[bytes]:
    """Yield the data in pieces that a pipe can be fed with one at a time."""
    view = memoryview(data)
    for start in range(0, len(view), _CHUNK):
        yield bytes(view[start : start + _CHUNK])
