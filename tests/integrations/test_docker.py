"""A real Docker engine: sandbox, builds and releases."""

from collections.abc import AsyncGenerator, Generator
from datetime import timedelta

import pytest

from pipelines.errors import Retryable, UserError
from pipelines.integrations.containers.base import Build
from pipelines.integrations.containers.docker import DockerRuntime
from pipelines.integrations.containers.docker_sandbox import (
    DockerOptions,
    DockerSandbox,
    swept,
)
from pipelines.integrations.containers.docker_target import DockerTarget, Publication
from pipelines.integrations.containers.engine import Engine, Refused, connect
from pipelines.model import EnvironmentPlan, Release, ReleaseState, SandboxInfo, SandboxJob
from pipelines.ports import Snapshot
from pipelines.system import SortableIds, SystemClock
from tests.support.clock import VirtualClock
from tests.support.sandbox import IMAGE, NO_SHA, docker, docker_engine, eventually, files

pytestmark = pytest.mark.integration
NETWORK = "conductor-test"
HTTPD = ("/bin/httpd", "-f", "-p", "8080", "-h", "/etc")


@pytest.fixture(scope="module")
def engine_address(tmp_path_factory: pytest.TempPathFactory) -> Generator[str]:
    with docker_engine(tmp_path_factory.mktemp("engine")) as address:
        yield address


@pytest.fixture
async def runtime(engine_address: str) -> AsyncGenerator[DockerRuntime]:
    async with docker(engine_address) as made:
        assert await made.available() == SandboxInfo(
            name="docker",
            level=2,
            reason="the engine has no gVisor (runsc), so containers share the machine's kernel",
        )
        yield made


@pytest.fixture
async def engine(engine_address: str) -> AsyncGenerator[Engine]:
    made = Engine(connect(engine_address))
    yield made
    await made.close()


# --- sandbox -------------------------------------------------------------------------------------


async def test_tests_of_a_project_run_in_a_container(runtime: DockerRuntime) -> None:
    test = "from shop.sum import add\n\n\ndef test_add():\n    assert add(1, 2) == 3\n"
    project = files(
        {
            "shop/__init__.py": "",
            "shop/sum.py": "def add(a, b):\n    return a + b\n",
            "tests/test_sum.py": test,
        }
    )
    result = await runtime.sandbox().run(
        SandboxJob(command="python -m pytest -q --junitxml=out.xml", collect=("out.xml",)), project
    )
    assert (result.exit_code, result.limit) == (0, ""), result.output
    assert 'tests="1"' in result.files["out.xml"]
    assert result.image is not None
    assert result.image.startswith("sha256:")


async def test_a_missing_image_is_named(engine: Engine) -> None:
    sandbox = DockerSandbox(engine, SortableIds(), SandboxInfo(name="docker", level=2))
    with pytest.raises(UserError, match="'nowhere:1' is not on this engine"):
        await sandbox.run(SandboxJob(command="true", image="nowhere:1"), files())
    with pytest.raises(UserError, match="needs an image"):
        await sandbox.run(SandboxJob(command="true"), files())


async def test_a_registry_that_does_not_answer_is_told(engine: Engine) -> None:
    options = DockerOptions(image="localhost:1/nowhere:1", pull=True)
    sandbox = DockerSandbox(engine, SortableIds(), SandboxInfo(name="docker", level=2), options)
    with pytest.raises((UserError, Retryable), match="refused"):
        await sandbox.run(SandboxJob(command="true"), files())


async def test_an_image_cannot_declare_a_volume_of_the_machine(
    runtime: DockerRuntime, engine: Engine
) -> None:
    dockerfile = f"FROM {IMAGE}\nVOLUME /store\n"
    built = await runtime.build(
        Build(dockerfile="Dockerfile", tag="conductor-volume:1"),
        Snapshot(sha=NO_SHA, files={"Dockerfile": dockerfile.encode()}),
    )
    assert built.ok, built.output
    job = SandboxJob(command="grep ' /store ' /proc/mounts", image="conductor-volume:1")
    result = await runtime.sandbox().run(job, files())
    assert result.output.startswith("tmpfs /store tmpfs")
    assert (await engine.call("GET", "/volumes"))["Volumes"] in (None, [])


