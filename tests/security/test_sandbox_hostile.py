"""Hostile programs in each sandbox: all of them end, reach nothing and leave nothing."""

import ast
import asyncio
import resource
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Generator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from pipelines.errors import Retryable
from pipelines.integrations.containers.base import Sandbox
from pipelines.model import SandboxJob
from tests.support.sandbox import (
    HOSTILE,
    bubblewrap,
    docker,
    docker_engine,
    files,
    hostile_files,
    processes_with,
    run_hostile,
)

PROGRAMS = sorted(path for path in HOSTILE.glob("*.py") if path.name != "guard.py")
CANARY = "canary-" + secrets.token_hex(16)


@pytest.fixture(scope="session")
def engine_address(tmp_path_factory: pytest.TempPathFactory) -> Generator[str]:
    with docker_engine(tmp_path_factory.mktemp("engine")) as address:
        yield address


@pytest.fixture(params=["bubblewrap", pytest.param("docker", marks=pytest.mark.integration)])
async def sandbox(request: pytest.FixtureRequest) -> AsyncGenerator[Sandbox]:
    async with AsyncExitStack() as stack:
        if request.param == "docker":
            address = request.getfixturevalue("engine_address")
            runtime = await stack.enter_async_context(docker(address))
            assert (await runtime.available()).level == 2
            made: Sandbox = runtime.sandbox()
        else:
            made = await stack.enter_async_context(bubblewrap())
        clean = await listed(made)
        yield made
        assert await listed(made) == clean, "whatever a program did, the next job starts clean"


async def listed(sandbox: Sandbox) -> str:
    """What lies where a job may write; a toolchain that is below /tmp is there from the start."""
    job = SandboxJob(command="ls -A . /tmp /dev/shm", timeout_seconds=20)
    result = await sandbox.run(job, files())
    assert result.exit_code == 0, result.output
    assert result.output.startswith(".:\n\n/dev/shm:\n\n/tmp:")
    return result.output


# --- the programs themselves ---------------------------------------------------------------------


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.stem)
def test_a_hostile_program_asks_the_guard_before_anything_else(path: Path) -> None:
    body = ast.parse(path.read_text()).body
    if isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant):
        body = body[1:]
    assert [ast.unparse(each) for each in body[:2]] == ["import guard", "guard.confined()"]


