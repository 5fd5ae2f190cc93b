"""The first process of a bubblewrap sandbox; a script that stands alone on the standard library.

It reads its order and the files from standard input, runs the command, ends every process that is
left, and hands the wanted files over on standard output. The command's own output goes to standard
error. It runs as the same unprivileged user as the command, so whoever reads it believes nothing.
"""

import errno
import json
import os
import resource
import signal
import stat
import sys
from typing import Any, BinaryIO

WORK = "/workspace"
MAX_FILE_BYTES = 10 * 1024**2
LINK = "not a regular file but a symbolic link, or behind one"
# The command's processes are to be chosen before this one when memory runs out.
SHELL = 'echo 1000 2>/dev/null >/proc/self/oom_score_adj; exec /bin/sh -c "$1"'


def lay_in(files: list[tuple[str, int, bool]], stream: BinaryIO) -> None:
    """Write the files that follow one another on the stream."""
    for path, size, executable in files:
        target = os.path.join(WORK, path)  # noqa: PTH118 - no pathlib, for a fast start
        os.makedirs(os.path.dirname(target), exist_ok=True)  # noqa: PTH103, PTH120
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        handle = os.open(os.fsencode(target), flags, 0o755 if executable else 0o644)
        left = size
        while left:
            piece = stream.read(min(left, 1 << 18))
            if not piece:
                sys.exit("the files ended early")
            left -= os.write(handle, piece)
        os.close(handle)


def limit(limits: dict[str, int]) -> None:
    """Lower this process's resource limits; the hard ones, so that nothing raises them again."""
    for name, wanted in limits.items():
        kind = getattr(resource, name)
        hard = resource.getrlimit(kind)[1]
        value = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(kind, (value, value))


def run(order: dict[str, Any]) -> int:
    """Run the command to its end, reap whatever is orphaned meanwhile, and return its status."""
    child = os.fork()
    if child == 0:
        os.setsid()
        for ignored in (signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(ignored, signal.SIG_DFL)
        null = os.open("/dev/null", os.O_RDONLY)
        os.dup2(null, 0)
        os.dup2(2, 1)
        limit(order["limits"])
        shell = ["sh", "-c", SHELL, "sh", order["command"]]
        os.execve("/bin/sh", shell, order["environment"])  # noqa: S606
    while True:
        ended, status = os.waitpid(-1, 0)
        if ended == child:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code


def end_the_rest() -> None:
    """Kill every other process of the sandbox; signal -1 spares only this one, its first."""
    while True:
        try:
            os.kill(-1, signal.SIGKILL)
            os.waitpid(-1, 0)
        except (ProcessLookupError, ChildProcessError):
            return


def opened(root: str, path: str) -> int:
    """Open a file under a folder for reading without following a link on the way to it."""
    folder = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        *parents, name = path.split("/")
        for parent in parents:
            inner = os.open(parent, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=folder)
            os.close(folder)
            folder = inner
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY
        return os.open(name, flags, dir_fd=folder)
    finally:
        os.close(folder)


def taken(root: str, path: str) -> tuple[str, bytes]:
    """Return the reason why a wanted file is not taken, empty if it is, and its bytes."""
    try:
        handle = opened(root, path)
    except FileNotFoundError:
        return "missing", b""
    except OSError as error:
        link = error.errno in (errno.ELOOP, errno.ENOTDIR)
        return LINK if link else f"not a regular file that can be read ({error.strerror})", b""
    try:
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode):
            return "not a regular file", b""
        if found.st_nlink != 1:
            return "not a regular file but one of several hard links", b""
        if found.st_size > MAX_FILE_BYTES:
            return "larger than 10 MiB", b""
        with open(handle, "rb", closefd=False) as file:
            return "", file.read(MAX_FILE_BYTES + 1)
    finally:
        os.close(handle)


def hand_over(path: str, stream: BinaryIO) -> None:
    """Write a wanted file to the stream, or why it is not taken."""
    reason, data = taken(WORK, path)
    head = {"path": path, "refused": reason} if reason else {"path": path, "size": len(data)}
    stream.write(json.dumps(head).encode() + b"\n" + data)


def full() -> bool:
    """Whether a file system that the command could write is at its limit."""
    found = [os.statvfs(path) for path in (WORK, "/tmp")]  # noqa: S108 - the sandbox's own
    return any(each.f_bavail <= 16 for each in found)


def main() -> None:
    """Do what the order says; see the head of this file."""
    # The kernel keeps from the first process every signal that it does not handle.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.umask(0o022)
    order = json.loads(sys.stdin.buffer.readline())
    lay_in(order["files"], sys.stdin.buffer)
    code = run(order)
    end_the_rest()
    disk_full = full()
    for path in order["collect"]:
        hand_over(path, sys.stdout.buffer)
    verdict = {"exit": code, "full": disk_full}
    sys.stdout.buffer.write(json.dumps(verdict).encode() + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