async def test_no_container_is_left(runtime: DockerRuntime, engine: Engine) -> None:
    await runtime.sandbox().run(SandboxJob(command="exit 3"), files())
    left = await engine.call("GET", "/containers/json", query={"all": "true"})
    assert [each for each in left if "conductor.sandbox" in each["Labels"]] == []


async def test_what_a_killed_conductor_made_and_never_started_is_removed(engine: Engine) -> None:
    body = {"Image": IMAGE, "Cmd": ["true"], "Labels": {"conductor.sandbox": "1"}}
    await engine.call("POST", "/containers/create", query={"name": "forgotten"}, body=body)
    await swept(engine, SystemClock().now())
    assert await engine.call("GET", "/containers/forgotten/json"), "it may be about to start"
    await swept(engine, SystemClock().now() + timedelta(minutes=6))
    with pytest.raises(Refused):
        await engine.call("GET", "/containers/forgotten/json")


async def test_a_job_that_leaves_no_room_for_a_process_still_ends(runtime: DockerRuntime) -> None:
    bomb = "for i in 1 2 3 4 5 6 7 8 9; do for j in 1 2 3 4 5; do sleep 60 & done; done; exit 5"
    job = SandboxJob(command=bomb, processes=16, collect=("a.txt",), timeout_seconds=20)
    try:
        result = await runtime.sandbox().run(job, files({"a.txt": "x"}))
    except Retryable:
        return
    assert result.exit_code != 0
    assert {*result.files, *result.refused} == {"a.txt"}


async def test_an_engine_that_is_not_there_is_no_sandbox() -> None:
    runtime = DockerRuntime(
        Engine(connect("unix:///nowhere.sock")),
        SortableIds(),
        SystemClock(),
        options=DockerOptions(image=IMAGE),
    )
    info = await runtime.available()
    assert (info.name, info.usable) == ("none", False)
    assert "does not answer" in info.reason
    await runtime.close()


# --- builds --------------------------------------------------------------------------------------


async def test_an_image_is_built_without_a_network(runtime: DockerRuntime) -> None:
    dockerfile = f"FROM {IMAGE}\nCOPY page.html /etc/\nRUN grep -c : /proc/net/dev > /etc/cards\n"
    snapshot = Snapshot(sha=NO_SHA, files={"Dockerfile": dockerfile.encode(), "page.html": b"hi"})
    built = await runtime.build(Build(dockerfile="Dockerfile", tag="conductor-page:1"), snapshot)
    assert built.ok, built.output
    result = await runtime.sandbox().run(
        SandboxJob(command="cat /etc/page.html /etc/cards", image="conductor-page:1"), files()
    )
    assert result.output.split() == ["hi1"]


async def test_a_step_that_fails_ends_the_build(runtime: DockerRuntime) -> None:
    dockerfile = f"FROM {IMAGE}\nRUN echo broken && exit 3\n"
    snapshot = Snapshot(sha=NO_SHA, files={"Dockerfile": dockerfile.encode()})
    built = await runtime.build(Build(dockerfile="Dockerfile", tag="conductor-bad:1"), snapshot)
    assert not built.ok
    assert "broken" in built.output
    with pytest.raises(UserError, match="no 'Other'"):
        await runtime.build(Build(dockerfile="Other", tag="x:1"), snapshot)


async def test_a_base_that_is_not_there_is_not_fetched_and_an_image_need_not_stay(
    runtime: DockerRuntime, engine: Engine
) -> None:
    snapshot = Snapshot(sha=NO_SHA, files={"Dockerfile": f"FROM {IMAGE}\nENV A=b\n".encode()})
    order = Build(dockerfile="Dockerfile", tag="conductor-gone:1", bases=(IMAGE,), keep=False)
    built = await runtime.build(order, snapshot)
    assert built.ok, built.output
    with pytest.raises(Refused):
        await engine.call("GET", "/images/conductor-gone:1/json")
    missing = order.model_copy(update={"bases": ("localhost:1/nowhere:1",)})
    with pytest.raises(UserError, match="is not on this engine"):
        await runtime.build(missing, snapshot)


# --- releases ------------------------------------------------------------------------------------


