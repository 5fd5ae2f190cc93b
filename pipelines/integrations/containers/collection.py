"""Taking files out of a sandbox: every byte that comes is a stranger's."""

import json
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from pipelines.integrations.containers.layout import stays_inside

MAX_FILE_BYTES = 10 * 1024**2
"""Also the limit that ``inside.py`` keeps, which has to stand alone."""
MAX_HEADERS = 1 << 20
TOO_LARGE = "larger than 10 MiB"
NOT_REGULAR = "not a regular file"
MISSING = "missing"
DAMAGED = "the sandbox did not deliver it whole"
_LONG_NAME = (tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE)
"""What an archive may say of a name before the member that has it; the name does not matter."""


@dataclass(slots=True)
class Collected:
    """Files that were taken and, with the reason, those that were not."""

    files: dict[str, str] = field(default_factory=dict[str, str])
    refused: dict[str, str] = field(default_factory=dict[str, str])

    def add(self, path: str, data: bytes) -> None:
        """Take one file if it is of the allowed size and UTF-8."""
        if len(data) > MAX_FILE_BYTES:
            self.refused[path] = TOO_LARGE
            return
        try:
            self.files[path] = data.decode()
        except UnicodeDecodeError:
            self.refused[path] = "not UTF-8 text"


def split(paths: Sequence[str]) -> tuple[list[str], Collected]:
    """Return the paths that may be asked for, and a collection that refuses the others."""
    collected = Collected()
    wanted: list[str] = []
    for path in dict.fromkeys(paths):
        if stays_inside(path):
            wanted.append(path)
        else:
            collected.refused[path] = "the path leads out of the work folder"
    return wanted, collected


def most_bytes(wanted: Sequence[str]) -> int:
    """How much a sandbox may say in all when it hands these files over."""
    return len(wanted) * (MAX_FILE_BYTES + 8192) + MAX_HEADERS


def read_tar(data: bytes, path: str, collected: Collected) -> None:
    """Take the one file of a tar stream that shall hold exactly ``path``.

    Nothing is extracted and only the first member is looked at, so that no name, link, count or
    size in the archive matters beyond its own check.
    """
    member = _first(data)
    if member is not None and member.type in _LONG_NAME:
        data = data[512 + -(-member.size // 512) * 512 :]
        member = _first(data)
    if member is None:
        collected.refused[path] = MISSING if not data.strip(b"\0") else DAMAGED
    elif member.type not in (tarfile.REGTYPE, tarfile.AREGTYPE):
        collected.refused[path] = _what(member)
    elif member.size > MAX_FILE_BYTES:
        collected.refused[path] = TOO_LARGE
    elif member.size < 0 or len(data) < 512 + member.size:
        collected.refused[path] = DAMAGED
    else:
        collected.add(path, data[512 : 512 + member.size])


def _first(data: bytes) -> tarfile.TarInfo | None:
    try:
        return tarfile.TarInfo.frombuf(data[:512], "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        return None


def _what(member: tarfile.TarInfo) -> str:
    kinds = {
        tarfile.SYMTYPE: "a symbolic link",
        tarfile.LNKTYPE: "a hard link",
        tarfile.DIRTYPE: "a folder",
        tarfile.FIFOTYPE: "a named pipe",
        tarfile.CHRTYPE: "a device",
        tarfile.BLKTYPE: "a device",
    }
    return f"{NOT_REGULAR} but {kinds.get(member.type, 'something else')}"


@dataclass(frozen=True, slots=True)
class Report:
    """What ``inside.py`` says at the end; ``exit_code`` None means that it said nothing usable."""

    exit_code: int | None
    disk_full: bool
    collected: Collected


def read_report(data: bytes, wanted: Sequence[str], collected: Collected) -> Report:
    """Read a line of JSON a file, each followed by the file's bytes, and the last line's verdict.

    Whatever does not follow that form ends the reading; files not delivered by then are refused.
    """
    asked = set(wanted)
    exit_code: int | None = None
    disk_full = False
    rest = memoryview(data)
    while rest:
        end = bytes(rest[:MAX_HEADERS]).find(b"\n")
        head = _object(bytes(rest[: max(end, 0)]))
        rest = rest[end + 1 :]
        path, size = str(head.get("path")), head.get("size")
        if path in asked and isinstance(reason := head.get("refused"), str):
            collected.refused[path] = reason[:200]
        elif path in asked and type(size) is int and 0 <= size <= len(rest):
            collected.add(path, bytes(rest[:size]))
            rest = rest[size:]
        else:
            code = head.get("exit")
            if type(code) is int and 0 <= code <= 255:
                exit_code, disk_full = code, head.get("full") is True
            break
        asked.discard(path)
    for path in asked:
        collected.refused[path] = DAMAGED
    return Report(exit_code, disk_full, collected)


def _object(line: bytes) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}