@pytest.mark.parametrize("marker", ["", "bubblewrap", "docker"])
def test_the_guard_refuses_outside_of_a_sandbox(marker: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-I", HOSTILE / "guard.py"],
        env={"CONDUCTOR_SANDBOX": marker} if marker else {},
        cwd=tmp_path,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 99
    assert done.stdout.startswith(b"REFUSED")
    missing = done.stdout.count(b";") + 1
    assert missing >= 6, "one proof alone must not decide"


# --- limits --------------------------------------------------------------------------------------


async def test_a_fork_bomb_stays_small_and_ends(sandbox: Sandbox) -> None:
    result = await run_hostile(sandbox, "fork_bomb", timeout_seconds=3.0)
    assert (result.limit, result.exit_code) == ("time", None)
    assert "CONTAINED" in result.output


async def test_memory_is_limited(sandbox: Sandbox) -> None:
    result = await run_hostile(sandbox, "memory")
    assert "ESCAPED" not in result.output
    assert result.limit == "memory" or "CONTAINED" in result.output


@pytest.mark.parametrize("kept", ["/workspace", "/tmp", "/dev/shm"])
async def test_disk_is_limited(sandbox: Sandbox, kept: str) -> None:
    result = await run_hostile(sandbox, "disk", kept)
    assert "ESCAPED" not in result.output
    assert result.output.count("CONTAINED") == 3
    assert result.limit == ("disk" if kept != "/dev/shm" else "")


async def test_a_flood_of_output_is_cut_and_costs_no_memory(sandbox: Sandbox) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    result = await run_hostile(sandbox, "flood")
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert (result.limit, result.exit_code) == ("output", None)
    assert "bytes left out" in result.output
    assert len(result.output) < 2.1 * 2**20
    assert after - before < 200 * 1024


async def test_a_daemon_does_not_outlive_its_job_nor_touch_the_results(sandbox: Sandbox) -> None:
    result = await run_hostile(sandbox, "daemon", collect=("done.txt",))
    assert (result.limit, result.exit_code) == ("", 0)
    assert result.files == {"done.txt": "done"}


async def test_a_program_that_ignores_every_signal_ends(sandbox: Sandbox) -> None:
    result = await run_hostile(sandbox, "stubborn", timeout_seconds=2.0)
    assert (result.limit, result.exit_code) == ("time", None)


async def test_millions_of_files_are_refused(sandbox: Sandbox) -> None:
    result = await run_hostile(sandbox, "many_files", timeout_seconds=90.0)
    assert "ESCAPED" not in result.output
    assert result.limit or "CONTAINED" in result.output


# --- what can be seen ----------------------------------------------------------------------------


async def test_no_secret_of_the_machine_can_be_seen(
    sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CANARY", CANARY)
    (tmp_path / "secret").write_text(CANARY)
    other = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", "input()", CANARY), stdin=subprocess.PIPE
    )
    try:
        result = await run_hostile(sandbox, "canary")
    finally:
        await other.communicate(b"\n")
    assert CANARY not in result.output
    assert "ESCAPED" not in result.output
    assert "LOOKED at 0" not in result.output


async def test_no_file_of_the_machine_can_be_read_or_written(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    (tmp_path / "here").write_text("of the machine")
    result = await run_hostile(sandbox, "files", str(tmp_path), str(tmp_path / "here"))
    assert "ESCAPED" not in result.output
    assert "DONE" in result.output


async def test_nothing_can_be_reached_over_a_network(sandbox: Sandbox) -> None:
    hits: list[str] = []

    def heard(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        hits.append("heard")
        writer.close()

    name = f"conductor-{secrets.token_hex(8)}"
    loopback = await asyncio.start_server(heard, "127.0.0.1", 0)
    abstract = socket.socket(socket.AF_UNIX)
    abstract.bind("\0" + name)
    local = await asyncio.start_unix_server(heard, sock=abstract)
    try:
        port = loopback.sockets[0].getsockname()[1]
        result = await run_hostile(sandbox, "network", str(port), name, *_beyond(sandbox))
    finally:
        loopback.close()
        local.close()
    assert not hits
    assert "ESCAPED" not in result.output
    assert result.output.count("CONTAINED") >= 5


async def test_no_privilege_can_be_gained(sandbox: Sandbox) -> None:
    result = await run_hostile(sandbox, "privileges", *_beyond(sandbox))
    assert [line for line in result.output.splitlines() if "ESCAPED" in line] == []
    assert result.output.count("CONTAINED") >= 15


def _beyond(sandbox: Sandbox) -> tuple[str, ...]:
    """What an engine's own default filter lets pass, inside its namespaces."""
    return (
        ()
        if sandbox.info.name == "bubblewrap"
        else (
            "ptrace",
            "process_vm_readv",
            "io_uring_setup",
            "vsock",
        )
    )


# --- what comes back -----------------------------------------------------------------------------


async def test_only_declared_regular_files_come_back(sandbox: Sandbox) -> None:
    names = ["link", "environ", "loop", "hard", "fifo", "folder", "socket", "sparse", "huge"]
    names += ["binary", "unreadable"]
    started = time.monotonic()
    result = await run_hostile(
        sandbox,
        "results",
        collect=(
            *(f"{name}.xml" for name in names),
            *("folder_link/passwd", "../etc/passwd", "/etc/passwd", "never.xml"),
            *("good.xml", "deep/good.txt"),
        ),
    )
    assert result.exit_code == 0
    assert result.files == {"good.xml": "<testsuites/>", "deep/good.txt": "deep and good"}
    assert set(result.refused) == {
        *(f"{name}.xml" for name in names),
        *("folder_link/passwd", "../etc/passwd", "/etc/passwd", "never.xml"),
    }
    assert "root:" not in str(result)
    assert time.monotonic() - started < 30, "no named pipe is waited for"


async def test_a_forged_report_is_no_more_than_a_claim(sandbox: Sandbox) -> None:
    try:
        result = await run_hostile(sandbox, "forger", collect=("report.xml",))
    except Retryable:
        return  # It silenced its own first process, and so has no result.
    assert result.files in ({}, {"report.xml": "forged"})


async def test_a_cancelled_job_leaves_nothing(sandbox: Sandbox) -> None:
    token = secrets.token_hex(12)
    job = SandboxJob(
        command="exec python3 stubborn.py", environment={"RUN_TOKEN": token}, timeout_seconds=60
    )
    running = asyncio.create_task(sandbox.run(job, hostile_files()))
    while not processes_with(token):  # noqa: ASYNC110 - another process's state
        await asyncio.sleep(0.02)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert not processes_with(token)
