"""What the wiring makes of the operator's settings beyond GitHub."""

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from bot.github.tokens import ACTIONS
from bot.settings import ConductorConfig
from bot.wiring.deployments import Actions, targets
from bot.wiring.instruments import (
    Surroundings,
    bubblewrap,
    docker,
    notifier,
    observatories,
    sandboxes,
)
from pipelines.errors import UserError
from pipelines.integrations.targets import Targets
from pipelines.model import EnvironmentPlan, Notify, SandboxInfo
from pipelines.stores.memory import MemoryBackend
from pipelines.system import SortableIds
from tests.support.clock import VirtualClock
from tests.support.github_stub import REPOSITORY, GitHubStub, Reply, github


@pytest.fixture
async def opened() -> AsyncGenerator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


def around(opened: AsyncExitStack, **settings: Any) -> Surroundings:
    clock = VirtualClock()
    config = ConductorConfig.model_validate({"conductor_storage_url": "memory://", **settings})
    return Surroundings(config, clock, SortableIds(clock), opened)


def plan(target: str) -> EnvironmentPlan:
    return EnvironmentPlan.model_validate({"name": "staging", "target": target})


async def made(opened: AsyncExitStack, stub: GitHubStub, **settings: Any) -> Targets:
    surroundings = around(opened, **settings)
    gateway = await opened.enter_async_context(github(stub, surroundings.clock))
    source: Any = None
    return targets(surroundings, docker(surroundings), gateway, source, isolated=False)


@pytest.mark.parametrize(
    ("target", "settings"),
    [
        ("mock", {}),
        ("docker", {}),
        ("github-actions", {}),
        ("local", {"conductor_local_target": True}),
        ("gitlab-ci", {"gitlab_token": "glpat-0123456789"}),
    ],
)
async def test_a_target_that_is_set_up_is_made_once(
    opened: AsyncExitStack, target: str, settings: dict[str, Any]
) -> None:
    found = await made(opened, GitHubStub(), **settings)
    assert found(plan(target)) is found(plan(target))


@pytest.mark.parametrize(
    ("target", "says"), [("local", "CONDUCTOR_LOCAL_TARGET=1"), ("gitlab-ci", "GITLAB_TOKEN")]
)
async def test_a_target_that_the_operator_did_not_set_up_says_how(
    opened: AsyncExitStack, target: str, says: str
) -> None:
    found = await made(opened, GitHubStub())
    with pytest.raises(UserError, match=says):
        found(plan(target))


async def test_pipelines_are_started_with_the_rights_to_do_that_and_no_others(
    opened: AsyncExitStack,
) -> None:
    stub, clock = GitHubStub(), VirtualClock()
    async with stub.running(clock), github(stub, clock) as gateway:
        stub.on("GET", "/repos/octo/shop/actions/runs/1", Reply({"id": 1}))
        stub.on("POST", "/repos/octo/shop/actions/workflows/x/dispatches", Reply({}, 201))

        api = Actions(gateway.client(REPOSITORY, ACTIONS))
        assert await api.get("/repos/octo/shop/actions/runs/1") == {"id": 1}
        assert await api.get("/repos/octo/shop/actions/runs/2") is None
        await api.post("/repos/octo/shop/actions/workflows/x/dispatches", {"ref": "main"})
        (mint,) = stub.calls("POST", "/app/installations/9/access_tokens")
    assert mint.json["permissions"] == {"actions": "write", "metadata": "read"}
    assert mint.json["repository_ids"] == [REPOSITORY.id]


async def test_without_a_sandbox_the_reason_is_the_operators_word(opened: AsyncExitStack) -> None:
    here = around(opened, conductor_sandbox="none")
    chosen = await sandboxes(here, docker(here), bubblewrap(here)).strongest(True)
    assert isinstance(chosen, SandboxInfo)
    assert "operator" in chosen.reason


@pytest.mark.parametrize(
    ("settings", "considered"),
    [({}, False), ({"conductor_sandbox_namespace": "jobs"}, True)],
)
async def test_a_cluster_runs_jobs_only_where_the_operator_named_a_namespace(
    opened: AsyncExitStack,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    settings: dict[str, Any],
    considered: bool,
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    here = around(opened, **settings)
    verdict = await sandboxes(here, docker(here), bubblewrap(here)).verdict(trusted=True)
    assert ("kubernetes: not set up" not in verdict.info.reason) is considered


async def test_an_observatory_belongs_to_one_tenant(opened: AsyncExitStack) -> None:
    here = around(opened, prometheus_url="http://127.0.0.1:9090", jaeger_url="http://127.0.0.1:1")
    store = MemoryBackend(here.clock)
    opened.push_async_callback(store.close)
    measured = observatories(here, store)
    assert measured("1/2") is not measured("1/3")


async def test_a_webhook_channel_without_a_secret_is_refused(opened: AsyncExitStack) -> None:
    here = around(opened, conductor_notify_url="https://ops.example/hook")
    with pytest.raises(UserError, match="CONDUCTOR_NOTIFY_SECRET"):
        notifier(here)


async def test_the_console_is_always_told(
    opened: AsyncExitStack, capsys: pytest.CaptureFixture[str]
) -> None:
    told = notifier(around(opened))
    await told.send(Notify(title="Rolled back", occasion="x"))
    assert "Rolled back" in capsys.readouterr().err


def test_toolchains_are_folders_with_colons(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONDUCTOR_TOOLCHAINS", "/opt/node:/opt/go")
    assert ConductorConfig(_env_file=None).conductor_toolchains == (  # pyright: ignore[reportCallIssue]
        Path("/opt/node"),
        Path("/opt/go"),
    )
