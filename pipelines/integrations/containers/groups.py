"""Control groups that hold a sandbox's memory and number of processes, where they may be made."""

import asyncio
import errno
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pipelines.errors import Retryable

PREFIX = "conductor-"
_EMPTY_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Group:
    """A control group, or with version 1 two of them, for one sandbox."""

    version: int
    memory: Path
    pids: Path

    @property
    def procs(self) -> list[str]:
        """The files by which a process joins."""
        return [str(folder / "cgroup.procs") for folder in dict.fromkeys((self.memory, self.pids))]

    def memory_ran_out(self) -> bool:
        """Whether the kernel killed a process of the group for memory."""
        name = "memory.oom_control" if self.version == 1 else "memory.events"
        for line in (self.memory / name).read_text().splitlines():
            key, _, value = line.partition(" ")
            if key == "oom_kill":
                return int(value) > 0
        return False

    async def remove(self) -> None:
        """Remove it once its last process is gone; Retryable if one does not go."""
        try:
            async with asyncio.timeout(_EMPTY_SECONDS):
                # The kernel tells nobody when a group of version 1 has become empty.
                while not _removed((self.memory, self.pids)):  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
        except TimeoutError as error:
            raise Retryable(f"Processes are left in the control group {self.memory}.") from error


@dataclass(frozen=True, slots=True)
class Groups:
    """Where groups can be made: ``memory`` and ``pids`` are the same folder with version 2."""

    version: int
    memory: Path
    pids: Path

    def make(self, name: str, *, memory_bytes: int, processes: int) -> Group:
        """Make a group with these limits, swap included; OSError if it may not be made."""
        group = Group(self.version, self.memory / name, self.pids / name)
        try:
            for folder in dict.fromkeys((group.memory, group.pids)):
                folder.mkdir()
            _write(group.pids / "pids.max", processes)
            if self.version == 1:
                _write(group.memory / "memory.limit_in_bytes", memory_bytes)
                _write_if_there(group.memory / "memory.memsw.limit_in_bytes", memory_bytes)
            else:
                _write(group.memory / "memory.max", memory_bytes)
                _write_if_there(group.memory / "memory.swap.max", 0)
                _write_if_there(group.memory / "memory.oom.group", 0)
        except OSError:
            _removed((group.memory, group.pids))
            raise
        return group

    def sweep(self) -> None:
        """Remove what makers left that were killed; their processes died with them."""
        for parent in dict.fromkeys((self.memory, self.pids)):
            left = [each for each in parent.glob(f"{PREFIX}*") if not _maker_lives(each.name)]
            _removed(left)


def find(own: str, root: Path = Path("/sys/fs/cgroup")) -> Groups | None:
    """Find where groups can be made by really making one; ``own`` is /proc/self/cgroup's text."""
    for groups in _candidates(own, root):
        try:
            trial = groups.make(f"{PREFIX}{os.getpid()}-trial", memory_bytes=1 << 26, processes=8)
        except OSError:
            continue
        _removed((trial.memory, trial.pids))
        return groups
    return None


def _candidates(own: str, root: Path) -> list[Groups]:
    paths: dict[str, str] = {}
    for line in own.splitlines():
        _, controllers, path = line.split(":", 2)
        paths.update((name, path.lstrip("/")) for name in controllers.split(","))
    found: list[Groups] = []
    if "memory" in paths and "pids" in paths:
        found += [
            Groups(1, root / "memory" / paths["memory"], root / "pids" / paths["pids"]),
            Groups(1, root / "memory", root / "pids"),
        ]
    if "" in paths and (root / "cgroup.controllers").exists():
        mine = root / paths[""]
        # With processes in it, a group cannot hand controllers down; its parent then may.
        found += [Groups(2, mine, mine), Groups(2, mine.parent, mine.parent)]
    return [each for each in found if each.version == 1 or _hands_down(each.memory)]


def _hands_down(folder: Path) -> bool:
    try:
        enabled = (folder / "cgroup.subtree_control").read_text().split()
    except OSError:
        return False
    return {"memory", "pids"} <= set(enabled)


def _maker_lives(name: str) -> bool:
    maker = name.removeprefix(PREFIX).partition("-")[0]
    return Path(f"/proc/{maker}").exists()


def _write(path: Path, value: int) -> None:
    path.write_text(str(value))


def _write_if_there(path: Path, value: int) -> None:
    if path.exists():
        _write(path, value)


def _removed(folders: Sequence[Path]) -> bool:
    """Remove what is empty and say whether nothing is left."""
    left = False
    for folder in folders:
        try:
            folder.rmdir()
        except FileNotFoundError:
            continue
        except OSError as error:
            if error.errno not in (errno.EBUSY, errno.ENOTEMPTY, errno.EACCES, errno.EPERM):
                raise
            left = True
    return not left
