"""The local target: runs a service's command on this machine, from the files of the commit.

For demonstrations and small set-ups. A new release is started beside the old one and takes over
only once it answers. As it has another address, which clients learn of only later, the old one runs
on for a while. Everything that is known is in a folder, so that Conductor may be restarted at any
time; what runs goes on running until ``stop_all``.
"""

import asyncio
import contextlib
import fcntl
import hashlib
import shutil
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Sequence
from datetime import datetime, timedelta
from pathlib import Path

import httpx2
from pydantic import AwareDatetime, ValidationError

from pipelines.errors import Retryable, UserError
from pipelines.integrations.containers import local_keeper as keeper
from pipelines.integrations.containers.bubblewrap import Binary
from pipelines.integrations.containers.local_process import (
    Launcher,
    alive,
    end,
    free_port,
    output,
    unpack,
    written,
)
from pipelines.integrations.target import MAX_LOG_BYTES, DeploymentTarget, needed, refuse_older
from pipelines.model import EnvironmentPlan, Frozen, Release, ReleaseState
from pipelines.ports import Clock, Snapshot

HOST = "127.0.0.1"
_RECORD, _LOCK = "service.json", "lock"
_START_SECONDS = 10.0
"""How long a keeper may take to write itself down."""
_ANSWER_SECONDS = 2.0
LINGER_SECONDS = 20.0

Files = Callable[[Release], Awaitable[Snapshot]]
"""Gets the files of a release's commit."""


class Started(Frozen):
    """One release as a process; ``folder`` holds its files, its log and its keeper's notes."""

    sha: str
    command: tuple[str, ...]
    port: int
    folder: str
    begun_at: AwareDatetime


class Service(Frozen):
    """What is known of one environment's service."""

    key: str = ""
    """Of the latest release that was taken."""
    revision: int = 0
    current: Started | None = None
    """What answers."""
    candidate: Started | None = None
    """What was started and has not answered yet."""
    replaced: Started | None = None
    """What answered before ``current`` and still does."""
    replaced_at: AwareDatetime | None = None
    """When ``current`` took over from it."""
    failed: Started | None = None
    """The latest one that ended before it answered, or that stopped answering."""
    message: str = ""
    """Why it failed."""


_NOTHING_NEW = {"candidate": None, "failed": None, "message": ""}


