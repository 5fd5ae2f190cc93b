"""The exact profile of a sandbox's container, and what an engine must have for it."""

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest

from pipelines.errors import Retryable, UserError
from pipelines.integrations.containers.docker import DockerRuntime, strength
from pipelines.integrations.containers.docker_sandbox import (
    DockerOptions,
    container,
    digest,
    present,
)
from pipelines.integrations.containers.docker_target import DockerTarget
from pipelines.integrations.containers.engine import Engine, Frames, Refused, address_of, connect
from pipelines.integrations.containers.layout import Layout
from pipelines.model import EnvironmentPlan, Release, SandboxJob
from pipelines.system import SortableIds
from tests.support.clock import EPOCH, VirtualClock

Handler = Callable[[httpx2.Request], httpx2.Response]
STRONG = {
    "SecurityOptions": ["name=seccomp,profile=default"],
    "MemoryLimit": True,
    "PidsLimit": True,
    "Runtimes": {"runc": {}},
}


def engine(handler: Handler) -> Engine:
    transport = httpx2.MockTransport(handler)
    return Engine(httpx2.AsyncClient(transport=transport, base_url="http://docker"))


def answers(value: object, status: int = 200) -> Handler:
    return lambda _request: httpx2.Response(status, json=value)


# --- the profile ---------------------------------------------------------------------------------


def test_the_profile_of_a_container_is_exactly_this() -> None:
    job = SandboxJob(command="make", memory_bytes=1 << 30, processes=100, environment={"A": "1"})
    image = {
        "Id": "sha256:1",
        "Config": {"Env": ["PATH=/opt/bin:/bin", "LANG=C"], "Volumes": {"/store": {}}},
    }
    options = DockerOptions(runtime="runsc", toolchains=(Path("/opt/node"),))
    layout = Layout({"a": b"x"}, frozenset())
    mode = "rw,nosuid,nodev,exec,mode=1777,nr_inodes=200000"
    body = container(job, layout, image, options)
    assert body["HostConfig"] == {
        "NetworkMode": "none",
        "ReadonlyRootfs": True,
        "Privileged": False,
        "CapDrop": ["ALL"],
        "SecurityOpt": ["no-new-privileges"],
        "PidsLimit": 108,
        "Memory": (1 << 30) + 8192,
        "MemorySwap": (1 << 30) + 8192,
        "NanoCpus": 2 * 10**9,
        "Ulimits": [
            {"Name": "nofile", "Soft": 1024, "Hard": 1024},
            {"Name": "core", "Soft": 0, "Hard": 0},
            {"Name": "fsize", "Soft": (1 << 29) + 8192, "Hard": (1 << 29) + 8192},
        ],
        "Tmpfs": {
            "/store": f"{mode},size={1 << 28}",
            "/tmp": f"{mode},size={1 << 28}",
            "/workspace": f"{mode},size={(1 << 29) + 8192}",
        },
        "ShmSize": 64 << 20,
        "Binds": ["/opt/node:/opt/node:ro"],
        "IpcMode": "private",
        "CgroupnsMode": "private",
        "LogConfig": {"Type": "none"},
        "RestartPolicy": {"Name": "no"},
        "AutoRemove": True,
        "Runtime": "runsc",
    }
    assert body["User"] == "65534:65534"
    assert body["Image"] == "sha256:1", "an id, so that a tag cannot move meanwhile"
    assert set(body["Env"]) == {
        *("PATH=/opt/node/bin:/opt/bin:/bin", "LANG=C", "HOME=/tmp", "CI=1", "A=1"),
        "CONDUCTOR_SANDBOX=docker",
    }
    assert "make" not in json.dumps(body), "the command is no part of the container's description"


# --- the engine's strength -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "name", "level", "said"),
    [
        ({}, "docker", 2, "no gVisor"),
        ({"Runtimes": {"runc": {}, "runsc": {}}}, "docker+runsc", 3, ""),
        ({"SecurityOptions": []}, "docker", 1, "lacks seccomp"),
        ({"MemoryLimit": False}, "docker", 1, "lacks a memory limit"),
        ({"PidsLimit": False, "SecurityOptions": None}, "docker", 1, "seccomp, a limit of proc"),
    ],
)
def test_an_engine_is_as_strong_as_what_it_enforces(
    changes: dict[str, Any], name: str, level: int, said: str
) -> None:
    info, runtime = strength(STRONG | changes)
    assert runtime == ("runsc" if level == 3 else None)
    assert (info.name, info.level) == (name, level)
    assert said in info.reason


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (answers({"message": "permission denied"}, 403), "refused: permission denied"),
        (answers({"message": "starting"}, 503), "failed: starting"),
        (lambda _: httpx2.Response(200, content=b"<html>"), "not JSON"),
    ],
)
async def test_an_engine_that_answers_badly_is_no_sandbox(answer: Handler, said: str) -> None:
    options = DockerOptions(image="python:3.12")
    runtime = DockerRuntime(engine(answer), SortableIds(), VirtualClock(), options=options)
    info = await runtime.available()
    assert not info.usable
    assert said in info.reason
    with pytest.raises(UserError):
        runtime.sandbox()


async def test_an_engine_that_hangs_is_a_passing_fault() -> None:
    def hang(request: httpx2.Request) -> httpx2.Response:
        raise httpx2.ReadTimeout("", request=request)

    with pytest.raises(Retryable, match="does not answer: ReadTimeout"):
        await engine(hang).call("GET", "/info")


# --- images --------------------------------------------------------------------------------------


