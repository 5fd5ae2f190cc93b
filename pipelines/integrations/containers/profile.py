"""The bubblewrap profile: what a sandbox sees of the machine, and the list that says so."""

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipelines.errors import UserError

WORK = "/workspace"
"""As in ``inside.py``, which stands alone."""
INSIDE = "/run/conductor/inside.py"
OWNER = 65534
STAGE = "/mnt"
"""Covered, in a mount namespace of its own, when root starts a sandbox."""
SHARED_MEMORY_BYTES = 64 << 20

_SYSTEM = ("/bin", "/sbin", "/lib", "/lib32", "/lib64")
_PLAIN_ETC = ("/etc/alternatives", "/etc/ld.so.cache", "/etc/localtime", "/etc/mime.types")
"""Names of programs, libraries and zones that are found through /etc; the rest is not seen."""
_PRIVATE = ("/etc", "/proc", "/sys", "/dev", "/run", "/boot", "/var/run", "/var/lib", "/var/spool")
_ETC = {
    "/etc/passwd": "sandbox:x:65534:65534::/tmp:/bin/sh\n",
    "/etc/group": "sandbox:x:65534:\n",
    "/etc/hosts": "127.0.0.1 localhost sandbox\n::1 localhost\n",
    "/etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\n",
}


@dataclass(frozen=True, slots=True)
class Toolchains:
    """Folders of the machine that a sandbox sees, read-only and under their own names."""

    folders: tuple[Path, ...]

    @classmethod
    def of(cls, declared: Sequence[Path] = ()) -> "Toolchains":
        """Check what the operator declared; the Python that runs this is always among them."""
        folders = [_checked(path) for path in declared]
        interpreter = Path(sys.base_prefix).resolve()
        if not interpreter.is_relative_to("/usr"):
            folders.append(_checked(interpreter))
        return cls(tuple(dict.fromkeys(folders)))

    @property
    def search_path(self) -> str:
        """PATH: the declared folders first, in their order."""
        own = [str(folder / "bin") for folder in self.folders if (folder / "bin").is_dir()]
        interpreter = str(Path(sys.base_prefix).resolve() / "bin")
        system = ["/usr/local/bin", "/usr/bin", "/bin"]
        return ":".join(dict.fromkeys([*own, interpreter, *system]))


def _checked(path: Path) -> Path:
    folder = path.resolve()
    private = len(folder.parts) < 3 or Path.home().resolve().is_relative_to(folder)
    private = private or any(folder.is_relative_to(each) for each in _PRIVATE)
    if private and folder != Path("/usr"):
        raise UserError(f"{str(path)!r} cannot be a toolchain: too much would be seen in it.")
    if not folder.is_dir():
        raise UserError(f"The toolchain {str(path)!r} is not a folder.")
    # A virtual environment is used under the name that its scripts carry, not under the resolved.
    return path.absolute()


@dataclass(frozen=True, slots=True)
class Sizes:
    """Bytes of the memory-backed folders."""

    work: int
    scratch: int


def arguments(
    toolchains: Mapping[Path, str],
    data: Mapping[str, int],
    sizes: Sizes,
    *,
    seccomp: int | None,
    disable_userns: bool,
) -> list[str]:
    """Return bubblewrap's arguments up to the command.

    ``toolchains`` has where each folder is reached from, ``data`` the descriptor that holds each
    small read-only file, ``seccomp`` the filter's.
    """
    made = ["--unshare-all", "--unshare-user", "--die-with-parent", "--new-session", "--clearenv"]
    made += ["--cap-drop", "ALL", "--uid", str(OWNER), "--gid", str(OWNER)]
    made += ["--hostname", "sandbox", "--as-pid-1"]
    if disable_userns:
        made += ["--disable-userns"]
    made += ["--ro-bind", "/usr", "/usr"]
    for path in _SYSTEM:
        made += _system(path)
    for path in _PLAIN_ETC:
        made += ["--ro-bind-try", path, path]
    made += ["--proc", "/proc", "--dev", "/dev"]
    made += ["--size", str(SHARED_MEMORY_BYTES), "--perms", "1777", "--tmpfs", "/dev/shm"]  # noqa: S108
    made += ["--remount-ro", "/dev"]
    made += ["--size", str(sizes.scratch), "--perms", "1777", "--tmpfs", "/tmp"]  # noqa: S108
    made += ["--size", str(sizes.work), "--tmpfs", WORK]
    for folder, source in toolchains.items():
        made += ["--ro-bind", source, str(folder)]
    for path, descriptor in data.items():
        made += ["--ro-bind-data", str(descriptor), path]
    made += ["--remount-ro", "/", "--chdir", WORK]
    if seccomp is not None:
        made += ["--seccomp", str(seccomp)]
    return made


def small_files() -> dict[str, bytes]:
    """The read-only files that are made for a sandbox, its first program among them."""
    files = {path: text.encode() for path, text in _ETC.items()}
    files[INSIDE] = Path(__file__).with_name("inside.py").read_bytes()
    return files


def first_program() -> list[str]:
    """Return the command that bubblewrap executes."""
    return [str(Path(sys.executable).resolve()), "-I", "-S", INSIDE]


def _system(path: str) -> list[str]:
    if os.path.islink(path):  # noqa: PTH114 - reads as what it is beside readlink
        return ["--symlink", os.readlink(path), path]  # noqa: PTH115
    return ["--ro-bind", path, path] if Path(path).is_dir() else []
