"""Commands on the machine itself, for trusted code."""

import asyncio
import os

import pytest

from pipelines.integrations.containers.host import Host
from pipelines.model import FileEdit, SandboxJob
from tests.support.sandbox import files, processes_with


async def test_a_job_sees_the_edited_files_and_hands_over_what_is_asked_for() -> None:
    job = SandboxJob(
        command="cat a.txt sub/b.txt; echo result > out.txt; ln -s /etc/passwd link.txt; mkdir d",
        edits=(
            FileEdit(path="sub/b.txt", content="edited\n"),
            FileEdit(path="gone.txt", content=None),
        ),
        collect=("out.txt", "link.txt", "../x", "gone.txt", "d"),
    )
    result = await Host().run(job, files({"a.txt": "as it was\n", "gone.txt": "x"}))
    assert (result.exit_code, result.output) == (0, "as it was\nedited\n")
    assert result.files == {"out.txt": "result\n"}
    assert result.refused == {
        "../x": "the path leads out of the work folder",
        "link.txt": "not a regular file but a symbolic link, or behind one",
        "gone.txt": "missing",
        "d": "not a regular file",
    }
    assert (result.sandbox.name, result.sandbox.level) == ("host", 0)


async def test_no_variable_of_this_process_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_SECRET", "hidden")
    result = await Host().run(SandboxJob(command="env", environment={"MINE": "1"}), files())
    assert "hidden" not in result.output
    assert "MINE=1" in result.output


async def test_time_runs_out() -> None:
    job = SandboxJob(command="trap '' TERM; while :; do sleep 1; done", timeout_seconds=0.3)
    result = await Host().run(job, files())
    assert (result.limit, result.exit_code) == ("time", None)


async def test_a_flood_is_stopped() -> None:
    result = await Host().run(SandboxJob(command="yes", timeout_seconds=60), files())
    assert (result.limit, result.exit_code) == ("output", None)


async def test_a_daemon_does_not_hold_the_job_up() -> None:
    token = f"token-{os.getpid()}"
    job = SandboxJob(
        command="setsid sleep 3 & echo done; exit 4",
        environment={"RUN_TOKEN": token},
        timeout_seconds=60,
    )
    async with asyncio.timeout(30):
        result = await Host().run(job, files())
    assert (result.exit_code, result.output) == (4, "done\n")


async def test_a_cancelled_job_is_ended() -> None:
    token = f"cancelled-{os.getpid()}"
    job = SandboxJob(command="sleep 60; true", environment={"RUN_TOKEN": token})
    running = asyncio.create_task(Host().run(job, files()))
    while not processes_with(token):  # noqa: ASYNC110 - another process's state
        await asyncio.sleep(0.01)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    while processes_with(token):  # noqa: ASYNC110 - another process's state
        await asyncio.sleep(0.01)
