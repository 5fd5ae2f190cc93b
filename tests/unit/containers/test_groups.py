"""Control groups of both versions; the files are those of the kernel, the folders are not."""

import os
from pathlib import Path

import pytest

from pipelines.integrations.containers.groups import Group, Groups, find

V1 = "9:pids:/service\n4:memory:/service/main\n1:name=systemd:/\n0::/\n"
V2 = "0::/conductor.service/main\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path


def test_a_group_of_version_1_is_two_folders(root: Path) -> None:
    groups = Groups(1, root / "memory", root / "pids")
    for folder in ("memory/job", "pids"):
        (root / folder).mkdir(parents=True)
    (root / "memory/job").rmdir()
    group = groups.make("job", memory_bytes=1000, processes=7)
    assert (root / "pids/job/pids.max").read_text() == "7"
    assert (root / "memory/job/memory.limit_in_bytes").read_text() == "1000"
    assert group.procs == [f"{root}/memory/job/cgroup.procs", f"{root}/pids/job/cgroup.procs"]


def test_a_group_of_version_2_is_one_folder(root: Path) -> None:
    group = Groups(2, root, root).make("job", memory_bytes=1000, processes=7)
    assert (root / "job/memory.max").read_text() == "1000"
    assert (root / "job/pids.max").read_text() == "7"
    assert group.procs == [f"{root}/job/cgroup.procs"]


def test_version_2_uses_the_parent_where_the_own_group_cannot_hand_controllers_down(
    root: Path,
) -> None:
    (root / "cgroup.controllers").write_text("cpu memory pids")
    own = root / "conductor.service/main"
    own.mkdir(parents=True)
    (own / "cgroup.subtree_control").write_text("")
    (own.parent / "cgroup.subtree_control").write_text("memory pids")
    assert find(V2, root) == Groups(2, own.parent, own.parent)


def test_without_delegation_there_are_no_groups(root: Path) -> None:
    (root / "cgroup.controllers").write_text("cpu memory pids")
    (root / "conductor.service/main").mkdir(parents=True)
    assert find(V2, root) is None
    assert find(V1, root) is None
    assert find("", root) is None


def test_version_1_is_found_at_the_own_group(root: Path) -> None:
    (root / "memory/service/main").mkdir(parents=True)
    (root / "pids/service").mkdir(parents=True)
    assert find(V1, root) == Groups(1, root / "memory/service/main", root / "pids/service")


@pytest.mark.parametrize(
    ("version", "name", "text", "ran_out"),
    [
        (1, "memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n", True),
        (1, "memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 0\n", False),
        (2, "memory.events", "low 0\nhigh 0\nmax 31\noom 1\noom_kill 1\n", True),
        (2, "memory.events", "low 0\nhigh 0\nmax 31\noom 0\noom_kill 0\n", False),
        (2, "memory.events", "", False),
    ],
)
def test_it_is_told_when_memory_ran_out(
    root: Path, version: int, name: str, text: str, ran_out: bool
) -> None:
    (root / name).write_text(text)
    assert Group(version, root, root).memory_ran_out() is ran_out


def test_what_a_killed_maker_left_is_swept_and_what_a_living_one_made_is_not(root: Path) -> None:
    mine, dead = root / f"conductor-{os.getpid()}-job", root / "conductor-999999999-job"
    mine.mkdir()
    dead.mkdir()
    Groups(2, root, root).sweep()
    assert mine.exists()
    assert not dead.exists()


async def test_an_empty_group_is_removed(root: Path) -> None:
    (root / "job").mkdir()
    await Group(2, root / "job", root / "job").remove()
    assert not (root / "job").exists()