class LocalTarget(DeploymentTarget):
    """Implements ``DeploymentTarget``; only for operators who asked for it.

    A release that was replaced is ended when the target is first asked ``linger_seconds`` after
    that, or by the next release.
    """

    name = "local"

    def __init__(
        self,
        directory: Path,
        files: Files,
        client: httpx2.AsyncClient,
        clock: Clock,
        *,
        toolchains: Sequence[Path] = (),
        binary: Binary | None = None,
        linger_seconds: float = LINGER_SECONDS,
    ) -> None:
        self._directory = directory
        self._files = files
        self._client = client
        self._clock = clock
        self._launcher = Launcher(toolchains, binary)
        self._linger = timedelta(seconds=linger_seconds)
        self._locks: dict[Path, asyncio.Lock] = {}

    async def release(self, release: Release) -> ReleaseState:
        """Start the commit beside what runs; the command is the environment's."""
        plan = release.environment
        needed(plan, "command")
        async with self._held(plan, release.repository) as home:
            service = await self._settled(home, plan)
            if service.key != release.key:
                refuse_older(release, service.revision)
                service = await self._taken(home, service, release)
            return self._told(service)

    async def state(self, environment: EnvironmentPlan, *, repository: str) -> ReleaseState:
        """Look at what runs, and let a new release take over if it answers by now."""
        async with self._held(environment, repository) as home:
            return self._told(await self._settled(home, environment))

    async def log(self, environment: EnvironmentPlan, *, repository: str, lines: int) -> str:
        """Return the output of the newest release, also of one that failed."""
        home = self._home(environment, repository)
        service = _read(home)
        newest = service.candidate or service.failed or service.current
        return output(home / newest.folder, lines, MAX_LOG_BYTES) if newest else ""

    async def close(self) -> None:
        """Hold nothing: the client belongs to whoever made it."""

    def _told(self, service: Service) -> ReleaseState:
        current = service.current
        told = service.candidate or service.failed or current
        if told is None:
            return ReleaseState(phase="absent")
        phase = "ready"
        if told is not current:
            phase = "progressing" if told is service.candidate else "failed"
        notes = [] if self._launcher.isolated else ["It runs without isolation, as Conductor does."]
        if service.replaced:
            notes.append("The release before it still runs, too.")
        return ReleaseState(
            phase=phase,
            sha=told.sha,
            revision=service.revision,
            message=service.message or " ".join(notes),
            url=f"http://{HOST}:{current.port}" if current else None,
            ready=1 if phase == "ready" else 0,
            wanted=1,
        )

    async def _taken(self, home: Path, service: Service, release: Release) -> Service:
        """Take the release: go on with what runs if it is the same, else start a candidate."""
        news = {"key": release.key, "revision": release.revision}
        taken = service.model_copy(update=_NOTHING_NEW | news)
        current, replaced, command = service.current, service.replaced, release.environment.command
        if current and (current.sha, current.command) == (release.sha, command):
            return await self._noted(home, taken)
        if replaced and (replaced.sha, replaced.command) == (release.sha, command):
            back = {"candidate": replaced, "replaced": None}
            return await self._noted(home, taken.model_copy(update=back))
        started = self._candidate(release)
        folder = home / started.folder
        files = await self._files(release)
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
        await asyncio.to_thread(unpack, files, folder)
        taken = await self._noted(home, taken.model_copy(update={"candidate": started}))
        values = {"PORT": str(started.port), "HOST": HOST, "GIT_SHA": release.sha}
        self._launcher.start(folder, command, values)
        return taken

    def _candidate(self, release: Release) -> Started:
        name = hashlib.sha256(release.key.encode()).hexdigest()[:8]
        return Started(
            sha=release.sha,
            command=release.environment.command,
            port=free_port(HOST),
            folder=f"{release.revision}-{release.sha[:12]}-{name}",
            begun_at=self._clock.now(),
        )

    async def _settled(self, home: Path, plan: EnvironmentPlan) -> Service:
        """Bring what is known up to date: note what ended, and let what answers take over."""
        service = _read(home)
        current, candidate = service.current, service.candidate
        now = self._clock.now()
        changes: dict[str, object] = {}
        if candidate and (reason := _ended(home, candidate, now)):
            changes |= {"candidate": None, "failed": candidate, "message": reason}
        elif candidate and await self._answers(candidate.port, plan.health):
            changes |= _NOTHING_NEW
            changes |= {"current": candidate, "replaced": current, "replaced_at": now}
        elif current and (reason := _ended(home, current, now)):
            changes |= {"current": None}
            if candidate is None:
                changes |= {"failed": current, "message": reason}
        service = service.model_copy(update=changes)
        if service.replaced and not self._lingers(home, service.replaced, service.replaced_at):
            service = service.model_copy(update={"replaced": None})
        return await self._noted(home, service)

    def _lingers(self, home: Path, replaced: Started, since: datetime | None) -> bool:
        now = self._clock.now()
        return since is not None and now - since < self._linger and not _ended(home, replaced, now)

    async def _noted(self, home: Path, service: Service) -> Service:
        """Write down what is so now, then end and remove what is no part of it."""
        if service != _read(home):
            _write(home, service)
        parts = (service.current, service.candidate, service.replaced, service.failed)
        kept = {part.folder for part in parts if part}
        for folder in _folders(home):
            if folder.name not in kept:
                await end(folder, self._clock)
                await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
        return service

    async def _answers(self, port: int, health: str | None) -> bool:
        """Whether the health check answers 2xx, or without one whether connections are taken."""
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                if health is not None:
                    url = f"http://{HOST}:{port}{health}"
                    return (await self._client.get(url, follow_redirects=False)).is_success
                _, writer = await asyncio.open_connection(HOST, port)
                writer.close()
                return True
        except (httpx2.HTTPError, OSError, TimeoutError):
            return False

    def _home(self, plan: EnvironmentPlan, repository: str) -> Path:
        name = hashlib.sha256(f"{repository}\0{plan.name}".encode()).hexdigest()[:24]
        return self._directory / name

    @contextlib.asynccontextmanager
    async def _held(self, plan: EnvironmentPlan, repository: str) -> AsyncGenerator[Path]:
        home = self._home(plan, repository)
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        async with self._locked(home):
            yield home

    @contextlib.asynccontextmanager
    async def _locked(self, home: Path) -> AsyncGenerator[None]:
        """Keep others away from a service, in this process and in others."""
        async with self._locks.setdefault(home, asyncio.Lock()):
            with _alone(home):
                yield


async def stop_all(directory: Path, clock: Clock) -> None:
    """End every service that a local target keeps in the directory, and remove what it left."""
    for home in _folders(directory):
        with _alone(home):
            for folder in _folders(home):
                await end(folder, clock)
            await asyncio.to_thread(shutil.rmtree, home)


@contextlib.contextmanager
def _alone(home: Path) -> Generator[None]:
    """Keep every other user of the folder away; Retryable if there is one."""
    with (home / _LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Retryable("Another Conductor works on this service.") from error
        try:
            yield
        finally:
            # Closing is not enough: a process that is just being started has it, too.
            fcntl.flock(lock, fcntl.LOCK_UN)


def _ended(home: Path, started: Started, now: datetime) -> str:
    """Return how the process ended; empty while it runs or is only just starting."""
    folder = home / started.folder
    if alive(folder):
        return ""
    if note := written(folder, keeper.EXIT):
        last = output(folder, 1, 200)
        how = f"The service {note.get('message', 'ended')}"
        return f"{how}: {last}" if last else f"{how}."
    starting = (now - started.begun_at).total_seconds() < _START_SECONDS
    if starting and written(folder, keeper.KEEPER) is None:
        return ""
    return "The service is gone; it was killed, or the machine was restarted."


def _folders(home: Path) -> list[Path]:
    return sorted(home.glob("*/"))


def _read(home: Path) -> Service:
    try:
        return Service.model_validate_json((home / _RECORD).read_bytes())
    except FileNotFoundError:
        return Service()
    except (OSError, ValidationError) as error:
        raise UserError(
            f"{home / _RECORD} cannot be read; remove its folder to start anew."
        ) from error


def _write(home: Path, service: Service) -> None:
    draft = home / f"{_RECORD}.new"
    draft.write_text(service.model_dump_json())
    draft.replace(home / _RECORD)
