"""What other processes cost, from ``/proc``."""

import os
import sys
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from bot.cli.demo.processes import program

ROOT = Path(__file__).parent.parent
_TICK = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Server:
    """A server that runs in a process of its own."""

    address: str
    pid: int

    @property
    def cpu_seconds(self) -> float:
        """User and system time of the process so far, without its children."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICK

    @property
    def memory_mib(self) -> float:
        return memory_mib(self.pid)

    @property
    def children(self) -> set[int]:
        return children(self.pid)


def memory_mib(pid: int) -> float:
    """Resident memory now."""
    status = Path(f"/proc/{pid}/status").read_text()
    kib = next(line for line in status.splitlines() if line.startswith("VmRSS:")).split()[1]
    return int(kib) / 1024


def children(pid: int) -> set[int]:
    """The processes that it started and that still run."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return {int(child) for task in tasks for child in (task / "children").read_text().split()}


@asynccontextmanager
async def server(
    *arguments: str, folder: Path, environment: Mapping[str, str]
) -> AsyncGenerator[Server]:
    """Run a Python program that prints its address, in the folder, while the context is open."""
    before = children(os.getpid())
    command = [sys.executable, *arguments]
    log = folder / "server.log"
    paths = {"PYTHONPATH": str(ROOT)}
    async with program(
        command, folder=folder, log=log, environment={**paths, **environment}
    ) as address:
        (pid,) = children(os.getpid()) - before
        yield Server(address, pid)
