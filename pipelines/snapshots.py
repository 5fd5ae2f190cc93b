"""Which files of a commit go into a snapshot: one rule for every source."""

from dataclasses import dataclass
from hashlib import sha1, sha256

from pipelines.ports import Tree, TreeEntry

MAX_FILES = 20_000
MAX_BYTES = 200 * 1000 * 1000
"""Of all files together."""
MAX_FILE_BYTES = 20 * 1000 * 1000
REST = "…"
"""Stands in ``left_out`` for files whose names are not known."""
_REGULAR = ("100644", "100755")


@dataclass(frozen=True, slots=True)
class Selection:
    """The entries to fetch, and why each of the others is not."""

    wanted: tuple[TreeEntry, ...]
    left_out: dict[str, str]

    @property
    def executables(self) -> frozenset[str]:
        """The paths whose files may be run."""
        return frozenset(entry.path for entry in self.wanted if entry.mode == "100755")


def select(tree: Tree) -> Selection:
    """Choose the regular files, smallest first, so that large assets crowd no source file out."""
    wanted, left_out, size = list[TreeEntry](), dict[str, str](), 0
    for entry in sorted(tree.entries, key=lambda entry: (entry.size, entry.path)):
        reason = _unfit(entry)
        if not reason and (len(wanted) == MAX_FILES or size + entry.size > MAX_BYTES):
            reason = "beyond the limit of the whole"
        if reason:
            left_out[entry.path] = reason
            continue
        wanted.append(entry)
        size += entry.size
    if not tree.complete:
        left_out[REST] = "the source did not list all files"
    return Selection(tuple(wanted), left_out)


def _unfit(entry: TreeEntry) -> str:
    if entry.mode not in _REGULAR:
        return "a symbolic link" if entry.mode == "120000" else "a submodule"
    if not is_inside(entry.path):
        return "not a path inside the repository"
    return "too large" if entry.size > MAX_FILE_BYTES else ""


def is_inside(path: str) -> bool:
    """Whether a path names something below the folder it is relative to, and not git's own."""
    parts = path.split("/")
    odd = any(part in ("", ".", "..") or part.lower() == ".git" for part in parts)
    return not odd and "\0" not in path


def is_blob(content: bytes, oid: str) -> bool:
    """Whether bytes are those of the blob with this id, of either of git's hashes."""
    whole = b"blob %d\0%b" % (len(content), content)
    if len(oid) == 64:
        return sha256(whole).hexdigest() == oid
    return sha1(whole, usedforsecurity=False).hexdigest() == oid
