"""What must hold of a file before a database lives in it: one process, a local disk, private."""

import fcntl
import os
import shutil
from pathlib import Path

from pipelines.errors import NotStored, UserError

_NETWORK = frozenset(
    {"9p", "afs", "beegfs", "ceph", "cifs", "coda", "gfs2", "glusterfs", "gpfs", "lustre", "ncpfs"}
    | {"nfs", "nfs3", "nfs4", "ocfs2", "smb2", "smb3", "smbfs", "fuse.glusterfs", "fuse.s3fs"}
    | {"fuse.sshfs", "fuse.rclone", "fuse.gcsfuse", "fuse.mount-s3", "fuse.cephfs", "fuse.juicefs"}
)
_MOUNTS = Path("/proc/self/mounts")


def refuse_network_disk(path: Path, mounts: str | None = None) -> None:
    """Raise UserError if the file would lie on a network file system.

    SQLite's write-ahead log needs shared memory and locks that those do not give
    (https://sqlite.org/wal.html). ``mounts`` has the form of Linux' ``/proc/self/mounts``; where
    there is no such file, nothing can be said and nothing is refused.
    """
    if mounts is None:
        mounts = _MOUNTS.read_text() if _MOUNTS.exists() else ""
    kind = _file_system(path.resolve(), mounts)
    if kind in _NETWORK:
        raise UserError(
            f"{path} is on a network file system ({kind}), where SQLite can lose data; put the "
            "database on a local disk."
        )


def _file_system(path: Path, mounts: str) -> str:
    best, kind = Path(), ""
    for line in mounts.splitlines():
        fields = line.split(" ")
        if len(fields) < 3:
            continue
        point = Path(fields[1].encode("latin-1").decode("unicode_escape"))
        # A later mount hides an earlier one at the same place.
        if path.is_relative_to(point) and len(point.parts) >= len(best.parts):
            best, kind = point, fields[2]
    return kind


def create_private(path: Path) -> None:
    """Make sure the file exists and only its owner can read it (mode 0600)."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        if path.stat().st_mode & 0o077:
            path.chmod(0o600)
    except OSError as error:
        raise NotStored(f"Cannot open {path} for writing: {error.strerror}.") from error


class FileLock:
    """An exclusive lock on ``PATH.lock``, held until ``release`` or the end of the process."""

    def __init__(self, path: Path) -> None:
        self._path = path.with_name(path.name + ".lock")
        create_private(self._path)
        self._file = os.open(self._path, os.O_RDWR | os.O_CLOEXEC)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(self._file, 20, 0).decode(errors="replace").strip() or "unknown"
            os.close(self._file)
            raise NotStored(
                f"{path} is in use by process {holder}; stop that process, or give this one a "
                "database of its own."
            ) from error
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Let somebody else have it; the empty lock file stays, as removing it would race."""
        os.ftruncate(self._file, 0)
        os.close(self._file)


def share_of_disk(path: Path) -> float:
    """Return which share a file has of itself and the room that is left on its disk, 0 to 1."""
    size, free = path.stat().st_size, shutil.disk_usage(path.parent).free
    return size / (size + free) if size else 0.0