async def test_an_image_is_pulled_only_if_the_operator_allows_it() -> None:
    asked: list[str] = []

    def handler(request: httpx2.Request) -> httpx2.Response:
        asked.append(f"{request.method} {request.url.raw_path.decode()}")
        if request.method == "POST":
            return httpx2.Response(200, content=b'{"status":"pulling"}\n{"status":"done"}\n')
        there = any(each.startswith("POST") for each in asked)
        return httpx2.Response(200 if there else 404, json={"Id": "1", "message": "no such"})

    with pytest.raises(UserError, match="may not be pulled"):
        await present(engine(handler), "python:3.12", pull=False)
    assert asked == ["GET /images/python:3.12/json"]
    assert (await present(engine(handler), "python:3.12", pull=True))["Id"] == "1"
    assert asked[2].startswith("POST /images/create?fromImage=python")


@pytest.mark.parametrize(
    "image", ["../containers/x", "a b", "-x", "a?b", "a/../b", "x" * 300, "\n"]
)
async def test_what_is_no_images_name_is_not_asked_for(image: str) -> None:
    with pytest.raises(UserError, match="not the name of an image"):
        await present(engine(answers({"Id": "1"})), image, pull=True)


def test_an_images_digest_is_said_where_it_has_one() -> None:
    assert digest({"Id": "sha256:1", "RepoDigests": ["python@sha256:2"]}) == "python@sha256:2"
    assert digest({"Id": "sha256:1", "RepoDigests": []}) == "sha256:1"


# --- the wire ------------------------------------------------------------------------------------


def test_frames_are_put_together_however_they_are_cut() -> None:
    data = b"\x01\0\0\0\0\0\0\x03abc\x02\0\0\0\0\0\0\x00\x02\0\0\0\0\0\0\x01x"
    for size in range(1, len(data) + 1):
        frames, found = Frames(), []
        for start in range(0, len(data), size):
            found += frames.feed(data[start : start + size])
        assert found == [(1, b"abc"), (2, b""), (2, b"x")]


@pytest.mark.parametrize("data", [b"HTTP/1.1 200", b"\x01\0\0\0\xff\xff\xff\xff"])
def test_a_stream_that_is_none_is_refused(data: bytes) -> None:
    with pytest.raises(Retryable, match="damaged"):
        Frames().feed(data)


def test_the_address_is_found_as_dockers_own_tools_do() -> None:
    assert address_of({"DOCKER_HOST": "tcp://a:1"}) == "tcp://a:1"
    assert address_of({}) == "unix:///var/run/docker.sock"


@pytest.mark.parametrize("address", ["ssh://somebody@somewhere", "npipe:////./pipe/docker", ""])
async def test_an_address_for_other_tools_is_no_sandbox(address: str) -> None:
    options = DockerOptions(image="python:3.12")
    found = Engine(connect(address))
    runtime = DockerRuntime(found, SortableIds(), VirtualClock(), options=options)
    info = await runtime.available()
    assert not info.usable
    assert "does not answer" in info.reason
    await runtime.close()


async def test_an_engine_without_a_default_image_is_no_sandbox() -> None:
    runtime = DockerRuntime(engine(answers(STRONG)), SortableIds(), VirtualClock())
    info = await runtime.available()
    assert not info.usable
    assert "CONDUCTOR_SANDBOX_IMAGE" in info.reason


# --- the state of a release ----------------------------------------------------------------------


def released(**state: object) -> dict[str, Any]:
    labels = {"conductor.release.revision": "3", "conductor.release.sha": "a" * 40}
    return {
        "Id": "1",
        "Created": "2026-01-01T00:00:00.123456789Z",
        "Config": {"Labels": labels},
        "State": {"Status": "running", "StartedAt": "2026-01-01T00:00:00.123456789Z"} | state,
        "NetworkSettings": {"Ports": {"80/tcp": [{"HostPort": "4000"}]}},
    }


@pytest.mark.parametrize(
    ("state", "phase"),
    [
        ({}, "ready"),
        ({"StartedAt": (EPOCH + timedelta(days=3650)).isoformat()}, "progressing"),
        ({"Health": {"Status": "starting"}}, "progressing"),
        ({"Health": {"Status": "healthy"}}, "ready"),
        ({"Health": {"Status": "unhealthy"}}, "failed"),
        ({"Status": "exited", "ExitCode": 3}, "failed"),
        ({"Status": "restarting"}, "progressing"),
        ({"Status": "created"}, "progressing"),
        ({"Status": "created", "Error": "no such file"}, "failed"),
    ],
)
async def test_a_release_is_what_its_container_is(state: dict[str, Any], phase: str) -> None:
    def handler(request: httpx2.Request) -> httpx2.Response:
        one = released(**state)
        return httpx2.Response(200, json=[one] if "json?" in str(request.url) else one)

    clock = VirtualClock(EPOCH + timedelta(days=3650))
    plan = EnvironmentPlan(name="staging", target="docker", port=80)
    found = await DockerTarget(engine(handler), clock).state(plan, repository="a/b")
    assert (found.phase, found.revision, found.sha) == (phase, 3, "a" * 40)
    assert found.url == "http://127.0.0.1:4000"


async def test_an_older_revision_changes_nothing() -> None:
    def handler(request: httpx2.Request) -> httpx2.Response:
        assert request.method == "GET"
        return httpx2.Response(
            200, json=[released()] if "json?" in str(request.url) else released()
        )

    plan = EnvironmentPlan(name="staging", target="docker")
    release = Release(
        repository="a/b", repository_id=1, environment=plan, sha="b" * 40, revision=2, key="k"
    )
    with pytest.raises(UserError, match="older than revision 3"):
        await DockerTarget(engine(handler), VirtualClock()).release(release)


async def test_a_refusal_carries_its_status() -> None:
    with pytest.raises(Refused) as caught:
        await engine(answers({"message": "conflict"}, 409)).call("POST", "/x")
    assert caught.value.status == 409
