"""Keeps one service of the local target running: a program of its own that outlives Conductor.

Started as ``python -I -S local_keeper.py FOLDER COMMAND...``, so it imports the standard library
only. It writes down who it is before the command starts, keeps the newest output within a limit,
passes SIGTERM on, and writes down how the command ended. If it is killed, the command dies, too.
"""

import contextlib
import ctypes
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

KEEPER, EXIT, LOG, OLD_LOG = "keeper.json", "exit.json", "log", "log.1"
LOG_BYTES = 256 * 1024
"""Of each of the two files that the log alternates between."""
GRACE_SECONDS = 5.0
_PR_SET_PDEATHSIG = 1


def identity(pid: int) -> dict[str, int | str] | None:
    """Return what tells this process from a later one with its number; None if it is gone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()
    gone = fields[0] in ("Z", "X")
    return None if gone else {"pid": pid, "started": int(fields[19]), "boot": boot}


def write(path: Path, value: object) -> None:
    """Put a JSON file there, whole or not at all."""
    draft = path.with_name(f"{path.name}.new")
    draft.write_text(json.dumps(value))
    draft.replace(path)


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _pump(source: int, folder: Path) -> None:
    """Copy the output, starting a new file when the present one is full."""
    log, size = (folder / LOG).open("ab", buffering=0), 0
    while piece := os.read(source, 1 << 16):
        if size + len(piece) > LOG_BYTES:
            log.close()
            (folder / LOG).replace(folder / OLD_LOG)
            log, size = (folder / LOG).open("ab", buffering=0), 0
        log.write(piece)
        size += len(piece)
    log.close()


def _programs(pid: int) -> list[int]:
    """Return the process and those below it, without bubblewrap's own, which pass nothing on."""
    found: list[int] = []
    with contextlib.suppress(OSError):
        if Path(f"/proc/{pid}/comm").read_text() != "bwrap\n":
            found.append(pid)
        for below in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            found += _programs(int(below))
    return found


def _end(child: "subprocess.Popen[bytes]") -> None:
    """Ask the command to end, and kill it if it does not."""
    for pid in _programs(child.pid):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
    try:
        child.wait(GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        child.kill()


def main(folder: Path, command: list[str]) -> None:
    """Run the command to its end."""
    stopping = threading.Event()
    signal.signal(signal.SIGTERM, lambda _number, _frame: stopping.set())
    write(folder / KEEPER, identity(os.getpid()))
    try:
        child = subprocess.Popen(  # noqa: S603 - the operator allowed it
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            preexec_fn=_die_with_parent,  # noqa: PLW1509 - there are no threads yet
        )
    except OSError as error:
        (folder / LOG).write_text(f"{error}\n")
        write(folder / EXIT, {"code": None, "message": f"could not be started: {error.strerror}"})
        return
    assert child.stdout is not None
    pump = threading.Thread(target=_pump, args=(child.stdout.fileno(), folder), daemon=True)
    pump.start()
    threading.Thread(target=lambda: (child.wait(), stopping.set()), daemon=True).start()
    stopping.wait()
    asked = child.poll() is None
    if asked:
        _end(child)
    code = child.wait()
    pump.join(1.0)
    write(folder / EXIT, {"code": code, "message": _how(code, asked=asked)})


def _how(code: int, *, asked: bool) -> str:
    if asked:
        return "was stopped"
    return f"exited with code {code}" if code >= 0 else f"was killed by signal {-code}"


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
