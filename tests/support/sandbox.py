"""Real sandboxes for tests: bubblewrap as installed, Docker by an engine of the test's own."""

import asyncio
import io
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tarfile
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import httpx2
import pytest

from pipelines.integrations.containers.base import Sandbox
from pipelines.integrations.containers.bubblewrap import Bubblewrap
from pipelines.integrations.containers.docker import DockerRuntime
from pipelines.integrations.containers.docker_sandbox import DockerOptions
from pipelines.integrations.containers.engine import Engine, connect
from pipelines.model import SandboxJob, SandboxResult
from pipelines.ports import Snapshot
from pipelines.system import SortableIds, SystemClock

HOSTILE = Path(__file__).parent.parent / "security" / "hostile"
NO_SHA = "0" * 40
T = TypeVar("T")


def files(texts: Mapping[str, str] | None = None) -> Snapshot:
    """A snapshot of text files by path."""
    return Snapshot(sha=NO_SHA, files={path: text.encode() for path, text in (texts or {}).items()})


def hostile_files() -> Snapshot:
    """Every hostile program, flat in the work folder."""
    return Snapshot(
        sha=NO_SHA, files={path.name: path.read_bytes() for path in HOSTILE.glob("*.py")}
    )


async def run_hostile(
    sandbox: Sandbox, program: str, *arguments: str, **limits: Any
) -> SandboxResult:
    """Run a hostile program; it must have confirmed that it is confined, and leave no process."""
    token = secrets.token_hex(12)
    command = " ".join(["exec python3", f"{program}.py", *arguments])
    values: dict[str, Any] = {
        "command": command,
        "environment": {"RUN_TOKEN": token},
        "timeout_seconds": 60.0,
        "memory_bytes": 256 << 20,
        "processes": 64,
    }
    job = SandboxJob.model_validate(values | limits)
    result = await sandbox.run(job, hostile_files())
    assert "CONFINED" in result.output, result.output[-3000:]
    assert processes_with(token) == []
    return result


def processes_with(token: str) -> list[str]:
    """The processes of this machine in whose environment a token is, this one left out."""
    found: list[str] = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if token.encode() in (process / "environ").read_bytes():
                found.append(process.name)
        except OSError:
            continue
    return found


@asynccontextmanager
async def bubblewrap() -> AsyncGenerator[Sandbox]:
    """The bubblewrap sandbox of this machine, with the tests' own Python; skips without one."""
    provider = Bubblewrap(SortableIds(), toolchains=[Path(sys.prefix)])
    info = await provider.available()
    if not info.usable:
        pytest.skip(f"no bubblewrap: {info.reason}")
    sandbox = provider.sandbox()
    yield sandbox
    await sandbox.close()


@contextmanager
def docker_engine(folder: Path, *flags: str) -> Generator[str]:
    """Start an engine of our own on a private socket and yield its address; skips without one."""
    dockerd = shutil.which("dockerd") or shutil.which("dockerd", path="/usr/sbin")
    if dockerd is None or shutil.which("busybox") is None or os.geteuid() != 0:
        pytest.skip("a Docker engine needs root, dockerd (docker.io) and busybox-static")
    socket = folder / "docker.sock"
    arguments = ["--data-root", folder / "data", "--exec-root", folder / "run"]
    arguments += ["--pidfile", folder / "docker.pid", "-H", f"unix://{socket}", "--bridge=none"]
    arguments += ["--iptables=false", "--ip6tables=false", "--ip-forward=false", "--ip-masq=false"]
    arguments += flags
    with (folder / "log").open("wb") as log:
        engine = subprocess.Popen([dockerd, *map(str, arguments)], stdout=log, stderr=log)
    try:
        _wait_for(engine, socket, folder / "log")
        _import_image(folder, socket)
        yield f"unix://{socket}"
    finally:
        engine.send_signal(signal.SIGTERM)
        try:
            engine.wait(30)
        except subprocess.TimeoutExpired:
            engine.kill()
            engine.wait(30)


@asynccontextmanager
async def docker(address: str) -> AsyncGenerator[DockerRuntime]:
    """The engine's runtime with our small image, into which this machine's Python is mounted."""
    options = DockerOptions(image=IMAGE, toolchains=PYTHON)
    engine = Engine(connect(address))
    runtime = DockerRuntime(engine, SortableIds(), SystemClock(), options=options)
    try:
        yield runtime
    finally:
        await runtime.close()


IMAGE = "conductor-test:1"
PYTHON = (Path(sys.prefix), Path(sys.base_prefix).resolve(), Path("/usr"))


def _wait_for(engine: "subprocess.Popen[bytes]", socket: Path, log: Path) -> None:
    for _ in range(300):
        if engine.poll() is not None:
            pytest.skip(f"dockerd does not run here: {log.read_text()[-500:]}")
        # An attempt before there is a socket would leave one of the client's open.
        if socket.exists():
            with _client(socket) as client:
                client.get("/_ping").raise_for_status()
            return
        try:
            engine.wait(0.1)
        except subprocess.TimeoutExpired:
            continue
    pytest.fail("dockerd did not come up within half a minute")


def _client(socket: Path) -> httpx2.Client:
    transport = httpx2.HTTPTransport(uds=str(socket))
    return httpx2.Client(transport=transport, base_url="http://docker", timeout=60)


_SLEEP = 'CMD ["/bin/sleep", "86400"]'
"""Lets the image stand for the one that holds a pod's network, too."""


def _import_image(folder: Path, socket: Path) -> None:
    """Make a small image out of busybox, without any registry."""
    root = folder / "root"
    for name in ("bin", "etc", "tmp", "proc", "sys", "dev", "usr", "workspace", "root"):
        (root / name).mkdir(parents=True)
    (root / "tmp").chmod(0o1777)
    (root / "workspace").chmod(0o1777)
    for name in ("lib", "lib64"):
        (root / name).symlink_to(f"usr/{name}")
    shutil.copy(shutil.which("busybox") or "", root / "bin" / "busybox")
    subprocess.run(["chroot", root, "/bin/busybox", "--install", "-s", "/bin"], check=True)
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        tar.add(root, ".")
    name, _, tag = IMAGE.partition(":")
    with _client(socket) as client:
        client.post(
            "/images/create",
            params={"fromSrc": "-", "repo": name, "tag": tag, "changes": _SLEEP},
            content=archive.getvalue(),
            headers={"Content-Type": "application/x-tar"},
        ).raise_for_status()


async def eventually(look: Callable[[], Awaitable[T | None]], seconds: float = 30.0) -> T:
    """Look again and again until there is something to see."""
    async with asyncio.timeout(seconds):
        while (seen := await look()) is None:  # noqa: ASYNC110 - another process's state
            await asyncio.sleep(0.1)
        return seen
