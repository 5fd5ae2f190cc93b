"""The containers that stand in for an engine."""

import pytest

from pipelines.errors import UserError
from pipelines.integrations.containers.base import Build
from pipelines.integrations.containers.layout import Layout
from pipelines.integrations.containers.mock import MockRuntime, MockSandbox
from pipelines.model import (
    EnvironmentPlan,
    FileEdit,
    Release,
    SandboxInfo,
    SandboxJob,
    SandboxResult,
)
from tests.support.sandbox import files

PLAN = EnvironmentPlan(name="staging", target="mock", url="http://127.0.0.1:1")


def release(revision: int, key: str = "") -> Release:
    return Release(
        repository="a/b",
        repository_id=1,
        environment=PLAN,
        sha=f"{revision:040x}",
        revision=revision,
        key=key or str(revision),
    )


async def test_a_scripted_sandbox_sees_the_laid_out_files() -> None:
    info = SandboxInfo(name="docker", level=2)

    def answer(job: SandboxJob, layout: Layout) -> SandboxResult:
        return SandboxResult(sandbox=info, exit_code=len(layout.files), output=job.command)

    sandbox = MockSandbox(answer, info)
    job = SandboxJob(command="make", edits=(FileEdit(path="b", content="x"),))
    assert (await sandbox.run(job, files({"a": ""}))).exit_code == 2
    assert sandbox.jobs == [job]
    bad = SandboxJob(command="make", edits=(FileEdit(path="../b", content="x"),))
    with pytest.raises(UserError):
        await sandbox.run(bad, files())


async def test_releases_are_idempotent_and_fenced() -> None:
    runtime = MockRuntime()
    assert (await runtime.state(PLAN, repository="a/b")).phase == "absent"
    await runtime.release(release(2))
    await runtime.release(release(2))
    assert [each.revision for each in runtime.releases] == [2]
    with pytest.raises(UserError, match="older than revision 2"):
        await runtime.release(release(1))
    runtime.phase = "failed"
    state = await runtime.release(release(3))
    assert (state.phase, state.revision, state.ready) == ("failed", 3, 0)
    assert (await runtime.state(PLAN, repository="a/other")).phase == "absent"
    runtime.output = "1\n2\n3\n"
    assert await runtime.log(PLAN, repository="a/b", lines=2) == "2\n3"


async def test_a_build_needs_its_file() -> None:
    runtime = MockRuntime()
    assert (await runtime.available()).usable
    assert (await runtime.build(Build(dockerfile="D", tag="t:1"), files({"D": ""}))).ok
    assert not (await runtime.build(Build(dockerfile="E", tag="t:1"), files({"D": ""}))).ok
