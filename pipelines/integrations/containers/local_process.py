"""Starts, finds and ends the processes of the local target, and never touches a foreign one."""

import contextlib
import os
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from pipelines.errors import Retryable, UserError
from pipelines.integrations.containers import local_keeper as keeper
from pipelines.integrations.containers.bubblewrap import Binary
from pipelines.integrations.containers.layout import stays_inside
from pipelines.integrations.containers.profile import Toolchains
from pipelines.ports import Clock, Snapshot

FILES = "files"
_WITHIN = "/service"
_ENDING_SECONDS = keeper.GRACE_SECONDS + 3.0
_SYSTEM = ("/bin", "/sbin", "/lib", "/lib32", "/lib64")
_ETC = (
    "alternatives", "ca-certificates", "group", "hosts", "ld.so.cache", "localtime", "mime.types",
    "nsswitch.conf", "passwd", "pki", "resolv.conf", "ssl",
)  # fmt: skip

_NOTE = TypeAdapter(dict[str, object])


class Launcher:
    """Starts commands in folders, inside bubblewrap if there is one."""

    def __init__(self, toolchains: Sequence[Path], binary: Binary | None) -> None:
        self._toolchains = Toolchains.of(toolchains)
        self._binary = binary

    @property
    def isolated(self) -> bool:
        """Whether a service sees only its own files and the system's."""
        return self._binary is not None

    def start(self, folder: Path, command: Sequence[str], environment: Mapping[str, str]) -> None:
        """Start a keeper that runs the command over the folder's files."""
        values = {"PATH": self._toolchains.search_path, "LANG": "C.UTF-8", **environment}
        argv = self._contained(folder, command, values)
        files = folder / FILES
        if not argv:
            argv = list(command)
            values["HOME"] = str(files)
        program = [sys.executable, "-I", "-S", str(Path(keeper.__file__)), str(folder), *argv]
        self._spawn(files, program, values)

    def _contained(
        self, folder: Path, command: Sequence[str], environment: Mapping[str, str]
    ) -> list[str]:
        """Return the command inside bubblewrap, with the machine's network, or nothing."""
        if self._binary is None:
            return []
        argv = [str(self._binary.path), "--unshare-user-try", "--unshare-pid", "--unshare-ipc"]
        argv += ["--unshare-uts", "--unshare-cgroup-try", "--die-with-parent"]
        argv += ["--cap-drop", "ALL", "--clearenv", "--ro-bind", "/usr", "/usr"]
        for path in map(Path, _SYSTEM):
            if path.is_symlink():
                argv += ["--symlink", str(path.readlink()), str(path)]
            elif path.is_dir():
                argv += ["--ro-bind", str(path), str(path)]
        for name in _ETC:
            argv += ["--ro-bind-try", f"/etc/{name}", f"/etc/{name}"]
        argv += ["--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"]  # noqa: S108
        for tools in self._toolchains.folders:
            argv += ["--ro-bind", str(tools), str(tools)]
        argv += ["--bind", str(folder / FILES), _WITHIN, "--chdir", _WITHIN]
        for name, value in {**environment, "HOME": "/tmp"}.items():  # noqa: S108
            argv += ["--setenv", name, value]
        return [*argv, "--", *command]

    def _spawn(self, files: Path, program: Sequence[str], environment: Mapping[str, str]) -> None:
        """Start the keeper in a session of its own, so that it outlives whoever started it."""
        inside = ["/usr/bin/env", "-C", str(files), *program]
        null = [(os.POSIX_SPAWN_OPEN, fd, os.devnull, os.O_RDWR, 0) for fd in (0, 1, 2)]
        try:
            os.posix_spawn(inside[0], inside, dict(environment), file_actions=null, setsid=True)
        except OSError as error:
            raise Retryable(f"The service could not be started: {error}.") from error


def unpack(snapshot: Snapshot, folder: Path) -> None:
    """Write the files of a commit into a new folder."""
    files = folder / FILES
    files.mkdir(parents=True)
    for name, data in snapshot.files.items():
        path = files / name
        if not stays_inside(name):
            raise UserError(f"The commit has a file with the path {name!r}, which leads elsewhere.")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        path.chmod(0o755 if name in snapshot.executables else 0o644)


def free_port(host: str = "127.0.0.1") -> int:
    """Return a port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def alive(folder: Path) -> bool:
    """Whether the keeper that wrote itself down in this folder still runs."""
    return _keeper(folder) is not None


def written(folder: Path, name: str) -> dict[str, object] | None:
    """Return what a keeper wrote down under a name, or None."""
    try:
        return _NOTE.validate_json((folder / name).read_bytes())
    except (OSError, ValidationError):
        return None


async def end(folder: Path, clock: Clock) -> None:
    """Stop what runs in the folder; Retryable if it does not go."""
    pid = _keeper(folder)
    if pid is None:
        return
    waited = 0.0
    _send(folder, pid, signal.SIGTERM)
    while alive(folder):
        if waited >= _ENDING_SECONDS:
            _send(folder, pid, signal.SIGKILL)
        if waited >= 2 * _ENDING_SECONDS:
            raise Retryable(f"Process {pid} of a local service does not end.")
        await clock.sleep(0.05)
        waited += 0.05


def output(folder: Path, lines: int, limit: int) -> str:
    """Return the newest lines of the service's output, at most ``limit`` bytes."""
    data = b""
    for name in (keeper.OLD_LOG, keeper.LOG):
        with contextlib.suppress(FileNotFoundError):
            data += (folder / name).read_bytes()
    rows = data.decode(errors="replace").splitlines()[-lines:] if lines > 0 else []
    return "\n".join(rows).encode()[-limit:].decode(errors="ignore")


def _keeper(folder: Path) -> int | None:
    """Return the keeper's process id if it is still the same process; reaps it if it ended."""
    noted = written(folder, keeper.KEEPER)
    pid = noted.get("pid") if noted else None
    if not isinstance(pid, int):
        return None
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
    return pid if keeper.identity(pid) == noted else None


def _send(folder: Path, pid: int, number: signal.Signals) -> None:
    """Signal the keeper by a handle that cannot come to mean another process."""
    with contextlib.suppress(ProcessLookupError):
        handle = os.pidfd_open(pid)
        try:
            if _keeper(folder) == pid:
                signal.pidfd_send_signal(handle, number)
        finally:
            os.close(handle)
