"""Started before bubblewrap, as a script that stands alone: joins control groups, drops root.

Its one argument is a JSON object: ``join`` has the ``cgroup.procs`` files to enter, ``drop`` is the
user id to become or null, ``stage`` are folders that this user may not be able to reach and
``argv`` is what is executed in the end, with an empty environment.
"""

import ctypes
import json
import os
import sys

NEW_MOUNTS = 0x20000
PRIVATE = 1 << 18
RECURSIVE = 1 << 14
BIND = 1 << 12
NO_SUID_NO_DEV = 2 | 4


def mount(source: str, target: str, kind: str | None, flags: int, data: str | None = None) -> None:
    """Mount, with the arguments of the system call; a refusal ends the process with a sentence."""
    library = ctypes.CDLL(None, use_errno=True)
    encoded = [None if text is None else os.fsencode(text) for text in (source, target, kind, data)]
    if library.mount(encoded[0], encoded[1], encoded[2], ctypes.c_ulong(flags), encoded[3]):
        sys.exit(f"could not mount {target}: {os.strerror(ctypes.get_errno())}")


def stage(folders: dict[str, str]) -> None:
    """Make folders reachable under short names, in a mount namespace of this process alone.

    The keys are the names, all in one folder that is covered by an empty file system.
    """
    library = ctypes.CDLL(None, use_errno=True)
    if library.unshare(NEW_MOUNTS):
        sys.exit(f"could not leave the mount namespace: {os.strerror(ctypes.get_errno())}")
    mount("none", "/", None, RECURSIVE | PRIVATE)
    # Opened before the cover goes on, which may hide them, and in the namespace that they go into.
    held = {name: os.open(source, os.O_PATH) for name, source in folders.items()}
    root = os.path.dirname(next(iter(folders)))  # noqa: PTH120 - no pathlib, for a fast start
    mount("tmpfs", root, "tmpfs", NO_SUID_NO_DEV, "mode=0755,size=1m")
    for name, handle in held.items():
        os.mkdir(name)  # noqa: PTH102
        mount(f"/proc/self/fd/{handle}", name, None, BIND | RECURSIVE)
        os.close(handle)


def main() -> None:
    """Do what the order says; see the head of this file."""
    os.umask(0o022)
    order = json.loads(sys.argv[1])
    for file in order["join"]:
        with open(file, "w") as procs:  # noqa: PTH123
            procs.write("0")
    if order["drop"] is not None:
        if order["stage"]:
            stage(order["stage"])
        os.setgroups([])
        os.setresgid(order["drop"], order["drop"], order["drop"])
        os.setresuid(order["drop"], order["drop"], order["drop"])
    os.execve(order["argv"][0], order["argv"], {})  # noqa: S606


if __name__ == "__main__":
    main()