@pytest.fixture
async def target(engine: Engine) -> DockerTarget:
    listed = await engine.call("GET", "/networks")
    if NETWORK not in {each["Name"] for each in listed}:
        await engine.call("POST", "/networks/create", body={"Name": NETWORK})
    # A clock that is ahead finds everything that runs to have run long enough.
    clock = VirtualClock(SystemClock().now() + timedelta(minutes=1))
    return DockerTarget(engine, clock, Publication(network=NETWORK))


def plan(name: str, command: tuple[str, ...] = HTTPD, image: str = IMAGE) -> EnvironmentPlan:
    return EnvironmentPlan(name=name, target="docker", image=image, command=command, port=8080)


def release(environment: EnvironmentPlan, revision: int, key: str | None = None) -> Release:
    return Release(
        repository="acme/shop",
        repository_id=7,
        environment=environment,
        sha=f"{revision:040x}",
        revision=revision,
        key=key or f"release/{environment.name}/{revision}",
    )


async def settled(target: DockerTarget, environment: EnvironmentPlan) -> ReleaseState:
    async def look() -> ReleaseState | None:
        state = await target.state(environment, repository="acme/shop")
        return state if state.phase in ("ready", "failed") else None

    return await eventually(look)


async def names(engine: Engine, environment: str) -> list[str]:
    listed = await engine.call("GET", "/containers/json", query={"all": "true"})
    return [
        each["Labels"]["conductor.release.revision"]
        for each in listed
        if each["Labels"].get("conductor.release.environment") == environment
    ]


async def test_a_release_is_replaced_only_by_a_higher_revision_that_is_ready(
    target: DockerTarget, engine: Engine
) -> None:
    staging = plan("staging")
    assert (await target.state(staging, repository="acme/shop")).phase == "absent"
    await target.release(release(staging, 1))
    first = await settled(target, staging)
    assert (first.phase, first.revision, first.sha) == ("ready", 1, f"{1:040x}")
    assert first.url is not None
    assert first.url.startswith("http://127.0.0.1:")

    await target.release(release(staging, 1))
    assert await names(engine, "staging") == ["1"], "a repeat finds what is there"

    broken = plan("staging", ("/bin/nothing-of-that-name",))
    await target.release(release(broken, 2))
    second = await settled(target, staging)
    assert (second.phase, second.revision) == ("failed", 2)
    assert "nothing-of-that-name" in second.message
    assert sorted(await names(engine, "staging")) == ["1", "2"], "the old one goes on"

    with pytest.raises(UserError, match="older than"):
        await target.release(release(staging, 1, key="another"))

    await target.release(release(staging, 3))
    assert (await settled(target, staging)).phase == "ready"
    assert await names(engine, "staging") == ["3"]


async def test_a_service_that_ends_again_and_again_has_failed(target: DockerTarget) -> None:
    crashing = plan("crashing", ("/bin/sh", "-c", "echo going down; exit 4"))
    await target.release(release(crashing, 1))

    async def failed() -> ReleaseState | None:
        state = await target.state(crashing, repository="acme/shop")
        return state if state.phase == "failed" else None

    assert (await eventually(failed)).message
    assert "going down" in await target.log(crashing, repository="acme/shop", lines=5)


async def test_environments_do_not_meet(target: DockerTarget) -> None:
    one, other = plan("one"), plan("other")
    await target.release(release(one, 5))
    assert (await target.state(other, repository="acme/shop")).phase == "absent"
    assert (await target.state(one, repository="acme/else")).phase == "absent"
    assert await target.log(other, repository="acme/shop", lines=5) == ""


async def test_a_release_that_was_made_and_not_started_is_started(
    target: DockerTarget, engine: Engine
) -> None:
    half = plan("half")
    await target._create(release(half, 1))
    assert (await target.state(half, repository="acme/shop")).phase == "progressing"
    await target.release(release(half, 1))
    assert (await settled(target, half)).phase == "ready"
    assert await names(engine, "half") == ["1"]


async def test_a_release_needs_an_image_that_is_there(target: DockerTarget) -> None:
    with pytest.raises(UserError, match=f"'ghcr.io/acme/shop:{1:040x}' is not on this engine"):
        await target.release(release(plan("nothing", image=""), 1))
    with pytest.raises(UserError, match=f"'shop:{1:040x}' is not on this engine"):
        await target.release(release(plan("nothing", image="shop:{sha}"), 1))
